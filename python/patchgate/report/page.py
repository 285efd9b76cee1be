"""Makes the page: figures, plots and moments in a template, as one file that needs no other."""

import base64
import hashlib
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from patchgate._ops.library import build_info
from patchgate.decode import Video
from patchgate.gate import CHANGED, MOVED, Gate
from patchgate.report import numbers
from patchgate.report.comparison import Compared, Comparison
from patchgate.report.costs import DENSE, GATED, Costs
from patchgate.report.facts import light_facts
from patchgate.report.history import History
from patchgate.report.images import AMPLIFIED, Images, images_of
from patchgate.report.planned import Planned
from patchgate.report.plots import timeline
from patchgate.report.survey import Spot, largest_limit

_NAMES = {GATED: "patchgate", DENSE: "dense"}
MOMENTS = 14  # in the filmstrip, but for the one of most drift


class Shot(NamedTuple):
    """A moment as the page shows it: pictures and numbers, no tensors."""

    label: str
    pts_seconds: float
    worst: Spot
    limit: float
    adjacent_worst: Spot
    kept: float  # share of the cells
    moved: float
    images: Images


@dataclass(frozen=True)
class Subject:
    """The video that the page is about, and the command that made the page."""

    name: str  # the video's
    facts: dict[str, str]  # about it, by name
    command: str  # that made the page
    aspect: float  # width / height at which the grid is shown


def video_facts(video: Video, history: History) -> dict[str, str]:
    """Returns facts about the video for people."""
    colour = video.colour
    return {
        "picture": f"{video.width} x {video.height} pixels",
        "codec": f"{video.codec}, {colour.bit_depth} bit",
        "colour": f"{colour.matrix}, {'full' if colour.full_range else 'limited'} range",
        "rate": f"{video.average_fps:.4g} frames/s" if video.average_fps else "unknown",
        "time": f"{history.begin:.2f} to {history.end:.2f} s",
    }


def shot_of(compared: Compared, gate: Gate, aspect: float) -> Shot:
    """Draws and compresses what the page shows of a moment."""
    moment, kind = compared.moment, compared.moment.kind
    return Shot(
        moment.label,
        moment.pts_seconds,
        moment.worst,
        moment.limit,
        compared.adjacent_worst,
        float((kind == CHANGED).float().mean()),
        float((kind == MOVED).float().mean()),
        images_of(compared, gate, aspect),
    )


def render(
    history: History,
    comparison: Comparison[Shot],
    gate: Gate,
    subject: Subject,
    planned: Planned | None = None,
    spent: Costs | None = None,
) -> str:
    """Renders the whole page."""
    assert gate.size is not None
    limit = largest_limit(gate)
    plots = {
        name: timeline(
            history, comparison.error, comparison.adjacent_error, limit, wide=name == "wide"
        )
        for name in ("wide", "narrow")
    }
    script = _asset("page.js")
    errors = comparison.error, comparison.adjacent_error
    return _template().render(
        subject=subject,
        history=history,
        totals=_totals(history),
        frames="frames" if gate.settings.temporal_patch == 1 else "pairs of frames",
        ways=_ways(history, comparison, spent),
        comparison=comparison,
        worst=float(comparison.error.max()),
        adjacent_worst=float(comparison.adjacent_error.max()),
        limit=limit,
        plots={name: {**asdict(plot), "svg": Markup(plot.svg)} for name, plot in plots.items()},
        rows=numbers.table(history, *errors),
        csv=Markup(numbers.as_link(numbers.as_csv(history, *errors))),
        context=spent and spent.reader,
        planned=planned and planned.on(history),
        shots=comparison.shots,
        chosen=_first_shown(comparison.shots),
        box=_box(gate),
        settings=_settings(gate),
        grid=gate.size,
        cell=gate.settings.cell,
        amplified=AMPLIFIED,
        version=build_info()["version"],
        style=Markup(_asset("page.css")),
        script=Markup(script),
        # Nothing but this script may run, whatever a file's name holds; nothing is fetched.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _totals(history: History) -> dict[str, Any]:
    frames, tokens = len(history.changed), int(history.changed.sum())
    cells = frames * history.cells
    return {
        "frames": frames,
        "tokens": tokens,
        "dense": cells,
        "kept": tokens / cells,
        "moved": int(history.moved.sum()) / cells,
        "key_frames": int(history.is_key.sum()),
        "returns": 0 if history.returned is None else int((history.returned > 0).sum()),
        "light": light_facts(history),
        "seconds": history.end - history.begin,
    }


class Way(NamedTuple):
    """A way to look at the video: how many frames it sees and how many tokens it costs."""

    name: str
    frames: int
    tokens: int
    share: float | None = None  # of the model's context


def _ways(history: History, comparison: Comparison[Shot], spent: Costs | None) -> list[Way]:
    """Lists the ways, cheapest first."""
    frames, cells = len(history.changed), history.cells
    rows = () if spent is None else spent.rows
    context = None if spent is None else spent.reader.context

    def way(name: str, seen: int, tokens: int) -> Way:
        return Way(name, seen, tokens, tokens / context if context else None)

    every = {row.way: row.tokens for row in rows if row.fps is None}
    found = [
        way("patchgate", frames, every.get(GATED, int(history.changed.sum()))),
        way("dense, every frame", frames, every.get(DENSE, frames * cells)),
        *(
            way(f"{_NAMES[row.way]}, {row.fps:g} fps", row.frames, row.tokens)
            for row in rows
            if row.fps is not None
        ),
    ]
    if spent is None or spent.reader.stride == 1:  # its cells are the model's tokens
        found.append(way("adjacent-frame gate", frames, comparison.adjacent_tokens))
    return sorted(found, key=lambda way: way.tokens)


def _first_shown(shots: list[Shot]) -> int:
    """Chooses the moment to show first: the busiest, else where the adjacent gate drifted most."""
    for wanted in ("busiest", "drift"):
        for number, shot in enumerate(shots):
            if wanted in shot.label:
                return number
    return 0


def _box(gate: Gate) -> tuple[float, float]:
    """Returns the height and width of a sub-block, in percent of the picture."""
    assert gate.size is not None
    height, width = gate.size
    return 100 * gate.settings.sub_block / height, 100 * gate.settings.sub_block / width


def _settings(gate: Gate) -> dict[str, str]:
    """Returns all settings, as ``Gate`` names them."""
    settings = asdict(gate.settings)
    settings["size"] = f"{settings['size'][0]} x {settings['size'][1]}"
    return {name: "off" if value is None else str(value) for name, value in settings.items()}


@cache
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("patchgate.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: "100%" if share == 1 else f"{share:.1%}"
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["level"] = lambda error: f"{error:.2f}"
    return environment.get_template("page.html.j2")


def _asset(name: str) -> str:
    return files("patchgate.report").joinpath(name).read_text(encoding="utf-8")
