"""Names of files for videos: from a video's path to that of its tokens."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

SUFFIX = ".safetensors"
_LONGEST = 200  # bytes of a part of a path: names have a limit of 255, and suffixes are added


def names(videos: Sequence[str]) -> list[str]:
    """Names a file for each video after it. If the name is taken, its path is in the name."""
    taken: set[str] = set()  # some file systems do not tell A from a
    found = []
    for video in videos:
        path = PurePosixPath(shown_name(video, whole=True))
        stem = path.stem or "video"
        full = "_".join([*_folders(path), stem])
        tried = numbered(stem, full, with_suffix(full, path))
        name = next(each for each in tried if each.casefold() not in taken)
        taken.add(name.casefold())
        found.append(f"{name}{SUFFIX}")
    return found


def below(path: str) -> Iterator[str]:
    """Yields names for a video's file, the best one first, by its path below the input.

    Args:
        path: such as ``a/clip.mp4``, which gives ``a/clip``, ``a/clip_mp4``, ``a/clip_mp4_2`` and
            so on. Bytes that are no text become ``_x`` and two digits.
    """
    parts = PurePosixPath(shown_name(path, whole=True))
    folders = [_short(part) for part in _folders(parts)]
    stem = "/".join([*folders, _short(parts.stem or "video")])
    return numbered(stem, with_suffix(stem, parts))


def numbered(*first: str) -> Iterator[str]:
    """Yields the names, and then numbers the last one: ``x_2``, ``x_3`` and so on."""
    yield from first
    number = 2
    while True:
        yield f"{first[-1]}_{number}"
        number += 1


def with_suffix(name: str, path: PurePosixPath) -> str:
    """Adds the suffix of a video's file to a name: ``x`` of ``x.mp4`` becomes ``x_mp4``."""
    return name + path.suffix.replace(".", "_")


def _folders(path: PurePosixPath) -> list[str]:
    return [part for part in path.parent.parts if part not in ("/", ".", "..")]


def _short(part: str) -> str:
    """Makes a part of a path text, and shortens it where it leaves no room for a suffix."""
    text = re.sub("[\udc80-\udcff]", lambda found: f"_x{ord(found[0]) - 0xDC00:02x}", part)
    return text.encode()[:_LONGEST].decode(errors="ignore")


def shown_name(video: str, whole: bool = False) -> str:
    """Returns a video's name without its folder (with it, if ``whole``); of an address, without
    what may be secret: user, password and query.
    """
    path = video
    if "://" in video:
        address = urlsplit(video)
        path = f"{address.hostname or ''}{unquote(address.path)}"
    path = path.replace(os.sep, "/").rstrip("/")
    return path if whole else path.rpartition("/")[2]
