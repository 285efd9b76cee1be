"""Light that changes and pictures that return: what is read, at which number of tokens.

Clips are of seeds that nothing was tuned on. Each method has the one setting that ``readout`` found
over its clips (results/proof/readout.json), so that nothing is tuned here. Ours is taken with that
setting and with its defaults: as it is, with ``illumination="global"`` and with ``memory``.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import harness
from harness import grouped, spread
from peers import CHOOSERS
from reading.clips import footage
from reading.ladder import LADDER
from reading.methods import RULES, Dense, Method, Ours, Seen, ours
from reading.questions import ask
from reading.rivals import Rival
from reading.score import ENOUGH, Row, Total, total
from reading.tables import number
from reading.trial import Task, fewer, rows_of
from reading.viewers import Gated, OnPictures, load

from patchgate import Gate
from patchgate.gate import CHANGED
from proof.options import Options
from proof.readout import READERS

SCENES = ("fade", "windows", "dialogue", "speaker", "exposure", "mains", "lamp")
FIRST_SEED = 10
PEERS = 3  # of fewest tokens over all clips of ``readout``
READOUT = harness.RESULTS / "proof" / "readout.json"
LIGHT, MEMORY = (dict(rule.changes) for rule in RULES)
DEFAULTS = (ours(), *RULES, ours(**LIGHT, noise="adaptive"))
FADES, WINDOWS, DIALOGUE = 1.0, 0.7, 0.1  # aims


class Chosen(NamedTuple):
    """The one setting of each method, over all clips of ``readout``."""

    ours: Ours
    peers: tuple[Rival, ...]  # of fewest tokens first

    @property
    def rules(self) -> tuple[Ours, Ours, Ours]:
        """Ours as it is, following the light, and remembering pictures."""
        changes = dict(self.ours.changes)
        return self.ours, ours(**changes, **LIGHT), ours(**changes, **MEMORY)

    @property
    def named(self) -> dict[str, Method]:
        """Ours with each rule, and the peers, by what a table calls them."""
        rules = zip(("patchgate", "with illumination", "with memory"), self.rules, strict=True)
        return {**dict(rules), **{peer.family: peer for peer in self.peers}}


class Cuts(NamedTuple):
    """The cuts of a clip by which a picture may return, and what a gate keeps there."""

    reader: str  # whose size it is
    scene: str
    setting: str  # "default" or "one setting"
    cuts: int
    kept: float  # the sum of the shares of cells kept at the cuts, with memory
    usual: float  # the median share of a frame


def measure(options: Options) -> dict[str, list[dict[str, Any]]]:
    """All tables."""
    scenes = SCENES[:3] if options.quick else SCENES
    seeds = range(FIRST_SEED, FIRST_SEED + options.clips)
    tasks = [Task(scene, seed, options.seconds) for scene in scenes for seed in seeds]
    found: list[Row | Cuts] = []
    for reader in options.readers:
        load(reader)  # what is missing is said here, once
        chosen(reader)
        found += spread(partial(of_clip, reader), tasks, options.processes, READERS[reader])
    rows = [each for each in found if isinstance(each, Row)]
    cuts = [each for each in found if isinstance(each, Cuts)]
    return tables(rows, cuts, {READERS[reader]: chosen(reader) for reader in options.readers})


def tables(
    rows: Sequence[Row], cuts: Sequence[Cuts], choices: dict[str, Chosen]
) -> dict[str, list[dict[str, Any]]]:
    """All tables of what was measured, by name."""
    by_reader = grouped(rows, lambda row: row.reader)
    alone = {name: by_reader[name] for name in choices}
    single = [row for name, own in alone.items() for row in by_group(own, choices[name].named)]
    return {
        "aims of light and returns": list(aims(alone, cuts, choices)),
        "settings taken": [
            {"reader": name, "method": method.family, "setting": method.setting}
            for name, choice in choices.items()
            for method in (choice.ours, *choice.peers)
        ],
        "with one setting for all clips": single,
        "with the defaults": [
            row for own in alone.values() for row in by_group(own, _named(DEFAULTS))
        ],
        "cuts": list(at_cuts(cuts)),
        "in a gated tower": [
            row
            for name, own in by_reader.items()
            if name not in choices
            for row in by_group(own, _named((ours(), *RULES)), work=True)
        ],
    }


@cache
def chosen(reader: str) -> Chosen:
    """What ``readout`` chose over all its clips, for one reader.

    Raises:
        SystemExit: it has not been run, or found none.
    """
    rows = json.loads(READOUT.read_text())["rows"]["equal reading"] if READOUT.exists() else []
    able = [row for row in rows if row["reader"] == READERS[reader] and "tokens/s" in row]
    steps = {(step.family, step.setting): step for step in LADDER}
    mine = [steps[key] for row in able if (key := (row["method"], row["setting"])) in steps]
    before = [row for row in able if row["method"] in CHOOSERS
              and CHOOSERS[row["method"]].looks == "pixels"]  # fmt: skip
    if not mine or not before:
        raise SystemExit(
            f"{READOUT.name} has no setting of ours and of a peer for {READERS[reader]}: run "
            "python benchmarks/proof/run.py readout first"
        )
    peers = sorted(before, key=lambda row: row["tokens/s"])[:PEERS]
    found = (Rival(row["method"], float(row["setting"].partition("=")[2])) for row in peers)
    return Chosen(mine[0], tuple(found))


def of_clip(reader: str, task: Task) -> list[Row | Cuts]:
    """All that is measured of one clip."""
    choice, found = chosen(reader), []
    methods = tuple(dict.fromkeys((Dense(), *DEFAULTS, *choice.rules, *choice.peers)))
    for viewer in viewers(reader):
        film = footage(task.scene, "test", task.seed, viewer.size, task.seconds)
        found += rows_of(viewer, film, fewer(ask(film.truth, task.seed)), methods)
        if isinstance(viewer, OnPictures):
            seen = Seen(film.planes, film.truth.fps, film.matrix)
            for name, step in (("default", ours()), ("one setting", choice.ours)):
                found += cuts_of((viewer.name, task.scene, name), seen, step)
    return found


@cache
def viewers(reader: str) -> list[Any]:
    """The reader on rebuilt pictures, and gated in the contexts that the rules are looked at in."""
    first, *others = load(reader)
    assert isinstance(first, OnPictures)
    alone = OnPictures(READERS[reader], first.size, first.reader)
    return [alone, *(each for each in others if isinstance(each, Gated) and each.ruled)]


def cuts_of(of: tuple[str, str, str], seen: Seen, step: Ours) -> Iterator[Cuts]:
    """What is kept at the cuts of a clip of two cameras, but the first, which shows the second.

    Args:
        of: reader, scene, and what the setting is called.
    """
    if of[1] not in ("dialogue", "speaker"):
        return
    plain = Gate(**ours().settings).push(seen.planes)  # whose key frames are the cuts
    kept = Gate(**{**step.settings, **MEMORY}).push(seen.planes).kind == CHANGED  # [T, h, w]
    shares = kept.flatten(1).double().mean(1)  # [T]
    cuts = plain.is_key.nonzero().flatten()[2:]  # the first frame is a key frame, too
    yield Cuts(*of, len(cuts), float(shares[cuts].sum()), float(shares.median()))


# --- tables -----------------------------------------------------------------------------------


def by_group(
    rows: Sequence[Row], methods: dict[str, Method], *, work: bool = False
) -> Iterator[dict[str, Any]]:
    """Tokens a second of methods and, in brackets, what is retained; with ``work``, that."""
    groups = grouped(rows, lambda row: row.group)
    for group, own in [*groups.items(), ("all", rows)]:
        of = grouped(own, lambda row: row.method)
        yield {
            "reader": own[0].reader, "group": group,
            "asked": total(of[Dense.family, Dense.setting]).asked,
            **{name: _cell(of[m.family, m.setting], work) for name, m in methods.items()},
        }  # fmt: skip


def _named(methods: Sequence[Method]) -> dict[str, Method]:
    return {method.setting: method for method in methods}


def _cell(rows: Sequence[Row], work: bool) -> str:
    all_ = total(rows)
    spent = number(all_.own_flops, 3) if work else round(all_.rate)
    return f"{spent} ({number(all_.retention)})"


def at_cuts(cuts: Sequence[Cuts]) -> Iterator[dict[str, Any]]:
    """The share of a frame's cells that is kept where a picture may return."""
    for (reader, scene, setting), own in grouped(cuts, lambda each: each[:3]).items():
        count = sum(each.cuts for each in own)
        yield {
            "reader": reader, "scene": scene, "setting": setting, "cuts back": count,
            "kept at a cut": number(_at_a_cut(own)),
            "kept in a usual frame": number(sum(each.usual for each in own) / len(own)),
        }  # fmt: skip


