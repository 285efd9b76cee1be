"""What ``advise`` found: a table, and a recommendation in one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patchgate.report.advice.tried import EVERY
from patchgate.report.history import counted, unit

_ORDINALS = {1: "st", 2: "nd", 3: "rd"}
_PIXELS = (
    "there is no tower: errors are differences of pixels between what is shown and the frames, "
    "divided by 255, and work is that of a tower's linear layers, which is the share of tokens; "
    "patchgate.advise(video, tower) measures a tower of yours"
)
_FEATURES = (
    "errors are 1 - cosine to the features of the dense tower; work is counted in operations of "
    "the tower, those of the dense one being 1"
)


@dataclass(frozen=True)
class Option:
    """Some settings, and what they cost and keep of the video."""

    settings: Mapping[str, Any]  # as ``advise(settings=)`` takes them
    tokens: int
    kept_share: float  # tokens over cells of all frames
    tokens_per_second: float
    work: float  # divided by that of every frame, taken whole
    error: float  # mean over all cells
    changed_error: float  # mean over the tenth of the cells that changed most
    worst: float | None  # grey levels: a sub-block's mean difference; None: with a tower
    limit: float | None  # what the gate promises of it; None: nothing

    @property
    def score(self) -> float:
        """1 - the larger one of both errors."""
        return 1 - max(self.error, self.changed_error)

    @property
    def every(self) -> int:
        """How many frames apart frames are taken; 1: every frame."""
        return int(self.settings.get(EVERY, 1))

    @property
    def only_samples(self) -> bool:
        """Whether frames are taken whole, and there is no gate."""
        return self.every > 1 and len(self.settings) == 1

    @property
    def rules(self) -> str:
        """The settings as keywords."""
        own = (f"{name}={_text(value)}" for name, value in self.settings.items() if name != EVERY)
        return ", ".join(own)


@dataclass(frozen=True)
class Advice:
    """Settings for a video, what each costs and keeps, and which of them to use.

    ``print`` shows the table and the recommendation.
    """

    options: tuple[Option, ...]
    target: float  # of the score
    frames: int  # that were played; tubelets, if one token spans two frames
    seconds: float  # that they last
    cells: tuple[int, int]  # of a frame
    tubelet: int  # frames of a token
    tower: str | None  # its name

    @property
    def best(self) -> Option | None:
        """The option of the least work that meets the target; None: every frame must be whole."""
        good = [each for each in self.options if each.score >= self.target and each.work < 1]
        return min(good, key=lambda each: (each.work, -each.score), default=None)

    @property
    def recommendation(self) -> str:
        """The advice, in one sentence."""
        best = self.best
        if best is None:
            return self._unreached()
        others = [
            each
            for each in self.options
            if each.only_samples is not best.only_samples and each.score >= self.target
        ]
        other = min(others, key=lambda each: each.work, default=None)
        told = f"score {best.score:.3f} at {best.work:.1%} of the work"
        if best.only_samples:
            gated = "no gated setting that was tried meets the target"
            if other is not None:
                gated = f"the cheapest gated setting, {self.name(other)}, takes {other.work:.1%}"
            return f"sampling is enough here: take {self.name(best)} and hold it, {told}; {gated}"
        if other is not None:
            sampling = f"sampling alone needs {self.name(other)}, {other.work:.1%} of the work"
        else:
            sampling = self._without_sampling()
        hint = "; check it with your tower" if self.tower is None else ""
        return f"use {self.name(best)}: {told}; {sampling}{hint}"

    def name(self, option: Option) -> str:
        """Returns what an option is called."""
        taken = f"every {_ordinal(option.every)} {unit(self.tubelet)[:-1]}"
        if option.only_samples:
            return taken
        return option.rules if option.every == 1 else f"{taken}, {option.rules}"

    def lines(self) -> dict[str, str]:
        """Returns the table and the recommendation, each line by its name."""
        pixels = self.tower is None
        h, w = self.cells
        said = {
            "played": f"{counted(self.frames, self.tubelet)} of {h} x {w} cells, "
            f"{self.seconds:.2f} s; tower: {self.tower or 'none'}",
            "": f"{'kept':>7} {'tokens/s':>9} {'work':>7} {'error':>7} {'changed':>8}"
            + (f" {'worst':>7} {'limit':>7}" if pixels else ""),
        }
        for option in sorted(self.options, key=_place):
            said[self.name(option)] = _row(option, pixels) + (
                "  *" if option.score >= self.target else ""
            )
        said["columns"] = (
            "changed: error of the tenth of the cells that changed most in 5 "
            f"{unit(self.tubelet)}; *: both errors are at most {1 - self.target:.3g}"
            + ("; worst: a sub-block, in grey levels of 255, which the gate limits" * pixels)
        )
        said["measured"] = _PIXELS if pixels else _FEATURES
        said["advice"] = self.recommendation
        return said

    def __str__(self) -> str:
        said = self.lines()
        width = max(map(len, said))
        return "\n".join(f"{name:{width}}  {text}" for name, text in said.items())

    def _unreached(self) -> str:
        best = max(self.options, key=lambda each: each.score)
        return (
            f"nothing that was tried has a score of {self.target:g} at less work than every frame, "
            f"taken whole; the best, {self.name(best)}, has {best.score:.3f} at {best.work:.1%}: "
            "take every frame whole, or lower the target"
        )

    def _without_sampling(self) -> str:
        samples = [each for each in self.options if each.only_samples]
        if not samples:
            return "sampling alone was not tried"
        best = max(samples, key=lambda each: each.score)
        return (
            f"sampling alone does not reach {self.target:g}: {self.name(best)} has "
            f"{best.score:.3f} at {best.work:.1%}"
        )


def _place(option: Option) -> tuple[bool, bool, float]:
    return option.only_samples, option.every > 1, -option.work


def _row(option: Option, pixels: bool) -> str:
    row = (
        f"{option.kept_share:>7.1%} {option.tokens_per_second:>9,.0f} {option.work:>7.1%} "
        f"{option.error:>7.4f} {option.changed_error:>8.4f}"
    )
    if not pixels:
        return row
    limit = "none" if option.limit is None else f"{option.limit:.1f}"
    return f"{row} {option.worst or 0.0:>7.1f} {limit:>7}"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else _ORDINALS.get(number % 10, "th")
    return f"{number}{ending}"


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)
