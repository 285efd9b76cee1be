"""Finds what is wrong in a merge stream's state, which may come from outside.

``state_fields`` checks names and shapes; this module checks whether the numbers fit together.

Letters: T frames and K tokens that wait, h w cells.
"""

import math

import torch

from patchgate._tensors import arange, doubles
from patchgate.merging.budget import seconds
from patchgate.merging.checks import Before, check_features
from patchgate.merging.cutting import ready
from patchgate.merging.ledger import Ledger
from patchgate.merging.merger import Carried, Merger
from patchgate.merging.now import Now
from patchgate.tokens.chunk import joined

_ROUNDING = 1e-9  # how far the sum of a distribution may be from 1


def contradiction(now: Now) -> str | None:
    """Says which parts of a state contradict each other; None if none do. Synchronises.

    Args:
        now: the state, built of tensors of the right shapes. Its counts and its waiting chunk were
            checked already.
    """
    wrong = _wrong_time(now)
    if wrong or now.before.cells is None:
        return wrong
    merger = now.merger
    wrong = _wrong_ledger("cells", now.before.cells) or _wrong_cells(now)
    if wrong or not merger.frames:
        return wrong
    return (
        _wrong_ledger("titles", merger.titles)
        or _wrong_titles(merger, now.settings.similar)
        or _wrong_pictures(now)
        or _wrong_scenes(now)
        or _wrong_carried(now)
    )


def _wrong_time(now: Now) -> str | None:
    """Checks the clock, and that not too many frames wait."""
    merger, until, origin = now.merger, now.before.until, now.origin
    times = joined(now.waiting).pts_seconds if now.waiting else None  # [T]
    if now.ended and times is not None:
        return "expected no frames that wait for more after flush()"
    if origin is None:
        return None if until == -math.inf else "expected no clock before the first frame"
    if times is not None and not _same(until, float(times[-1])):
        return f"expected clock until {float(times[-1])}, the last frame's time, got {until}"
    if times is not None and not merger.frames and not _same(origin, float(times[0])):
        return f"expected clock from {float(times[0])}, the first frame's time, got {origin}"
    if times is not None and (count := ready(times, origin, now.settings)):
        return f"expected frames that wait for others, got {len(times)}, {count} a window"
    if now.settings.per != "second":
        return None
    if not (math.isfinite(origin) and math.isfinite(until) and origin <= until):
        return f"expected a clock that does not fall, got {origin} to {until}"
    if merger.frames:
        last = seconds(doubles([until if times is None else float(times[0])]), origin)
        second = merger.budget.second
        if second > int(last) or (times is None and second != int(last)):
            return f"expected counts of a budget up to second {int(last)}, got {second}"
    return None


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))  # times that are not used may be NaN


def _wrong_ledger(name: str, book: Ledger) -> str | None:
    """Checks the near names of a ledger, and their numbers."""
    (names, rows), begin, length = book.near, book.begin, len(book)
    if len(names) and not (int(names[0]) >= 0 and int(names[-1]) < length):
        return f"expected {name}.names of {length} tokens, got {int(names[0])}..{int(names[-1])}"
    if bool((names.diff() <= 0).any()):
        return f"expected {name}.names that rise"
    known = names >= begin
    if not torch.equal(rows[known], book.table()[names[known] - begin]):
        return f"expected {name}.near to say what {name}.rows does"
    return None


def _wrong_cells(now: Now) -> str | None:
    """Checks the cells of all tokens that can still be named."""
    book, before = now.before.cells, now.before
    assert book is not None
    assert before.grid is not None
    widths = (2,) if now.settings.keep_grid else (0, 2)
    if book.width not in widths:
        return f"expected cells of {' or '.join(map(str, widths))} numbers, got {book.width}"
    if book.width:
        limit = torch.tensor(before.grid, dtype=torch.int64, device="cpu")
        both = torch.cat([book.near[1], book.table()])
        if bool(((both < 0) | (both >= limit)).any()):
            return f"expected cells of {before.grid[0]} x {before.grid[1]}, got others"
        own = joined(now.waiting).cell if now.waiting else book.table()[:0]  # [K, 2]
        known = book.table()[-len(own) :] if len(own) else own
        if not torch.equal(known, own[len(own) - len(known) :]):
            return "expected cells.rows to be the cells of tokens that wait"
    if before.shown is not None and bool(book.forgotten(before.shown).any()):
        return "expected cells of all tokens in the last frame"
    if now.settings.keep_grid and now.waiting:
        chunk, merger = joined(now.waiting), now.merger
        past = Before(now.settings, "waiting", merger.frames, len(merger.titles))
        past.check_blocks(chunk, book)
    return None


