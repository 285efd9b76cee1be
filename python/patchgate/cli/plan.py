"""``patchgate plan``: prints and draws what a policy would look at, under a budget."""

import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from patchgate.cli.commands import Json, VideoPath, app, not_the_video
from patchgate.cli.options import GateOptions, ReadOptions, as_usage_error, spread
from patchgate.cli.signals import kills_interrupt
from patchgate.cli.terminal import bytes_text, reported, result
from patchgate.decode import open_video
from patchgate.decode.source.access import Access
from patchgate.decode.source.source import Source
from patchgate.gate import Gate
from patchgate.policies import (
    POLICIES,
    Budget,
    Cells,
    Frames,
    Plan,
    container_frames,
    frame_statistics,
    llava_onevision,
    pool,
    qwen3_vl,
    qwen25_vl,
    siglip,
)
from patchgate.policies.grids import Grid, Rounding
from patchgate.policies.named import Named

_PIXELS = {"delta", "keep", "motion", "cut", "sharp"}  # what only decoding tells
_GRIDS: dict[str, Callable[[int, int, Rounding], Grid]] = {
    "siglip": lambda height, width, rounding: siglip(),
    "llava-onevision": lambda height, width, rounding: llava_onevision(),
    "qwen2.5-vl": qwen25_vl,
    "qwen3-vl": qwen3_vl,
}
_COLUMNS = 72  # of the drawn timeline
_LEVELS = "·▁▂▃▄▅▆▇█"
_PAGES = (".html", ".htm")
_MOST_LISTED = 12
_FILES = {
    "rel": "a query's score of each frame: --scores S.npy",
    "feat": "features of each frame: --features F.npy",
}


@app.command()
@spread
def plan(
    context: typer.Context,
    video: VideoPath,
    gate: GateOptions,
    read: ReadOptions,
    policy: Annotated[
        str, typer.Option("--policy", metavar="NAME", help=f"One of {', '.join(POLICIES)}.")
    ] = "uniform",
    frames: Annotated[
        int | None, typer.Option("--frames", help="At most so many frames.", min=1,
                                 show_default="as many as the tokens allow")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", help="At most so many tokens of the language model.",
                                 min=1, show_default="no limit")
    ] = None,
    grid: Annotated[
        str, typer.Option("--grid", metavar="NAME", help="Whose tokens: own (--size, --patch, "
                          f"--merge) or {', '.join(_GRIDS)}.")
    ] = "own",
    rounding: Annotated[
        str, typer.Option("--rounding", metavar="NAME", help="Of Qwen's grids: transformers, "
                          "transformers_capped or qwen_vl_utils.")
    ] = "transformers",
    scores: Annotated[
        Path | None, typer.Option("--scores", metavar="S.npy", show_default=False,
                                  help="A query's score of each frame that is looked at (--fps).")
    ] = None,
    features: Annotated[
        Path | None, typer.Option("--features", metavar="F.npy", show_default=False,
                                  help="Features of each of them: frames x numbers.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Deprecated: what the policy's public code does, its "
                           "defects included.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="REPORT.html", show_default=False,
                                  help="The report of patchgate inspect, with the plan in it.")
    ] = None,
    as_json: Json = False,
) -> dict[str, Any]:  # fmt: skip
    """Say which frames a policy would look at, in what detail, and what they cost."""
    named = _policy(policy, strict)
    _check_given(policy, named, {"rel": scores, "feat": features})
    wanted, options = gate.gate(), read.apply()
    if output is not None and output.suffix.lower() not in _PAGES:
        raise typer.BadParameter(f"--output: expected a name that ends in .html; got {output}")
    with reported() as warned, kills_interrupt():
        not_the_video(video, output)
        decode = bool(_PIXELS & set(named.needs)) and not (named.or_scores and scores is not None)
        if decode or grid != "own" or output is not None:
            Source(video).need_repeatable("this plan reads its video several times")
        with as_usage_error():
            budget = Budget(frames, tokens, _grid(grid, rounding, video, wanted, options))
        seen = _frames(video, wanted, options, decode, scores, features)
        if strict:  # said here, whatever Python's filters say of warnings
            warnings.filterwarnings("always", "strict=True", DeprecationWarning)
        chosen = named.run(seen, budget, **({"strict": True} if strict else {}))
        facts = _facts(video, policy, budget, seen, chosen)
        if output is not None:
            facts |= _drawn(context, wanted, options, chosen, facts, output)
        facts["warnings"] = warned
        result(facts, _lines(facts, seen, chosen), video, as_json)
    return facts


def _policy(name: str, strict: bool) -> Any:
    if name not in POLICIES:
        raise typer.BadParameter(f"--policy: expected one of {', '.join(POLICIES)}; got {name!r}")
    if strict and not POLICIES[name].has_strict:
        having = ", ".join(n for n, p in POLICIES.items() if p.has_strict)
        raise typer.BadParameter(f"--strict: {name} has one way only; it is for {having}")
    return POLICIES[name]


def _check_given(policy: str, named: Named, files: dict[str, Path | None]) -> None:
    """Checks, before the video is decoded, that the user gave what only a user can give."""
    for name in named.needs:
        if name in files and files[name] is None:
            raise typer.BadParameter(f"--policy: {policy} needs {_FILES[name]}")


