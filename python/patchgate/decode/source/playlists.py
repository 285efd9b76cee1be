"""Finds texts that name other files and addresses, and checks what they name."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from .formats import PLAYLISTS
from .protocols import place_of

HEAD = 4096  # bytes from which the kind of a file is known

_TITLES = {"concat": "ffconcat", "dash": "DASH", "hls": "HLS", "imf": "IMF", "sdp": "SDP"}
_MARKS = (
    ("hls", re.compile(rb"#EXTM3U")),
    ("concat", re.compile(rb"ffconcat version")),
    ("sdp", re.compile(rb"v=\d+\s*[\r\n](?s:.*[\r\n])?[cmo]=")),
    ("dash", re.compile(rb"(?s:.*)<(?:\w+:)?MPD[\s>]")),
    ("imf", re.compile(rb"(?s:.*)<(?:\w+:)?(?:AssetMap|CompositionPlaylist)[\s>]")),
    ("PLS", re.compile(rb"\[playlist\]", re.IGNORECASE)),
    ("ASX", re.compile(rb"<asx|\[reference\]", re.IGNORECASE)),
    ("SMIL", re.compile(rb"(?s:.*)<(?:smil|SmoothStreamingMedia)[\s>]", re.IGNORECASE)),
)
_LONGEST = 1 << 20  # the most bytes of a script


def playlist_kind(head: bytes) -> str | None:
    """Returns the kind of playlist that begins with ``head``; None if it is no playlist.

    The kind is FFmpeg's name, or our own one for playlists that FFmpeg does not read.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not is_text(text):
        return None
    return next((kind for kind, mark in _MARKS if mark.match(text)), None)


def is_text(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is a text, without control bytes.

    Tabs, ends of lines or pages, and escapes are allowed.
    """
    return bool(head) and not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head)


def refused_playlist(name: str, kind: str) -> str:
    """Says why a playlist is not opened, and what to do."""
    title = _TITLES.get(kind, kind)
    if kind not in PLAYLISTS:
        return f"{name} is a playlist ({title}), not a video; give what it names"
    return (
        f"{name} is a playlist ({title}): it names other files or addresses, which are opened only "
        f'where they are trusted; pass allow_playlists=True, or format="{kind}"'
    )


def broken_playlist(name: str, kind: str, why: str | None) -> str:
    """Says why a playlist that was asked for could not be opened."""
    return (
        f"{name} is a playlist ({_TITLES[kind]}), and no video can be read from what it names "
        f"({why}); check that its files and addresses are there, and are videos"
    )


def check_script(script: bytes, folder: str, name: str) -> None:
    """Checks that an ffconcat script names only media files on this disk.

    FFmpeg would follow a script that names itself until its stack overflows.

    Args:
        script: the whole script.
        folder: the folder to which names in it are relative.
        name: the name of the script, for messages.

    Raises:
        ValueError: it names something else, or is too long.
        FileNotFoundError: it names a file that does not exist.
    """
    if len(script) > _LONGEST:
        raise ValueError(f"{name}: an ffconcat script of more than {_LONGEST} bytes")
    for line in script.decode("utf-8", "surrogateescape").splitlines():
        words = _words(line)
        if words[:1] != ["file"] or len(words) < 2:
            continue
        place = place_of(words[1])
        if place.path is None:
            raise ValueError(
                f"{name} names {words[1]}: an ffconcat script may name only files on this disk"
            )
        path = Path(folder, place.path)
        if not path.is_file():
            raise FileNotFoundError(f"{name} names {words[1]}, which does not exist")
        with path.open("rb") as file:
            kind = playlist_kind(file.read(HEAD))
        if kind is not None:
            raise ValueError(
                f"{name} names {words[1]}, which is a playlist itself; an ffconcat script may name "
                "only media files"
            )


def _words(line: str) -> list[str]:
    """Splits a line as FFmpeg does: at spaces, with '...' and backslashes."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.quotes, lexer.escape, lexer.commenters, lexer.whitespace_split = "'", "\\", "", True
    try:
        return list(lexer)
    except ValueError:  # a quote is not closed; FFmpeg closes it at the end of the line
        return line.split()


def folder_of(path: str) -> str:
    """Returns the folder to which names in a playlist of this path are relative."""
    return os.path.dirname(path) or "."
