"""What is read, at which number of tokens: every peer over its sweep, every clip, both readers.

PP-OCR reads pictures, so that only methods before a tower can be asked; the small transformer reads
what leaves its tower, so that those after and inside it can.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Any

from harness import grouped, spread
from peers import CHOOSERS, ENCODERS
from reading import merged
from reading.clips import footage
from reading.ladder import LADDER
from reading.methods import SWEEP, AdjacentSubBlocks, Dense, Method, Ours, Uniform
from reading.questions import ask
from reading.rivals import Inside, OnFeatures, Rival
from reading.score import Row, Setting, cheapest, total
from reading.tables import number
from reading.trial import Task, fewer, rows_of
from reading.viewers import OnPictures, load

from proof.options import Options, Steps

READERS = {"vit": "ViT", "ocr": "PP-OCR"}
CONTROLS = ("uniform", "random")
MINE = (Ours.family, merged.FAMILY)
# Controls, our own adjacent gate, and what works inside a tower, where no token goes.
NOT_COMPARED = (Dense.family, AdjacentSubBlocks.family, *CONTROLS, *ENCODERS)
HALVED, LECTURES = ("scroll", "pan"), ("lecture", "slide", "formula", "code")  # groups with aims


def measure(options: Options) -> dict[str, list[dict[str, Any]]]:
    """All tables of both readers."""
    tasks = options.tasks()
    rows: list[Row] = []
    for reader, name in ((reader, READERS[reader]) for reader in options.readers):
        load(reader)  # what is missing is said here, once
        rows += spread(partial(of_clip, reader, options.steps), tasks, options.processes, name)
    return {
        "defaults": list(at_defaults(rows)),
        "settings": list(tried(rows)),
        "equal reading": list(at_equal_reading(rows)),
        "by group": list(duel(rows)),
        "curve": list(curve(rows)),
    }


def of_clip(reader: str, steps: Steps, task: Task) -> list[Row]:
    """All rows of one clip."""
    found: list[Row] = []
    for viewer, methods in viewers(reader, steps):
        film = footage(task.scene, "test", task.seed, viewer.size, task.seconds)
        found += rows_of(viewer, film, fewer(ask(film.truth, task.seed)), methods)
    return found


@cache
def viewers(reader: str, steps: Steps) -> list[tuple[Any, tuple[Method, ...]]]:
    """Each with the methods that it is asked to look at."""
    pictures = load(reader)[0]
    assert isinstance(pictures, OnPictures)
    before = OnPictures(READERS[reader], pictures.size, pictures.reader)
    found: list[tuple[Any, tuple[Method, ...]]] = [(before, (Dense(), *before_tower(steps)))]
    if reader == "vit":
        inside = tuple(Inside(peer.name, value, pictures.reader.tower)
                       for peer in ENCODERS.values() for value in peer.sweep)  # fmt: skip
        after = rivals("features", steps.tuned)
        after += tuple(merged.Merged(value=share) for share in merged.SHARES)
        found.append((OnFeatures(READERS[reader], pictures.reader), (*after, *inside)))
    return found


def before_tower(steps: Steps) -> tuple[Method, ...]:
    """Ours, the peers that look at pixels, and the controls."""
    clock = tuple(Uniform(rate) for rate in (1, 2, 5, 10, 25))
    return (*LADDER[:: steps.tuned], *rivals("pixels", steps.tuned),
            *rivals("clock", steps.controls), *clock,
            *(AdjacentSubBlocks(level) for level in SWEEP[:: steps.controls]))  # fmt: skip


def rivals(looks: str, step: int) -> tuple[Method, ...]:
    """At settings of their sweeps and at their own; uniform sampling has phases elsewhere."""
    found: list[Method] = []
    for peer in CHOOSERS.values():
        if peer.looks == looks and peer.name != "uniform":
            values = (peer.own, *peer.sweep[::step])
            found += [Rival(peer.name, value) for value in dict.fromkeys(values)]
    return tuple(found)


# --- tables -----------------------------------------------------------------------------------


def at_defaults(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Every method at its authors' own setting."""
    own = {peer.name: Rival(peer.name, peer.own).setting for peer in CHOOSERS.values()}
    own |= {peer.name: f"share={peer.own:g}" for peer in ENCODERS.values()}
    own |= {Ours.family: "default", Dense.family: Dense.setting}
    for (reader, family, setting), found in grouped(rows, lambda r: (r.reader, *r.method)).items():
        if setting == own.get(family) or family == "uniform":
            all_ = total(found)
            yield {
                "reader": reader, "method": family, "setting": setting,
                "questions": all_.asked, "retained": round(all_.retention, 3),
                "tokens/s": round(all_.rate), "kept": round(all_.share, 4),
                "work": round(all_.own_flops, 3),
            }  # fmt: skip