def _grid(name: str, rounding: str, video: str, gate: Gate, options: dict[str, Any]) -> Grid:
    if name == "own":
        assert gate.size is not None
        h, w = (side // gate.settings.cell for side in gate.size)
        return Cells(h, w, gate.settings.temporal_patch)
    if name not in _GRIDS:
        raise ValueError(f"--grid: expected own or one of {', '.join(_GRIDS)}; got {name!r}")
    with open_video(video, errors="ignore", **_opening(options)) as opened:
        return _GRIDS[name](opened.height, opened.width, rounding)  # type: ignore[arg-type]


def _opening(options: dict[str, Any]) -> dict[str, Any]:
    """Returns the options that limit what the video may be, and how long it may take."""
    return {field.name: options[field.name] for field in fields(Access)}


def _frames(
    video: str,
    gate: Gate,
    options: dict[str, Any],
    decode: bool,
    scores: Path | None,
    features: Path | None,
) -> Frames:
    """Returns the candidates, with the gate's statistics of them if they are to be decoded."""
    if decode:
        frames = frame_statistics(video, gate=gate, **options)
    else:
        frames = container_frames(video, **_opening(options))
        begin = frames.pts[0] if options["start"] is None else options["start"]
        end = torch.inf if options["end"] is None else options["end"]
        frames = frames.at(((frames.pts >= begin) & (frames.pts < end)).nonzero().flatten())
        if options["fps"] is not None:
            frames = frames.at(pool.at_rate(frames, options["fps"]))
    given = {"rel": scores, "feat": features}
    columns = {name: _array(path) for name, path in given.items() if path is not None}
    return Frames(**{**vars(frames), **columns})


def _array(path: Path) -> np.ndarray:
    try:
        # Mapped: a header may tell of more numbers than there are, or than there is memory for.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # numpy lets its parser's and zipfile's own errors through
        raise ValueError(f"{path}: not a numpy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path}: expected one array (.npy), got several (.npz)")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{path}: expected numbers, got an array of {array.dtype}")
    return array


def _facts(video: str, policy: str, budget: Budget, seen: Frames, chosen: Plan) -> dict[str, Any]:
    grid = budget.grid
    assert grid is not None
    columns = (chosen.index, chosen.pts, chosen.scale, chosen.ratio, chosen.clip, chosen.cost(grid))
    names = ("frame", "seconds", "scale", "ratio", "clip", "tokens")
    return {
        "video": video,
        "policy": policy,
        "candidates": len(seen),
        "frames": len(chosen),
        "tokens": chosen.tokens(grid),
        "budget_frames": budget.frames,
        "budget_tokens": budget.tokens,
        "full_frame": list(grid.cells(1.0, max(1, len(chosen)))),
        "chosen": [
            dict(zip(names, row, strict=True))
            for row in zip(*(column.tolist() for column in columns), strict=True)
        ],
        "output": None,
        "output_bytes": None,
    }


def _drawn(
    context: typer.Context,
    gate: Gate,
    options: dict[str, Any],
    chosen: Plan,
    facts: dict[str, Any],
    page: Path,
) -> dict[str, Any]:
    """Writes the report, and returns its facts."""
    # matplotlib: a quarter of a second that only this needs
    from patchgate.cli import inspection
    from patchgate.report.planned import Planned

    planned = Planned(facts["policy"], chosen, facts["tokens"], facts["budget_tokens"])
    command = inspection.typed(context)
    job = inspection.Job(facts["video"], page, None, gate, options, [], command, planned)
    seen = inspection.inspect_video(job)
    return {"output": seen["output"], "output_bytes": seen["output_bytes"]}


def _lines(facts: dict[str, Any], seen: Frames, chosen: Plan) -> dict[str, str]:
    """Puts the facts in lines for people."""
    h, w = facts["full_frame"]
    limit = "" if facts["budget_tokens"] is None else f" of {facts['budget_tokens']:,}"
    listed = [f"{one['seconds']:.2f}" for one in facts["chosen"][:_MOST_LISTED]]
    more = facts["frames"] - len(listed)
    said = {
        "plan": f"{facts['policy']}: {facts['frames']:,} of {facts['candidates']:,} frames",
        "tokens": f"{facts['tokens']:,}{limit}; {h} x {w} of a full frame",
        "seconds": ", ".join(listed) + (f" and {more:,} more" if more else ""),
    }
    scales = chosen.scale.unique().tolist()
    if scales and scales != [1.0]:
        said["scales"] = ", ".join(f"{int((chosen.scale == s).sum())} at 1/{s:.3g}" for s in scales)
    if bool((chosen.ratio < 1).any()):
        said["ratios"] = ", ".join(
            f"{int((chosen.ratio == r).sum())} at {r:.0%}" for r in chosen.ratio.unique().tolist()
        )
    if len(seen):
        said["when"] = drawn(chosen, float(seen.pts[0]), float(seen.pts[0]) + seen.seconds)
    if facts["output"] is not None:
        said["output"] = f"{facts['output']}, {bytes_text(facts['output_bytes'])}"
    return said


def drawn(chosen: Plan, begin: float, end: float) -> str:
    """Draws the plan as a line of text over time, higher where more tokens are spent."""
    at = ((chosen.pts - begin) / max(end - begin, 1e-9) * _COLUMNS).long().clamp(0, _COLUMNS - 1)
    worth = chosen.ratio / chosen.scale**2
    height = torch.zeros(_COLUMNS, dtype=torch.float64, device="cpu").scatter_add_(0, at, worth)
    levels = (height / height.max().clamp(min=1e-9) * (len(_LEVELS) - 1)).ceil().long()
    return "".join(_LEVELS[level] for level in levels.tolist())
