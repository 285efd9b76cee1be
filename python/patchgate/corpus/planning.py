"""What a call of a job has to do: which of its videos are new, changed, or of other settings."""

import os
from collections.abc import Iterable
from typing import NamedTuple

from patchgate.corpus.forms import Form
from patchgate.corpus.inputs import Entry
from patchgate.corpus.journal import Journal, Known

# Why a video is to be done, in words.
WHY = {
    "new": "new",
    "changed": "their files changed",
    "touched": "their files' times changed: done again if their contents did, too",
    "settings": "done with other settings",
    "gone": "their tokens are not there any more",
    "failed": "failed before",
}


class Plan(NamedTuple):
    """How many videos a call names, and how many of them it will do."""

    videos: int
    done: int  # of those that stay as they are: done
    failed_before: int  # and failed
    reasons: dict[str, tuple[int, int]]  # for each of WHY: videos, and bytes of them
    chosen: int  # how many of these are done now: fewer with a limit
    chosen_bytes: int


class OtherSettings(ValueError):
    """Raised when videos were done with other settings, and nobody said to do them again."""


def make_plan(
    journal: Journal,
    found: Iterable[Entry],
    settings: str,
    form: Form,
    *,
    retry_failed: bool,
    limit: int | None,
) -> Plan:
    """Compares every video with what the journal says of it, and lists what is to be done.

    Only sizes and times are looked at: contents where these differ, when the video's turn comes.

    Args:
        journal: an open journal, in a transaction.
        found: the videos.
        settings: those of this call, as ``text_of`` writes them.
        form: that of the tokens.
        retry_failed: whether videos that failed are done again even if they did not change.
        limit: the most videos to do; None: all.

    Raises:
        ValueError: an input is not there, or two videos have one id.
    """
    for entry in found:
        stat = _stat(entry.path)
        known = journal.known(entry) or journal.add(entry, form.suffix)
        if known.named and not known.is_of(entry):
            raise ValueError(
                f"{entry.path}: its id {entry.id!r} is also that of {known.path}, or of another "
                "part of it; every id stands for one video"
            )
        why = _why(journal, entry, known, stat, settings, form, retry_failed)
        journal.find(known.number, why, *stat)
    sums = journal.sums("found")
    stay, _ = sums.pop(None, (0, 0))
    reasons = {why: sums[why] for why in WHY if why in sums}
    failed = journal.failures_that_stay()
    chosen = journal.choose(limit)
    size = sum(size for _, size in journal.sums("todo").values())
    videos = stay + sum(count for count, _ in reasons.values())
    return Plan(videos, stay - failed, failed, reasons, chosen, size)


def _stat(path: str) -> tuple[int | None, int | None]:
    """Returns a file's size in bytes and time in nanoseconds, or that there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # not there; an address; a name that no file can have
        return None, None
    return found.st_size, found.st_mtime_ns


def _why(
    journal: Journal,
    entry: Entry,
    known: Known,
    stat: tuple[int | None, int | None],
    settings: str,
    form: Form,
    retry_failed: bool,
) -> str | None:
    """Says why a video is to be done; None: it is not."""
    size = stat[0]
    if not known.is_of(entry):
        journal.moved(known.number, entry)
        return "changed" if known.status else "new"
    if known.status is None:
        return "new"
    if known.settings != settings:
        return "settings"
    if known.status == "failed":
        if stat != (known.size, known.mtime):
            return "changed"
        return "failed" if retry_failed else None
    if not form.is_there(journal.folder, known.file):
        return "gone"
    if (
        stat == (known.size, known.mtime) or size is None
    ):  # whoever removes a video keeps its tokens
        return None
    return "touched" if size == known.size else "changed"
