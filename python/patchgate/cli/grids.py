"""``--grid``: the grid of a model's frames of a video, for the gate and for a budget of tokens."""

from typing import Any, cast

from patchgate.cli.commands.models import Model
from patchgate.decode import Video, open_video
from patchgate.decode.source.source import Source
from patchgate.gate import Gate
from patchgate.policies import Cells, llava_onevision, qwen3_vl, qwen25_vl
from patchgate.policies.grids import Grid, Qwen, Rounding
from patchgate.report.costs import Reader

_QWEN = {"qwen3-vl": qwen3_vl, "qwen2.5-vl": qwen25_vl}
_FPS = 2.0  # frames a second that Qwen's processors take of a video by themselves
_FEWEST, _MOST = 4, 768  # and the fewest and the most frames that they take


def reader_of(name: str, model: Model | None) -> Reader:
    """Returns what ``report/costs.py`` needs to know of a model."""
    return Reader() if model is None else Reader(name, model.context, model.stride)


def grid_of(name: str, model: Model | None, gate: Gate, video: Video | None, rounding: str) -> Grid:
    """Returns the grid that counts the tokens of a plan.

    Args:
        name: the value of ``--grid``, and ``model`` what it stands for.
        gate: a gate of this grid.
        video: the open video; grids whose gate has a size need none.
        rounding: of Qwen's grids (see ``policies.qwen3_vl``).

    Raises:
        ValueError: there is no such rounding, or it is given for a grid that has none.
    """
    if name in _QWEN and video is not None:
        return _QWEN[name](video.height, video.width, cast(Rounding, rounding))
    if rounding != "transformers":
        raise ValueError(f"--rounding: it is for {' and '.join(_QWEN)}, got --grid {name}")
    assert gate.size is not None
    h, w = (side // gate.settings.cell for side in gate.size)
    if model is not None and model.stride > 1:
        return llava_onevision(gate.size[0], model.patch)
    return Cells(h, w, gate.settings.temporal_patch)


def sized(gate: Gate, name: str, video: Video, options: dict[str, Any]) -> Gate:
    """Gives a gate without a size that of the model's frames of a video.

    It is the size that the model's processor gives the frames which it takes by itself, or of
    ``--fps``. Other rates keep it, so that they can be compared.

    Args:
        gate: a gate of ``name``; one that has a size is returned as it is.
        name: the value of ``--grid``.
        video: the open video.
        options: with ``start``, ``end`` and ``fps``, in which it was opened.

    Raises:
        ValueError: the size depends on the video's length, which its container does not tell.
    """
    if gate.size is not None:
        return gate
    grid: Qwen = _QWEN[name](video.height, video.width)
    h, w = grid.cells(1.0, _frames(name, grid.per_video, video, options))
    return gate.fresh(size=(h * gate.settings.cell, w * gate.settings.cell))


def sized_for(gate: Gate, name: str, video: str, options: dict[str, Any]) -> Gate:
    """Does what ``sized`` does with a video that is not open, which it opens for that."""
    if gate.size is not None:
        return gate
    Source(video).need_repeatable(f"--grid {name} looks at its size first")
    with open_video(video, **{**options, "errors": "ignore"}) as opened:
        return sized(gate, name, opened, options)


def _frames(name: str, counts: bool, video: Video, options: dict[str, Any]) -> int:
    """Returns how many frames the processor takes; ``counts``: the size depends on that."""
    first = begin = video.begin_stream_seconds
    if options["start"] is not None:
        first = max(begin, options["start"])
    ends = [] if options["end"] is None else [options["end"]]
    ends += [] if video.duration_seconds is None else [begin + video.duration_seconds]
    if not ends:
        if counts:
            raise ValueError(
                f"--grid {name}: the size of its frames depends on the video's length, which this "
                "container does not tell; give --end, or --size, --patch, --merge and "
                "--temporal-patch"
            )
        return _MOST
    taken = int(max(min(ends) - first, 0.0) * (options["fps"] or _FPS))
    return min(max(taken, _FEWEST), _MOST)
