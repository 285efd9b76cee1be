"""Where else does this thing appear? Finds a cell of one frame in all frames of a corpus.

    patchgate corpus videos -o OUT --format lance --tower facebook/dinov2-small --save-dtype float16
    python examples/search/find.py OUT VIDEO SECONDS ROW COLUMN

Every frame of the corpus is found, although only cells that changed have a row: a row says from
when to when it is shown. Without --tower the features are the cells' own pixels, which find only
what looks the same.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lance
import numpy as np

_TOGETHER = 1.0  # seconds: moments of a video that are nearer are one


class Moment(NamedTuple):
    """A part of a video in which the thing is shown."""

    distance: float  # 0 (the same direction) to 2
    video: str
    begin: float  # seconds
    end: float
    row: int  # the cell of the nearest token
    column: int


def token_at(rows: Any, video: str, seconds: float, row: int, column: int) -> np.ndarray:
    """Returns the feature of the newest token of a cell that is shown at a time, ``[D]``.

    Raises:
        ValueError: there is none.
    """
    name = video.replace("'", "''")
    shown = (
        f"video = '{name}' AND cell_row = {row} AND cell_column = {column} "
        f"AND pts <= {seconds} AND until > {seconds}"
    )
    found = rows.to_table(columns=["pts", "feature"], filter=shown).sort_by("pts")
    if not len(found):
        raise ValueError(f"{video}: no token of cell ({row}, {column}) is shown at {seconds:g} s")
    return np.asarray(found["feature"][-1].as_py(), np.float32)


def nearest(rows: Any, feature: np.ndarray, tokens: int) -> Iterator[Moment]:
    """Yields the moments of the nearest tokens, the nearest first.

    Args:
        rows: the dataset.
        feature: ``[D]``.
        tokens: how many rows are looked for.
    """
    wanted = {"column": "feature", "q": feature, "k": tokens, "metric": "cosine"}
    columns = ["video", "pts", "until", "cell_row", "cell_column", "_distance"]
    found = rows.to_table(columns=columns, nearest=wanted).to_pylist()
    for each in sorted(found, key=lambda row: row["_distance"]):
        yield Moment(each["_distance"], each["video"], each["pts"], each["until"],
                     each["cell_row"], each["cell_column"])  # fmt: skip


def joined(moments: Sequence[Moment]) -> list[Moment]:
    """Joins moments of one video that overlap or nearly do; the nearest token stands for all."""
    kept: list[Moment] = []
    for each in sorted(moments, key=lambda moment: (moment.video, moment.begin)):
        last = kept[-1] if kept else None
        if last and last.video == each.video and each.begin <= last.end + _TOGETHER:
            best = min(last, each)
            end = max(last.end, each.end)
            kept[-1] = best._replace(begin=last.begin, end=end)
        else:
            kept.append(each)
    return sorted(kept)


def with_index(rows: Any) -> None:
    """Makes an index of the features, for corpora of millions of tokens: answers are then near."""
    count, width = rows.count_rows(), rows.schema.field("feature").type.list_size
    rows.create_index(
        "feature", "IVF_PQ", metric="cosine", replace=True,
        num_partitions=max(1, round(count**0.5)),
        num_sub_vectors=next(n for n in (width // 8, width // 4, width // 2, 1) if width % n == 0),
    )  # fmt: skip


def main() -> None:
    """Prints the moments, the nearest first."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("out", type=Path, help="a corpus of --format lance")
    words.add_argument("video", help="the id of the video that shows it")
    words.add_argument("seconds", type=float, help="when")
    words.add_argument("row", type=int, help="where, in cells")
    words.add_argument("column", type=int)
    words.add_argument("--tokens", type=int, default=200, help="rows that are looked for")
    words.add_argument("--index", action="store_true", help="make an index of the features first")
    given = words.parse_args()
    rows = lance.dataset(str(given.out / "tokens.lance"))
    if given.index:
        with_index(rows)
    feature = token_at(rows, given.video, given.seconds, given.row, given.column)
    print("distance  from s    to s      cell     video")
    for each in joined(list(nearest(rows, feature, given.tokens))):
        cell = f"({each.row}, {each.column})"
        print(f"{each.distance:8.4f}  {each.begin:<8.2f}  {each.end:<8.2f}  {cell:7}  {each.video}")


if __name__ == "__main__":
    main()
