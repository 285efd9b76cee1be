"""The facts of a report: what ``--json`` prints, and the same as lines for people."""

from dataclasses import asdict
from typing import Any, Protocol

from patchgate.gate import Gate
from patchgate.report import costs
from patchgate.report.costs import Costs
from patchgate.report.history import History, counted
from patchgate.report.survey import Spot


class Momentary(Protocol):
    """A moment, with pictures in any form."""

    @property
    def label(self) -> str: ...
    @property
    def pts_seconds(self) -> float: ...
    @property
    def worst(self) -> Spot: ...
    @property
    def limit(self) -> float: ...


def facts_of(name: str, history: History, gate: Gate, spent: Costs | None = None) -> dict[str, Any]:
    """Returns the facts of a video of this name; ``moments`` are filled in when it is drawn.

    Args:
        spent: what the video costs a model, if that was counted.
    """
    frames, tokens = len(history.changed), int(history.changed.sum())
    cells = max(1, frames * history.cells)
    return {
        "video": name,
        "frames": frames,
        "tokens": tokens,
        "dense_tokens": frames * history.cells,
        "kept_share": tokens / cells,
        "moved_share": int(history.moved.sum()) / cells,
        "key_frame_seconds": history.pts_seconds[history.is_key].tolist(),
        "return_seconds": (
            [] if history.returned is None else history.pts_seconds[history.returned > 0].tolist()
        ),
        "light": light_facts(history),
        "sampled": {
            f"{fps}_fps": {"frames": seen, "tokens": history.dense_tokens(seen)}
            for fps, seen in ((fps, history.frames_at(fps)) for fps in (1, 2))
        },
        "moments": [],
        "gate": asdict(gate.settings),
        "costs": None if spent is None else spent.facts(),
    }


def light_facts(history: History) -> dict[str, Any] | None:
    """Returns how many frames had another light than the one before, and between which grey levels
    a mid-grey (128) of the last key frame was shown; None: the gate follows no light.
    """
    levels = history.mid_grey
    if history.weights is None or levels is None or not len(levels):
        return None
    same = history.weights == history.weights.new_tensor([1.0, 0.0])
    changes = int((~same.all(1)).sum())
    return {
        "changes": changes,
        "least_mid_grey": float(levels.min()),
        "most_mid_grey": float(levels.max()),
    }


def moment_facts(moment: Momentary) -> dict[str, Any]:
    """Returns the facts of a moment that is shown."""
    return {
        "seconds": moment.pts_seconds,
        "label": moment.label,
        "largest_sub_block_error": moment.worst.error,
        "limit": moment.limit,
    }


def lines_of(facts: dict[str, Any]) -> dict[str, str]:
    """Puts the facts in lines for people."""
    sampled = ", ".join(
        f"{seen['tokens']:,} at {name.replace('_', ' ')}" for name, seen in facts["sampled"].items()
    )
    shown = (f"{m['seconds']:.2f} s" + (f" ({m['label']})" if m["label"] else "")
             for m in facts["moments"])  # fmt: skip
    every = counted(facts["frames"], facts["gate"]["temporal_patch"])
    said = {
        "tokens": f"{facts['tokens']:,} for all {every}: "
        f"{facts['kept_share']:.2%} of {facts['dense_tokens']:,}",
        **(
            {"sampling": f"{sampled} (dense)"}
            if facts["costs"] is None
            else costs.lines_of(facts["costs"])
        ),
        "key frames": f"{len(facts['key_frame_seconds']):,}",
        **({"returns": f"{len(back):,}"} if (back := facts["return_seconds"]) else {}),
        **({} if (light := facts["light"]) is None else {"light": _lit(light)}),
        "shown": ", ".join(shown) or f"all {every}",
    }
    if "adjacent" in facts:
        said["worst error"] = (
            f"{facts['largest_sub_block_error']:.2f} grey levels; an adjacent-frame gate: "
            f"{facts['adjacent']['largest_sub_block_error']:.2f}"
        )
    return said


def _lit(light: dict[str, Any]) -> str:
    """Says what ``light_facts`` found."""
    return (
        f"it changes in {light['changes']:,} frames; grey 128 of the last key frame is shown as "
        f"{light['least_mid_grey']:.0f} to {light['most_mid_grey']:.0f}"
    )
