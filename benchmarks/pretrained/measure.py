"""One clip under every method: work, errors, time. And one scene: work, and whose mask is right.

Letters: T frames, h w cells.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any, NamedTuple

from rich.progress import track
from torch import Tensor

from pretrained.clips import Film, normalised
from pretrained.cutouts import Scene, carried, j
from pretrained.errors import Truth, check, measure
from pretrained.ladder import Step
from pretrained.methods import Found, dense
from pretrained.weights import PATCH, Pretrained


class Times(NamedTuple):
    """Seconds of runs in pairs."""

    method: list[float]
    dense: list[float]

    @property
    def share(self) -> float:
        """The share of the dense tower's time: the ratio of the medians."""
        return median(self.method) / median(self.dense)

    @property
    def spread(self) -> list[float]:
        """The least and the greatest ratio of a pair: how quiet the machine was."""
        ratios = [a / b for a, b in zip(self.method, self.dense, strict=True)]
        return [float(f"{ratio:.3g}") for ratio in (min(ratios), max(ratios))]


def in_turn(method: Callable[[], Any], dense: Callable[[], Any], pairs: int) -> Times:
    """So many pairs: method, dense, dense, method, and so on. Neither is warmed up here."""
    times = Times([], [])
    for number in range(pairs):
        both = ((method, times.method), (dense, times.dense))
        for call, seconds in both if number % 2 == 0 else both[::-1]:
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
    return times


def clip(
    film: Film, pretrained: Pretrained, steps: Sequence[Step], pairs: int
) -> list[dict[str, Any]]:
    """A row for each step. ``time`` is None where none was taken; ``dense ms`` is that of a frame,
    in the pairs that are timed for that row.
    """
    model, head = pretrained
    pixels = film.pixel_values
    truth = Truth.of(dense(model, pixels), head)
    rows = []
    for step in track(steps, _doing(film.name, pixels)):
        run = partial(step.method, model, pixels)
        found = run()
        with _named(film.name, step):
            errors = measure(found.features, truth, head)._asdict()
        if not found.cls:
            errors["cls"] = None
        row = {"clip": film.name} | _row(step, found, pixels) | errors
        row["time"] = found.work if step.constructed else None  # held frames cost nothing
        if step.timed:
            times = in_turn(run, partial(dense, model, pixels), pairs)
            row |= {"time": times.share, "time, pairs": times.spread}
            row["dense ms"] = 1e3 * median(times.dense) / len(pixels)
        rows.append(row)
    return rows


def scene(scene: Scene, pretrained: Pretrained, steps: Sequence[Step]) -> list[dict[str, Any]]:
    """A row for each step, with J of the mask that its features carry on."""
    pixels = normalised(scene.rgb)
    h, w = (side // PATCH for side in pixels.shape[2:])
    rows = []
    for step in track(steps, _doing(scene.name, pixels)):
        found = step.method(pretrained.model, pixels)
        with _named(scene.name, step):
            check(found.features, len(pixels), 1 + h * w)
        masks = carried(found.features[:, 1:], scene.mask[0], (h, w))
        row = {"scene": scene.name} | _row(step, found, pixels)
        rows.append(row | {"j": j(masks, scene.mask)})
    return rows


@contextmanager
def _named(place: str, step: Step) -> Iterator[None]:
    """Adds to an error where it was found."""
    try:
        yield
    except ValueError as error:
        error.add_note(f"{place}: {step.name}")
        raise


def _row(step: Step, found: Found, pixels: Tensor) -> dict[str, Any]:
    return {
        "side": pixels.shape[-1], "frames": len(pixels), "family": step.family,
        "method": step.name, "work": found.work, "kept": found.kept,
    }  # fmt: skip


def _doing(name: str, pixels: Tensor) -> str:
    return f"{name}, {pixels.shape[-1]} px, {len(pixels)} frames"
