"""What can be read of thinned tokens, at equal numbers: python benchmarks/merge_reading.py

Every cell of every frame of the rendered clips goes through the small transformer's tower. Each
rule is given all of its tokens, and leaves a half, a fifth, a tenth and a twentieth of them; what
it says of every cell is read by the same reader. A peer whose knob does not meet the number leaves
the most tokens that are no more. Ours are three:

- merge: alone, with no gate before it;
- gate, then merge: ``merge`` is given the tokens of the cells that the default gate keeps, as
  ``tokenize`` does. Budgets are shares of all cells nevertheless, and ``left`` is the share that
  was used: where the gate keeps fewer, nothing is merged;
- gate (encode), then merge: the same with ``on_motion="encode"``. By default a cell that moved has
  the features of its source, whose letters may stand elsewhere in the cell; here it has its own.

Rules are told apart by what they retain: of the answers that the dense tokens give right, the share
that still is. An answer on the brink, right in this frame by chance, can only be lost by that;
``asked`` and ``right`` are of all questions, where one that was wrong may be won, too.

Letters: T frames, h w cells, N = h * w, D features.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, get_args

import table
from harness import grouped, spread
from peers.registry import CHOOSERS, at_budget
from reading.clips import footage
from reading.merged import every_cell, merged
from reading.methods import Seen, Trace
from reading.questions import ask
from reading.rivals import Encoded, OnFeatures, Rival, traced
from reading.scenes import SCENES
from reading.score import Row, interval, total
from reading.trial import Task, fewer, rows_of
from reading.truth import Split
from reading.viewers import load

from patchgate import merge

SHARES = (0.5, 0.2, 0.1, 0.05)
PEERS = ("EVS", "DTD, features", "VidCom2", "FrameFusion", "ToMe")
OURS = "merge"
GATED: dict[str, dict[str, Any]] = {  # changes to the default gate
    "gate, then merge": {},
    "gate (encode), then merge": {"on_motion": "encode"},
}


@dataclass(frozen=True)
class Thinned(Rival):
    """A rule at a number of tokens; ``value`` is its share of the cells."""

    @property
    def setting(self) -> str:
        return f"{self.value:g}"

    @property
    def looks(self) -> str:
        return "features"

    def traces(self, seen: Seen) -> list[Trace]:
        frames, h, w = seen.shape
        tokens = int(self.value * frames * h * w)
        if self.family in GATED:
            return [merged(seen, tokens, **GATED[self.family])]
        if self.family == OURS:
            few = merge(every_cell(seen.features, (h, w), seen.fps), budget=tokens)
            assert len(few) == tokens
            return [Encoded(few.kind, few.motion, few.dense().flatten(1, 2))]
        choice = at_budget(CHOOSERS[self.family], seen, tokens)
        if choice is None:
            raise ValueError(f"{self.family}: no choice of {tokens} tokens")
        return [traced(choice, seen, "features")]


def of_clip(split: Split, task: Task) -> list[Row]:
    """All rows of one clip, in a worker."""
    viewer = reader()
    film = footage(task.scene, split, task.seed, viewer.size, task.seconds)
    questions = fewer(ask(film.truth, task.seed))
    methods = [Thinned(family, share) for share in SHARES for family in (OURS, *GATED, *PEERS)]
    return list(rows_of(viewer, film, questions, methods))


@cache
def reader() -> OnFeatures:
    return OnFeatures("ViT", load("vit")[0].reader)


def retained(rows: Sequence[Row], key: Callable[[Row], Any]) -> Iterator[dict[str, Any]]:
    """One line for each group and share: what each rule retains of what the dense tokens say."""
    for group, own in sorted(grouped(rows, key).items()):
        for share, some in grouped(own, lambda r: r.setting).items():
            kept = {family: total(found) for family, found in
                    grouped(some, lambda r: r.family).items()}  # fmt: skip
            low, high = interval([row for row in some if row.family == OURS])
            best = max(kept[family].retention for family in PEERS)
            yield {
                "group": group, "share": share,
                **{family: f"{each.retention:.3f}" for family, each in kept.items()},
                **{f"left, {family}": f"{kept[family].share:.3f}" for family in GATED},
                "95 % of merge": f"{low:.3f}..{high:.3f}",
                "asked": kept[OURS].asked, "right, dense": kept[OURS].dense,
                **{f"right, {family}": round(kept[family].right) for family in (OURS, *GATED)},
                "": "reached" if kept[OURS].retention >= best else "missed",
            }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=2, help="of each scene")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each clip")
    parser.add_argument("--scenes", nargs="+", choices=tuple(SCENES), default=tuple(SCENES))
    parser.add_argument("--split", choices=get_args(Split), default="test", help="of the clips")
    parser.add_argument("--processes", type=int, default=2)
    wanted = parser.parse_args()
    tasks = [Task(scene, seed, wanted.seconds)
             for scene in wanted.scenes for seed in range(wanted.clips)]  # fmt: skip
    rows = list(spread(partial(of_clip, wanted.split), tasks, wanted.processes, "clips"))
    lines = [*retained(rows, lambda r: r.group), *retained(rows, lambda r: "all")]
    if wanted.split == "test":
        table.publish("merge_reading", lines)
    else:
        table.show(lines)


if __name__ == "__main__":
    main()
