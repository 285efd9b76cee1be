"""`patchgate inspect`: apart from the others because it alone needs matplotlib."""

import os
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from patchgate import picture
from patchgate.cli.report import Meter
from patchgate.decode import open_video
from patchgate.gate import Gate
from patchgate.picture import SUFFIXES as SUFFIXES
from patchgate.pipeline import token_chunks
from patchgate.spill import scratch_beside
from patchgate.survey import Choice, History, Moment, history_of, moments, telling_frames


def inspect_video(
    path: str, output: Path, gate: Gate, options: dict[str, Any], at: list[float]
) -> dict[str, Any]:
    """Draws the picture and gives the facts that --json prints."""
    assert gate.size is not None
    cells = gate.size[0] // gate.settings.cell * (gate.size[1] // gate.settings.cell)
    with scratch_beside(output) as folder, open_video(path, **options) as video:
        with (
            Meter(video, "inspect", options["start"], options["end"]) as meter,
            closing(token_chunks(video, gate.fresh())) as chunks,
        ):
            history = history_of(chunks, cells, meter.show)
        if not len(history.changed):
            raise ValueError(f"{path}: no frame there to be shown; nothing was written")
        choices = [Choice(history.frame_shown_at(second), "chosen") for second in sorted(at)]
        shown = list(moments(path, gate, choices or telling_frames(history), **options))
        caption = picture.caption_of(path, video, history, gate)
        drawn = folder / f"drawn{output.suffix}"
        picture.save(picture.draw(history, shown, caption), drawn)
        os.replace(drawn, os.path.realpath(output))
    return _facts(path, output, gate, history, shown)


def _facts(
    path: str, output: Path, gate: Gate, history: History, shown: list[Moment]
) -> dict[str, Any]:
    frames, tokens = len(history.changed), int(history.changed.sum())
    return {
        "video": path,
        "output": str(output),
        "output_bytes": output.stat().st_size,
        "frames": frames,
        "tokens": tokens,
        "dense_tokens": frames * history.cells,
        "kept_share": tokens / (frames * history.cells),
        "moved_share": int(history.moved.sum()) / (frames * history.cells),
        "key_frame_seconds": history.pts_seconds[history.is_key].tolist(),
        "sampled": {
            f"{fps}_fps": {"frames": seen, "tokens": seen * history.cells}
            for fps, seen in ((fps, history.frames_at(fps)) for fps in (1, 2))
        },
        "moments": [
            {
                "seconds": moment.pts_seconds,
                "label": moment.label,
                "largest_sub_block_error": moment.error,
                "limit": moment.limit,
            }
            for moment in shown
        ],
        "gate": asdict(gate.settings),
    }


def lines(facts: dict[str, Any]) -> dict[str, str]:
    """The same for a person."""
    sampled = ", ".join(
        f"{seen['tokens']:,} at {name.replace('_', ' ')}" for name, seen in facts["sampled"].items()
    )
    return {
        "tokens": f"{facts['tokens']:,} for all {facts['frames']:,} frames: "
        f"{facts['kept_share']:.2%} of {facts['dense_tokens']:,}",
        "sampling": f"{sampled} (dense)",
        "key frames": f"{len(facts['key_frame_seconds']):,}",
        "shown": ", ".join(f"{m['seconds']:.2f} s ({m['label']})" for m in facts["moments"]),
    }
