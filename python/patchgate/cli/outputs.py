"""Where the results of a command go: a file, or a folder with a file for each video."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from patchgate.beside import explained

SUFFIX = ".safetensors"


class Targets:
    """The file that each video's result is written to.

    Args:
        videos: the videos, as they were given.
        output: a file's name, or a folder's: one that is there, or a name that ends in a slash or
            has no extension. A folder is made when it is needed, and goes again if it stays empty.
        force: whether files may be replaced.

    Raises:
        ValueError: it is a name of neither, or several videos would go into one file.
        OSError: there are files that would be replaced.
    """

    def __init__(self, videos: Sequence[str], output: str, force: bool) -> None:
        self._folder = folder_of(output)
        if self._folder is None:
            if len(videos) > 1:
                raise ValueError(
                    f"--output: {len(videos)} videos go into a folder, one file each; got the "
                    f"name of a file, {output}"
                )
            self.paths = [Path(output)]
        else:
            self.paths = [self._folder / name for name in names(videos)]
        self._force = force

    def check(self) -> None:
        """Raises a ``FileExistsError`` if a file would be replaced that must not be."""
        there = [path for path in self.paths if os.path.isfile(path)]
        if there and not self._force:
            more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
            raise FileExistsError(
                f"{there[0]}: there is such a file{more}; give another name, or --force to "
                "replace it"
            )

    def __enter__(self) -> "Targets":
        self._made = False
        if self._folder is not None:
            there = os.path.exists(self._folder)
            if there and not os.path.isdir(self._folder):
                raise NotADirectoryError(
                    f"{self._folder}: it is not a folder; give a name that ends in {SUFFIX}, or "
                    "another folder"
                )
            self._made = not there
            try:
                self._folder.mkdir(exist_ok=True)
            except OSError as error:
                raise explained(error, self._folder) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._made and self._folder is not None and not any(self._folder.iterdir()):
            self._folder.rmdir()


def folder_of(output: str) -> Path | None:
    """Returns the folder that an output names; None: it names a file.

    Raises:
        ValueError: it has an extension that is not written.
    """
    path = Path(output)
    if output.endswith(("/", os.sep)) or os.path.isdir(path) or not path.suffix:
        return path
    if path.suffix.lower() != SUFFIX:
        raise ValueError(
            f"--output: expected a name that ends in {SUFFIX}, or a folder (which has no "
            f"extension, or ends in /); got {output}"
        )
    return None


def names(videos: Sequence[str]) -> list[str]:
    """Names a file for each video after it. If the name is taken, its path is in the name."""
    taken: set[str] = set()  # some file systems do not tell A from a
    found = []
    for video in videos:
        name = next(each for each in _candidates(video) if each.casefold() not in taken)
        taken.add(name.casefold())
        found.append(f"{name}{SUFFIX}")
    return found


def _candidates(video: str) -> Iterator[str]:
    path = PurePosixPath(shown_name(video, whole=True))
    stem = path.stem or "video"
    yield stem
    folders = [part for part in path.parent.parts if part not in ("/", ".", "..")]
    full = "_".join([*folders, stem])
    yield full
    full += path.suffix.replace(".", "_")
    yield full
    number = 2
    while True:
        yield f"{full}_{number}"
        number += 1


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


def not_the_video(video: str, *outputs: Path | None) -> None:
    """Refuses to write over the video. Call it for every output before any is written."""
    for output in outputs:
        if output and os.path.exists(output) and os.path.exists(video) and output.samefile(video):
            raise ValueError(f"{output}: this is the video itself; give another name to write to")
