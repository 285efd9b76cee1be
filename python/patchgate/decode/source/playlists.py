"""Texts that name other files and addresses: how to tell them, and what they may name."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from .formats import PLAYLISTS
from .protocols import place_of

HEAD = 4096  # bytes that tell what a file is

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
_LONGEST = 1 << 20  # bytes of a script


def playlist_kind(head: bytes) -> str | None:
    """FFmpeg's name of the playlist that begins with ``head`` (or another name, of one that FFmpeg
    does not read); None where it is none."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not is_text(text):
        return None
    return next((kind for kind, mark in _MARKS if mark.match(text)), None)


def is_text(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is a text: no control bytes but those of texts."""
    return bool(head) and not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head)


def refused_playlist(name: str, kind: str) -> str:
    """Why a playlist is not opened, and what to do."""
    title = _TITLES.get(kind, kind)
    if kind not in PLAYLISTS:
        return f"{name} is a playlist ({title}), not a video; give what it names"
    return (
        f"{name} is a playlist ({title}): it names other files or addresses, which are opened only "
        f'where they are trusted; pass allow_playlists=True, or format="{kind}"'
    )


def broken_playlist(name: str, kind: str, why: str | None) -> str:
    """Why a playlist could not be opened that was asked for."""
    return (
        f"{name} is a playlist ({_TITLES[kind]}), and no video can be read from what it names "
        f"({why}); check that its files and addresses are there, and are videos"
    )


def check_script(script: bytes, folder: str, name: str) -> None:
    """Checks that all that an ffconcat script names are media files on this disk.

    FFmpeg follows a script that names itself until its stack is used up.

    Args:
        script: all of it.
        folder: where the names in it begin.
        name: of the script, for messages.

    Raises:
        ValueError: it names something else, or is too long.
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
                f"{name} names {words[1]}: an ffconcat script may name files on this disk only"
            )
        path = Path(folder, place.path)
        if not path.is_file():
            raise FileNotFoundError(f"{name} names {words[1]}, and there is no such file")
        with path.open("rb") as file:
            kind = playlist_kind(file.read(HEAD))
        if kind is not None:
            raise ValueError(
                f"{name} names {words[1]}, which is a playlist itself; an ffconcat script may name "
                "media files only"
            )


def _words(line: str) -> list[str]:
    """As FFmpeg splits them: at spaces, with '...' and backslashes."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.quotes, lexer.escape, lexer.commenters, lexer.whitespace_split = "'", "\\", "", True
    try:
        return list(lexer)
    except ValueError:  # a quote without its end, which FFmpeg takes as ended
        return line.split()


def folder_of(path: str) -> str:
    """Where names in a playlist of this path begin."""
    return os.path.dirname(path) or "."