def _wrong_titles(merger: Merger, similar: bool) -> str | None:
    """Checks that titles were given in the order of names, each new title being the next number.

    Args:
        merger: the merger.
        similar: whether tokens may join later ones of their frame.
    """
    book = merger.titles
    names, rows = torch.cat([book.near[0], arange(book.begin, len(book))]), book.table()
    titles = torch.cat([book.near[1], rows])[:, 0]
    if book.width != 1 or bool(((titles < 0) | (titles >= merger.handed_out)).any()):
        return f"expected titles of the {merger.handed_out} tokens that were handed out, got others"
    if not similar and bool((titles > names).any()):
        return "expected no token with a later one's title"
    if book.begin:
        return None
    given = rows[:, 0] if similar else rows[:, 0].cummax(0).values
    every = given.unique() if similar else given.unique_consecutive()
    if not torch.equal(every, arange(merger.handed_out)):
        return f"expected titles.rows to count up to {merger.handed_out}, one by one"
    return None


def _wrong_pictures(now: Now) -> str | None:
    """Checks that exactly the tokens are known that the remembered pictures and names have."""
    merger, cells = now.merger, now.before.cells
    assert cells is not None
    length = len(merger.titles)
    pictures = merger.pictures().flatten()
    if bool(((pictures < 0) | (pictures >= length)).any()):
        return f"expected scenes.picture of {length} tokens, got others"
    waiting = [chunk.source.flatten() for chunk in now.waiting]
    near = cells.near[0]
    named = torch.cat([pictures, *waiting, near[near < cells.begin]])
    if bool(merger.titles.forgotten(named[named < length]).any()):
        return "expected titles of all tokens that can still be named"
    if merger.titles.begin > cells.begin:
        return "expected titles of all tokens that cells are known of"
    return None


def _wrong_scenes(now: Now) -> str | None:
    tracker, settings = now.merger.scenes, now.settings
    assert tracker.current is not None
    seen, begun, labels = [tracker.current, *tracker.over], tracker.scene + 1, tracker.labels
    if len(seen) != min(labels, settings.memory + 1):
        return f"expected {min(labels, settings.memory + 1)} scenes, got {len(seen)}"
    given = [each.label for each in seen]
    in_order = list(range(labels - 1, labels - 1 - len(seen), -1))
    if not all(0 <= label < labels for label in given) or len(set(given)) < len(given):
        return f"expected scenes.label of {labels}, each once, got {given}"
    if begun == labels and (given != in_order or tracker.returned is not None):
        return f"expected scenes of which none has returned, {in_order}, got {given}"
    assert now.before.features is not None
    width = now.before.features.shape[1]
    for each in seen:
        shares = each.distribution
        if len(shares) and (now.head is None and len(shares) != width):
            return f"expected scenes.length 0 or {width}, got {len(shares)}"
        total = float(shares.sum())
        if len(shares) and not (float(shares.min()) >= 0 and abs(total - 1) <= _ROUNDING):
            return f"expected scenes.distribution of shares that add up to 1, got {total}"
    return None


def _wrong_carried(now: Now) -> str | None:
    """Checks the tokens that were handed out and may still be joined."""
    merger, grid = now.merger, now.before.grid
    carried = merger.carried
    assert isinstance(carried, Carried)
    assert grid is not None
    wanted = merger.titles.rows(merger.pictures().flatten())[:, 0]
    if bool((carried.title.diff() <= 0).any()) or not bool(torch.isin(carried.title, wanted).all()):
        return "expected carried.title to rise, of tokens that scenes.picture shows"
    frame = carried.frame
    if len(frame) and not -merger.frames <= int(frame.min()) <= int(frame.max()) < 0:
        return f"expected carried.frame of -{merger.frames}..-1, got others"
    if bool((frame.diff() < 0).any()):
        return "expected carried.frame not to fall"
    cell, label = carried.cell, carried.label
    limit = torch.tensor(grid, dtype=torch.int64, device="cpu")
    if bool(((cell < 0) | (cell >= limit)).any()):
        return f"expected carried.cell of {grid[0]} x {grid[1]}, got others"
    if bool(((label < 0) | (label >= merger.scenes.labels)).any()):
        return f"expected carried.label of {merger.scenes.labels} scenes, got others"
    check_features("carried", carried.features, frame, cell, 0)
    return None
