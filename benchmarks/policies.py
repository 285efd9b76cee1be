"""Policies: their time, and what plans are worth with and without the gate.

python benchmarks/policies.py [--seconds 5] [--scenes slides ...]    (some minutes, one thread)

Time: every policy on 36,000 candidates, ten hours at one frame a second.

Reading: clips of benchmarks/reading, PP-OCR as the reader. Every plan that needs no query gets the
tokens of 1, 2 or 4 whole frames a second. *Alone* it spends them on whole frames. *With the gate*
it chooses as many frames (up to all) as the gate, on those frames, keeps within the same tokens.
The first frame is always chosen; between chosen frames the last one is known.

Letters: T frames, h w cells.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import harness
import table
import torch
from harness import grouped
from reading import viewers
from reading.clips import footage
from reading.methods import CELL, Dense, Seen, Trace, ours
from reading.questions import ask
from reading.scenes import SCENES
from reading.score import Row, total
from reading.trial import fewer, rows_of
from torch import Tensor

from patchgate import Gate
from patchgate.gate import CHANGED, GateSettings
from patchgate.policies import POLICIES, Budget, Frames, llava_onevision
from patchgate.policies.video.statistics import of_frames

CANDIDATES = 36_000
MOST_MS = 50.0
POLICIES_READ = (
    "uniform", "frame_skip", "framethinker", "apollo", "chronoforge", "mgsampler", "slice",
    "maxinfo",
)  # fmt: skip
RATES = (1, 2, 4)  # whole frames a second, whose tokens may be spent
CLOSE = 0.04  # of the frames: how finely their number is searched
SCENES_READ = ("slides", "lecture", "subtitles-small", "fade", "windows", "prepend-push", "scroll",
               "pan")  # fmt: skip
THUMBNAIL = 12  # samples a side: features of a frame, for policies that need some


def main() -> None:
    torch.set_num_threads(1)
    wanted = arguments()
    rows = list(times())
    rows += reading(wanted.scenes, wanted.seconds)
    table.publish("policies", rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each clip")
    parser.add_argument("--scenes", nargs="+", choices=tuple(SCENES), default=SCENES_READ)
    return parser.parse_args()


# --- time -------------------------------------------------------------------------------------


def times() -> Iterator[dict[str, Any]]:
    """The slower of a budget of frames and one of tokens, median of seven."""
    chance = torch.Generator().manual_seed(0)
    n = CANDIDATES
    frames = Frames(
        pts=torch.arange(n),
        key=torch.arange(n) % 12 == 0,
        delta=torch.rand(n, generator=chance),
        rel=torch.rand(n, generator=chance),
        feat=torch.randn(n, 512, generator=chance),
    )
    budgets = (Budget(frames=64), Budget(tokens=64 * 196, grid=llava_onevision()))

    def call(name: str, budget: Budget) -> Callable[[], object]:
        return lambda: POLICIES[name].run(frames, budget)

    for name in POLICIES:
        seconds = harness.paired({str(i): call(name, b) for i, b in enumerate(budgets)})
        slowest = max(map(statistics.median, seconds.values()))
        yield row_of(f"ms on {n:,} candidates", name, round(1e3 * slowest, 2), f"< {MOST_MS:g}")


# --- reading ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planned:
    """A policy with the tokens of so many whole frames a second, with the gate or without."""

    policy: str
    rate: int
    gated: bool

    @property
    def family(self) -> str:
        return "plan + gate" if self.gated else "plan alone"

    @property
    def setting(self) -> str:
        return f"{self.policy} at {self.rate} fps"

    def traces(self, seen: Seen) -> list[Trace]:
        cells = seen.planes[0, 0].numel() // CELL**2
        frames = max(1, self.rate * len(seen.planes) // seen.fps)
        if not self.gated:
            return [whole(self.chosen(seen, frames), seen)]
        return [self._most(seen, frames * cells)]

    def chosen(self, seen: Seen, k: int) -> Tensor:
        """Frames that the policy takes, the first among them: in place of its own first one."""
        at = POLICIES[self.policy].run(candidates(seen), Budget(frames=k)).index.clone()
        at[0] = 0
        return at

    def _most(self, seen: Seen, tokens: int) -> Trace:
        """With as many frames as the gate keeps within so many tokens."""
        low, high = 1, len(seen.planes)
        best = thinned(self.chosen(seen, high), seen)
        if best.tokens <= tokens:
            return best
        best = thinned(self.chosen(seen, low), seen)
        step = max(1, round(CLOSE * high))
        while high - low >= step:
            middle = (low + high + 1) // 2
            tried = thinned(self.chosen(seen, middle), seen)
            if tried.tokens <= tokens:
                low, best = middle, tried
            else:
                high = middle - 1
        return best


@lru_cache(maxsize=1)
def candidates(seen: Seen) -> Frames:
    """Every frame, with the gate's statistics and a thumbnail as features."""
    settings = GateSettings(patch=CELL)
    result = Gate(**vars(settings)).push(seen.planes)
    luma = torch.nn.functional.adaptive_avg_pool2d(seen.planes[:, 0].float(), THUMBNAIL)
    pts = torch.arange(len(seen.planes)).double() / seen.fps
    return Frames(pts=pts, feat=luma.flatten(1), **of_frames(result, settings))


