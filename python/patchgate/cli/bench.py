"""``patchgate bench``: what the gate saves and costs on a video of the user's own.

Decoded frames are held in memory, and the ways of ``bench_ways.py`` from there to a tower's input
(and, with a tower, to its features) take turns. ``bench_share.py`` adds the time of decoding, and
says what the tower's share of all of it allows.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Annotated, Any

import torch
import typer

from patchgate._check import TRANSFORMERS, check_transformers
from patchgate._tensors import doubles
from patchgate.cli import bench_share
from patchgate.cli.bench_ways import EVERY_CELL, Way, ways_of
from patchgate.cli.commands import Json, VideoPath, app
from patchgate.cli.options import GateOptions, ReadOptions, as_usage_error, spread
from patchgate.cli.terminal import reported, result
from patchgate.decode import FrameBatch, open_video
from patchgate.encoders.run.fidelity import DEFAULT_TOLERANCE
from patchgate.gate import Gate
from patchgate.pipeline import StageSeconds
from patchgate.pipeline.stages import timed
from patchgate.pipeline.tubelets import whole_tubelets

_TOWERS: dict[str, dict[str, Any]] = {  # what differs from SigLIP base/16-224
    "siglip-base": {"image_size": 224, "patch_size": 16},
    "siglip-so400m": {
        "image_size": 384, "patch_size": 14, "hidden_size": 1152, "intermediate_size": 4304,
        "num_hidden_layers": 27, "num_attention_heads": 16,
    },
}  # fmt: skip


@app.command()
@spread
def bench(
    video: VideoPath,
    gate: GateOptions,
    read: ReadOptions,
    frames: Annotated[
        int,
        typer.Option("--frames", min=2, help="Frames to hold in memory, up to whole chunks."),
    ] = 128,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="Times that each way is measured, in turn.")
    ] = 5,
    tower: Annotated[
        str | None,
        typer.Option("--tower", metavar="|".join(_TOWERS), show_default="none",
                     help="Encode, too, with a tower of this size and random weights; it sets "
                     "--size and --patch. Needs transformers."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0, help="Of --tower, as patchgate.gated takes it.")
    ] = DEFAULT_TOLERANCE,
    as_json: Json = False,
) -> dict[str, Any]:  # fmt: skip
    """Measure the stages on a video: what is kept, and the time it takes, beside every cell.

    Then says where the time goes, decoding included, and what a saving in the tower is worth as a
    whole: 1 / (1 - share * saving) times the speed. Random weights of --tower flatter what
    a tolerance saves; what kept cells alone save does not depend on weights.
    """
    with as_usage_error():
        model = None if tower is None else _model(tower, gate)
        wanted = _gate(gate.gate(), model)
    options = read.apply()
    with reported() as warned:
        decoding = StageSeconds()
        clip = _held(video, frames, wanted, options, decoding)
        measured = _measured(ways_of(wanted, model, tolerance), clip, rounds)
        facts = _facts(video, wanted, clip, measured) | {"tower": tower, "warnings": warned}
        spent = decoding.seconds["decode"]
        facts["where"] = bench_share.where(measured, spent, facts["frames"])
        facts["shares"] = bench_share.shares(facts["where"])
        result(facts, _lines(facts) | bench_share.lines(facts), video, as_json)
    return facts


# --- the clip and the tower -------------------------------------------------------------------


def _model(name: str, gate: GateOptions) -> Any:
    """Makes a model with random weights, in the size that was asked for."""
    if name not in _TOWERS:
        raise ValueError(f"--tower: expected {' or '.join(_TOWERS)}, got {name!r}")
    for option in ("size", "patch", "merge", "temporal_patch"):
        if getattr(gate, option) != getattr(GateOptions(), option):
            raise ValueError(f"--{option.replace('_', '-')}: --tower sets it; leave it out")
    try:
        from transformers import SiglipVisionConfig, SiglipVisionModel
    except ImportError as error:
        raise ValueError("--tower needs transformers: pip install 'patchgate[tower]'") from error
    torch.manual_seed(0)
    config = SiglipVisionConfig(**_TOWERS[name], vision_use_head=False)
    model = SiglipVisionModel(config).eval().requires_grad_(False)
    try:
        check_transformers("--tower", model, TRANSFORMERS)
    except ImportError as error:
        raise ValueError(str(error)) from error
    return model


def _gate(gate: Gate, model: Any) -> Gate:
    """Makes a gate of the model's sizes."""
    settings = asdict(gate.settings)
    if settings["fit"] != "stretch":
        raise ValueError(f"--fit: bench stretches frames to --size, got {settings['fit']}")
    if model is not None:
        side = model.config.image_size // model.config.patch_size * model.config.patch_size
        settings |= {"size": (side, side), "patch": model.config.patch_size}
    return Gate(**settings)