def curve(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Every setting of every method: to be drawn."""
    for (reader, family, setting), own in grouped(rows, lambda r: (r.reader, *r.method)).items():
        all_ = total(own)
        yield {"reader": reader, "method": family, "setting": setting,
               "retained": round(all_.retention, 4), "tokens/s": round(all_.rate, 1)}  # fmt: skip


def tried(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """How many settings each family was tuned over, clip by clip and over all."""
    for (reader, family), own in grouped(rows, lambda r: (r.reader, r.family)).items():
        if family != Dense.family:
            yield {"reader": reader, "method": family, "settings": len({r.setting for r in own}),
                   "compared": "" if family in NOT_COMPARED else "yes"}  # fmt: skip


def at_equal_reading(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Tokens a second that each family needs to retain enough: one setting for all clips."""
    for reader, own in grouped(rows, lambda r: r.reader).items():
        found = one_setting(own)
        mine = found.get(Ours.family)
        for family, single in found.items():
            if family == Dense.family:
                continue
            if single is None:
                yield {"reader": reader, "method": family, "setting": "none retains enough"}
                continue
            all_ = single.total
            yield {
                "reader": reader, "method": family, "setting": single.setting,
                "retained": round(all_.retention, 3), "tokens/s": round(all_.rate),
                "kept": round(all_.share, 4), "work": round(all_.own_flops, 3),
                "ours / this": round(mine.total.tokens / all_.tokens, 2) if mine else "-",
            }  # fmt: skip


def one_setting(rows: Sequence[Row]) -> dict[str, Setting | None]:
    """Chooses in each family of one reader the setting of fewest tokens that retains enough over
    all clips.
    """
    families = grouped(rows, lambda r: r.family)
    return {family: cheapest(own) for family, own in families.items()}


def duel(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """By group: our tokens over the best peer's, both tuned clip by clip by who knows the answers.

    A family without a setting that retains enough of a clip keeps all of it. Controls and methods
    inside a tower (which keep all tokens) are no rivals here. Beside it, with one setting for all
    clips: ours and the best peer's.
    """
    for reader, own in grouped(rows, lambda r: r.reader).items():
        single = one_setting(own)
        for group, found in sorted(grouped(own, lambda r: r.group).items()):
            tokens = {family: fewest(rows_) for family, rows_ in
                      grouped(found, lambda r: r.family).items()}  # fmt: skip
            default = total(r for r in found if r.method == (Ours.family, "default"))
            mine = min(tokens[family] for family in MINE if family in tokens)
            theirs = {family: spent for family, spent in tokens.items() if family not in
                      (*MINE, *NOT_COMPARED)}  # fmt: skip
            best = min(theirs, key=lambda family: theirs[family])
            aim = 0.5 if any(w in group for w in HALVED) else 0.75 if group in LECTURES else 1.0
            ratio = mine / theirs[best]
            yield {
                "reader": reader, "group": group,
                "ours, default": round(default.rate), "retained": round(default.retention, 3),
                "ours, tuned": round(mine), "best peer": best, "tuned": round(theirs[best]),
                "ours / best": round(ratio, 2), "aim": f"<= {aim:g}",
                "": "reached" if ratio <= aim else "missed",
                **_with_one_setting(found, single),
            }  # fmt: skip


def _with_one_setting(rows: Sequence[Row], single: dict[str, Setting | None]) -> dict[str, Any]:
    """Returns tokens a second of ours and of the best peer over all clips, for a group."""
    able = [one for one in single.values() if one]
    sides = ([one for one in able if one.family in MINE],
             [one for one in able if one.family not in (*MINE, *NOT_COMPARED)])  # fmt: skip
    mine, best = (min(side, key=lambda one: one.total.tokens, default=None) for side in sides)
    ours_, theirs = (total(r for r in rows if r.method == one[:2]).rate if one else math.nan
                     for one in (mine, best))  # fmt: skip
    return {
        "one setting, ours": round(ours_) if mine else "-",
        "one setting, best peer": round(theirs) if best else "-",
        "of it": best.family if best else "-",
        "one setting, ours / best": number(ours_ / theirs, 2),
    }


def fewest(rows: Iterable[Row]) -> float:
    """Tokens a second of one family, at the best setting of each clip that retains enough."""
    tokens = seconds = 0.0
    for own in grouped(rows, lambda r: r.clip).values():
        best, cost = cheapest(own), own[0].cost
        tokens += best.total.tokens if best else cost.cells
        seconds += cost.seconds
    return tokens / seconds if seconds else math.nan