def whole(chosen: Tensor, seen: Seen) -> Trace:
    """All cells of the chosen frames."""
    t, _, height, width = seen.planes.shape
    keep = torch.zeros((t, height // CELL, width // CELL), dtype=torch.bool)
    keep[chosen] = True
    return Trace.of(keep)


def thinned(chosen: Tensor, seen: Seen) -> Trace:
    """What the gate keeps of the chosen frames."""
    trace = whole(chosen, seen)
    result = Gate(patch=CELL).push(seen.planes[chosen])
    trace.kind[chosen], trace.motion[chosen] = result.kind, result.motion
    assert trace.tokens == int((result.kind == CHANGED).sum())
    return trace


def reading(scenes: tuple[str, ...], seconds: float) -> list[dict[str, Any]]:
    """What PP-OCR reads after each, of what it reads from all frames."""
    (viewer,) = viewers.load("ocr")
    plans = [
        Planned(policy, rate, gated)
        for rate in RATES for policy in POLICIES_READ for gated in (False, True)
    ]  # fmt: skip
    found: list[Row] = []
    for scene in scenes:
        film = footage(scene, "test", 0, viewer.size, seconds)
        questions = fewer(ask(film.truth, 0))
        found += rows_of(viewer, film, questions, (Dense(), ours(), *plans))
        print(f"{scene}: {len(questions)} questions", flush=True)
    rows = []
    for (family, setting), own in grouped(found, lambda row: row.method).items():
        sums = total(own)
        rows.append(row_of(f"{family}: read of what dense video gives", setting,
                           round(sums.retention, 4), "", round(sums.rate)))  # fmt: skip
    for rate in RATES:
        alone, gated = (retentions(found, f, rate) for f in ("plan alone", "plan + gate"))
        rows.append(row_of("worst plan + gate less the best plan alone", f"all at {rate} fps",
                           round(min(gated.values()) - max(alone.values()), 4), "> 0"))  # fmt: skip
        least = min(gated[policy] - alone[policy] for policy in alone)
        rows.append(row_of("least gain of a policy by the gate", f"all at {rate} fps",
                           round(least, 4), "> 0"))  # fmt: skip
    return rows


def retentions(rows: list[Row], family: str, rate: int) -> dict[str, float]:
    """By policy."""
    own = [r for r in rows if r.family == family and r.setting.endswith(f" {rate} fps")]
    return {setting: total(same).retention
            for setting, same in grouped(own, lambda row: row.setting).items()}  # fmt: skip


def row_of(
    what: str, policy: str, value: float, target: str, tokens_per_second: int | str = ""
) -> dict[str, Any]:
    """A line of the table."""
    return {"what": what, "policy": policy, "value": value, "target": target,
            "tokens_per_second": tokens_per_second}  # fmt: skip


if __name__ == "__main__":
    main()
