"""Formats names of files for a terminal, a page and a picture, and names of classes in messages."""

import re
import unicodedata
from collections.abc import Iterable
from difflib import SequenceMatcher

_CONTROL = {"Cc", "Cs", "Zl", "Zp"}  # categories: controls, halves of letters, ends of lines
_TURNS = {*"\u061c\u200e\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
# Beginnings of names that are spoken with a vowel first; not UNet, Unified or User.
_VOWEL = re.compile(r"_*((?!U(N|ni|se))[AEIOUaeiou]|MLP|RMS|LSTM|FFN)")


def escaped(text: str) -> str:
    r"""Returns the text on one line, with control characters such as ``\x1b`` escaped.

    A file's name may contain commands that set a terminal's title or hide a line, and marks that
    change the direction of text.
    """
    return "".join(
        letter.encode("unicode_escape").decode("ascii")
        if letter in _TURNS or unicodedata.category(letter) in _CONTROL
        else letter
        for letter in text
    )


def a_or_an(name: str) -> str:
    """Returns a class's name with its article: ``"a Linear"``, ``"an Identity"``."""
    return f"{'an' if _VOWEL.match(name) else 'a'} {name}"


def nearest_first(name: object, choices: Iterable[str]) -> list[str]:
    """Returns the choices, those first whose letters are most like those of ``name``.

    Choices that are equally like it keep their order.
    """
    wanted = str(name).casefold()

    def unlike(choice: str) -> float:
        return -SequenceMatcher(None, wanted, choice.casefold(), autojunk=False).ratio()

    return sorted(choices, key=unlike)