def _at_a_cut(cuts: Sequence[Cuts]) -> float:
    count = sum(each.cuts for each in cuts)
    return sum(each.kept for each in cuts) / count if count else float("nan")


def aims(
    rows: dict[str, list[Row]], cuts: Sequence[Cuts], choices: dict[str, Chosen]
) -> Iterator[dict[str, Any]]:
    """What was aimed at, by reader."""
    for reader, own in rows.items():
        choice = choices[reader]
        plain, light, memory = choice.rules
        best = choice.peers[0]
        pairs = [
            ("fade", f"fade: tokens over those of {best.family}", FADES, light, best),
            ("window", "window: tokens with memory over without", WINDOWS, memory, plain),
            ("window", "window, defaults: the same", WINDOWS, RULES[1], ours()),
        ]
        for group, what, most, first, second in pairs:
            of = grouped((row for row in own if row.group == group), lambda row: row.method)
            if of:
                one, other = (total(of[m.family, m.setting]) for m in (first, second))
                yield _aim(reader, what, most, one, other)
    dialogues = grouped(
        (each for each in cuts if each.scene == "dialogue"),
        lambda each: (each.reader, each.setting),
    )
    for (reader, setting), some in dialogues.items():
        value = _at_a_cut(some)
        yield {
            "reader": reader, "what": f"dialogue, {setting}: share of a key frame at a cut back",
            "is": number(value), "aim": f"<= {DIALOGUE:g}",
            "": "reached" if value <= DIALOGUE else "missed",
        }  # fmt: skip


def _aim(reader: str, what: str, most: float, mine: Total, other: Total) -> dict[str, Any]:
    ratio = mine.tokens / other.tokens
    reached = ratio <= most and mine.retention >= min(ENOUGH, other.retention)
    return {
        "reader": reader, "what": f"{what}, read {mine.retention:.3f} and {other.retention:.3f}",
        "is": number(ratio), "aim": f"<= {most:g}", "": "reached" if reached else "missed",
    }  # fmt: skip