def _held(
    path: str, frames: int, gate: Gate, options: dict[str, Any], decoding: StageSeconds
) -> list[FrameBatch]:
    """Decodes the first frames, in whole tubelets, and counts the time as that of "decode"."""
    held: list[FrameBatch] = []
    tubelet = gate.settings.temporal_patch
    with open_video(path, **options) as video:
        for batch in whole_tubelets(timed(iter(video), decoding, "decode"), tubelet):
            held.append(batch)
            if sum(map(len, held)) >= frames:
                break
    held = [batch for batch in held if len(batch) % tubelet == 0]
    if not held:
        raise ValueError(f"{path}: no frame there to be measured with")
    return held


# --- measuring --------------------------------------------------------------------------------


@dataclass
class _Runs:
    """The measurements of one way."""

    tokens: int = 0  # of one run
    stages: list[dict[str, float]] = field(default_factory=list)  # seconds of each run
    seconds: list[float] = field(default_factory=list)  # of each run
    pushes: list[float] = field(default_factory=list)  # seconds a frame, of each push


def _measured(
    ways: dict[str, Callable[[], Way]], clip: list[FrameBatch], rounds: int
) -> dict[str, _Runs]:
    """Times all ways in turn, so that a slow moment affects all; the first round warms up."""
    found = {name: _Runs() for name in ways}
    for number in range(rounds + 1):
        for name, begin in ways.items():
            runs = found[name] if number else _Runs()
            _run(begin(), clip, runs)
    return found


@torch.inference_mode()
def _run(way: Way, clip: list[FrameBatch], runs: _Runs) -> None:
    stages, tokens, spent = StageSeconds(), 0, []
    for batch in clip:
        start = time.perf_counter()
        tokens += way.push(batch, stages)
        spent.append(time.perf_counter() - start)
    runs.tokens = tokens
    runs.stages.append(stages.seconds)
    runs.seconds.append(sum(spent))
    runs.pushes += [each / len(batch) for each, batch in zip(spent, clip, strict=True)]


def _facts(
    path: str, gate: Gate, clip: list[FrameBatch], measured: dict[str, _Runs]
) -> dict[str, Any]:
    frames, settings = sum(map(len, clip)), gate.settings
    dense, plain = measured[EVERY_CELL].tokens, measured[EVERY_CELL].seconds

    def figures(runs: _Runs) -> dict[str, Any]:
        by_stage = {name: 1e3 * median(run[name] for run in runs.stages) / frames
                    for name in runs.stages[0]}  # fmt: skip
        pushes = doubles(runs.pushes) * 1e3
        return {
            "tokens": runs.tokens,
            "kept_share": runs.tokens / dense,
            "ms_per_frame": {**by_stage, "total": 1e3 * median(runs.seconds) / frames},
            "p50_ms_per_frame": float(pushes.quantile(0.5)),
            "p99_ms_per_frame": float(pushes.quantile(0.99)),
            "times_faster": median(a / b for a, b in zip(plain, runs.seconds, strict=True)),
        }

    return {
        "video": path,
        "frames": frames,
        "grid": list(gate.size or ()),
        "gate": asdict(settings),
        "threads": torch.get_num_threads(),
        "rounds": len(plain),
        "ways": {name: figures(runs) for name, runs in measured.items()},
    }


def _lines(facts: dict[str, Any]) -> dict[str, str]:
    height, width = facts["grid"]
    said = {"frames": f"{facts['frames']}, grid {height} x {width}, {facts['threads']} threads, "
                      f"medians of {facts['rounds']} rounds"}  # fmt: skip
    for name, found in facts["ways"].items():
        spent = dict(found["ms_per_frame"])
        total = spent.pop("total")
        stages = ", ".join(f"{stage} {ms:.2f}" for stage, ms in spent.items())
        said[name] = (
            f"{found['tokens']:,} tokens ({found['kept_share']:.1%}), {total:.2f} ms a frame "
            f"({found['times_faster']:.2f} x): {stages}; p99 {found['p99_ms_per_frame']:.2f}"
        )
    return said
