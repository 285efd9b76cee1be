"""What is read, at which number of tokens: every peer over its sweep, every clip, both readers.

PP-OCR reads pictures, so that only methods before a tower can be asked; the small transformer reads
what leaves its tower, so that those after and inside it can.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Any

from peers import CHOOSERS, ENCODERS
from reading import merged
from reading.clips import footage
from reading.methods import OURS, SWEEP, AdjacentSubBlocks, Dense, Method, Ours, Uniform, ours
from reading.questions import ask
from reading.rivals import Inside, OnFeatures, Rival
from reading.score import ENOUGH, Row, grouped, total
from reading.trial import Task, fewer, rows_of
from reading.viewers import OnPictures, load

from proof.options import Options
from proof.workers import spread

READERS = {"vit": "ViT", "ocr": "PP-OCR"}
FEW = 3  # steps of a sweep at a time, where few settings are wanted
THRESHOLDS = (1, 2, 3, 6, 8, 12, 16, 24, 32)
CONTROLS = ("uniform", "random")
HALVED, LECTURES = ("scroll", "pan"), ("lecture", "slide", "formula", "code")  # groups with aims


def measure(options: Options) -> dict[str, list[dict[str, Any]]]:
    """All tables of both readers."""
    tasks = options.tasks()
    rows: list[Row] = []
    for reader, name in READERS.items():
        load(reader)  # what is missing is said here, once
        rows += spread(partial(of_clip, reader, options.few), tasks, options.processes, name)
    return {
        "defaults": list(at_defaults(rows)),
        "equal reading": list(at_equal_reading(rows)),
        "by group": list(duel(rows)),
        "curve": list(curve(rows)),
    }


def of_clip(reader: str, few: bool, task: Task) -> list[Row]:
    """All rows of one clip."""
    found: list[Row] = []
    for viewer, methods in viewers(reader, few):
        film = footage(task.scene, "test", task.seed, viewer.size, task.seconds)
        found += rows_of(viewer, film, fewer(ask(film.truth, task.seed)), methods)
    return found


@cache
def viewers(reader: str, few: bool) -> list[tuple[Any, tuple[Method, ...]]]:
    """Each with the methods that it is asked to look at."""
    pictures = load(reader)[0]
    assert isinstance(pictures, OnPictures)
    before = OnPictures(READERS[reader], pictures.size, pictures.reader)
    step = FEW if few else 1
    found: list[tuple[Any, tuple[Method, ...]]] = [(before, (Dense(), *before_tower(step)))]
    if reader == "vit":
        inside = tuple(Inside(peer.name, value, pictures.reader.tower)
                       for peer in ENCODERS.values() for value in peer.sweep)  # fmt: skip
        after = rivals("features", 1)
        if merged.THERE:
            after += tuple(merged.Merged(value=share) for share in merged.SHARES)
        found.append((OnFeatures(READERS[reader], pictures.reader), (*after, *inside)))
    return found


def before_tower(step: int) -> tuple[Method, ...]:
    """Ours, the peers that look at pixels, and the controls; every ``step``-th of a sweep."""
    own = (ours(), *(ours(threshold=t) for t in THRESHOLDS[::step])) if step > 1 else OURS
    clock = tuple(Uniform(rate) for rate in (1, 2, 5, 10, 25))
    return (*own, *rivals("pixels", step), *rivals("clock", step), *clock,
            *(AdjacentSubBlocks(level) for level in SWEEP[::step]))  # fmt: skip


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


def at_equal_reading(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Tokens a second that each family needs to retain enough: one setting for all clips."""
    for (reader, family), own in grouped(rows, lambda r: (r.reader, r.family)).items():
        if family == Dense.family:
            continue
        every = {s: total(f) for s, f in grouped(own, lambda r: r.setting).items()}
        enough = {s: t for s, t in every.items() if t.retention >= ENOUGH}
        if not enough:
            yield {"reader": reader, "method": family, "setting": "none retains enough"}
            continue
        best = min(enough, key=lambda s: enough[s].tokens)
        yield {
            "reader": reader, "method": family, "setting": best,
            "retained": round(enough[best].retention, 3), "tokens/s": round(enough[best].rate),
            "kept": round(enough[best].share, 4), "work": round(enough[best].own_flops, 3),
        }  # fmt: skip


def duel(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """By group: our tokens over the best peer's, both tuned clip by clip by who knows the answers.

    A family without a setting that retains enough of a clip keeps all of it. Controls and methods
    inside a tower (which keep all tokens) are no rivals here.
    """
    for reader, own in grouped(rows, lambda r: r.reader).items():
        for group, found in sorted(grouped(own, lambda r: r.group).items()):
            tokens = {family: fewest(rows_) for family, rows_ in
                      grouped(found, lambda r: r.family).items()}  # fmt: skip
            default = total(r for r in found if r.method == (Ours.family, "default"))
            mine = min(
                tokens[family] for family in (Ours.family, merged.FAMILY) if family in tokens
            )
            out = {Ours.family, merged.FAMILY, Dense.family, AdjacentSubBlocks.family, *CONTROLS,
                   *ENCODERS}  # fmt: skip
            theirs = {family: spent for family, spent in tokens.items() if family not in out}
            best = min(theirs, key=lambda family: theirs[family])
            aim = 0.5 if any(w in group for w in HALVED) else 0.75 if group in LECTURES else 1.0
            ratio = mine / theirs[best]
            yield {
                "reader": reader, "group": group,
                "ours, default": round(default.rate), "retained": round(default.retention, 3),
                "ours, tuned": round(mine), "best peer": best, "tuned": round(theirs[best]),
                "ours / best": round(ratio, 2), "aim": f"<= {aim:g}",
                "": "reached" if ratio <= aim else "missed",
            }  # fmt: skip


def fewest(rows: Iterable[Row]) -> float:
    """Tokens a second of one family, at the best setting of each clip that retains enough."""
    tokens = seconds = 0.0
    for own in grouped(rows, lambda r: r.clip).values():
        every = [total(found) for found in grouped(own, lambda r: r.setting).values()]
        enough = [each.tokens for each in every if each.retention >= ENOUGH]
        tokens += min(enough, default=every[0].cells)
        seconds += every[0].seconds
    return tokens / seconds if seconds else math.nan
