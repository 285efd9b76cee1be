"""The work of ``patchgate bench``: what the gate saves and costs on a video of the user's own.

Decoded frames are held in memory, and the ways of ``bench_ways.py`` from there to a tower's input
(and, with a tower, to its features) take turns. ``bench_share.py`` adds the time of decoding, and
says what the tower's share of all of it allows.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import torch

from patchgate._check import TRANSFORMERS, check_transformers
from patchgate._check.text import nearest_first
from patchgate._tensors import doubles
from patchgate.cli import bench_share
from patchgate.cli.bench_ways import EVERY_CELL, Way, ways_of
from patchgate.cli.commands.models import TOWERS
from patchgate.cli.grids import sized
from patchgate.decode import FrameBatch, open_video
from patchgate.encoders.run.fidelity import DEFAULT_TOLERANCE
from patchgate.gate import Gate
from patchgate.pipeline import StageSeconds
from patchgate.pipeline.stages import timed
from patchgate.pipeline.tubelets import whole_tubelets
from patchgate.report import costs
from patchgate.report.costs import RATES, CostMeter, Costs, Reader


@dataclass(frozen=True)
class Job:
    """What was asked for."""

    video: str
    frames: int  # at least so many are held, if there are so many
    rounds: int
    gate: Gate
    grid: str  # the value of --grid
    reader: Reader
    options: dict[str, Any]  # of open_video


def facts_of(job: Job, model: Any, tolerance: float | None) -> dict[str, Any]:
    """Measures, and returns what --json prints.

    Args:
        model: of ``model_of``; None: there is no tower.
        tolerance: the tower's; None: the default.
    """
    decoding = StageSeconds()
    gate, clip = _held(job, decoding)
    tolerance = DEFAULT_TOLERANCE if tolerance is None else tolerance
    measured = _measured(ways_of(gate, model, tolerance), clip, job.rounds)
    facts = _facts(job.video, gate, clip, measured)
    facts["where"] = bench_share.where(measured, decoding.seconds["decode"], facts["frames"])
    facts["shares"] = bench_share.shares(facts["where"])
    facts["costs"] = _costs(job, gate, clip).facts()
    return facts


def lines_of(facts: dict[str, Any]) -> dict[str, str]:
    """Puts the facts in lines for people."""
    return _lines(facts) | costs.lines_of(facts["costs"]) | bench_share.lines(facts)


# --- the clip and the tower -------------------------------------------------------------------


def model_of(name: str) -> Any:
    """Makes a model with random weights, in the size that was asked for.

    Raises:
        ValueError: there is no such size, or transformers is missing or too old.
    """
    if name not in TOWERS:
        listed = " or ".join(nearest_first(name, TOWERS))
        raise ValueError(f"--tower: expected {listed}, got {name!r}")
    try:
        from transformers import SiglipVisionConfig, SiglipVisionModel
    except ImportError as error:
        raise ValueError("--tower needs transformers: pip install 'patchgate[tower]'") from error
    torch.manual_seed(0)
    config = SiglipVisionConfig(**TOWERS[name], vision_use_head=False)
    model = SiglipVisionModel(config).eval().requires_grad_(False)
    try:
        check_transformers("--tower", model, TRANSFORMERS)
    except ImportError as error:
        raise ValueError(str(error)) from error
    return model


def gate_of(gate: Gate, model: Any) -> Gate:
    """Makes a gate of the model's sizes."""
    settings = asdict(gate.settings)
    if settings["fit"] == "pad":
        raise ValueError("--fit: bench stretches or crops frames to --size, got pad")
    if model is not None:
        side = model.config.image_size // model.config.patch_size * model.config.patch_size
        settings |= {"size": (side, side), "patch": model.config.patch_size}
    return Gate(**settings)


def _held(job: Job, decoding: StageSeconds) -> tuple[Gate, list[FrameBatch]]:
    """Decodes the first frames, in whole tubelets, and counts the time as that of "decode".

    Returns:
        The gate with the size of the grid, and the frames.
    """
    held: list[FrameBatch] = []
    tubelet = job.gate.settings.temporal_patch
    with open_video(job.video, **job.options) as video:
        gate = sized(job.gate, job.grid, video, job.options)
        for batch in whole_tubelets(timed(iter(video), decoding, "decode"), tubelet):
            held.append(batch)
            if sum(map(len, held)) >= job.frames:
                break
    held = [batch for batch in held if len(batch) % tubelet == 0]
    if not held:
        raise ValueError(f"{job.video}: no frame there to be measured with")
    return gate, held


def _costs(job: Job, gate: Gate, clip: list[FrameBatch]) -> Costs:
    """Counts what these frames cost the model."""
    meter = CostMeter.of(gate, job.reader, (*RATES, None), job.options["fps"])
    for batch in clip:
        meter.push(batch)
    return meter.costs()


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
