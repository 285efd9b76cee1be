"""Names as text: of files, for a terminal, a page and a picture; of classes, in messages."""

import re
import unicodedata

_CONTROL = {"Cc", "Cs", "Zl", "Zp"}  # categories: controls, halves of letters, ends of lines
_TURNS = {*"\u061c\u200e\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
# Beginnings of names that are spoken with a vowel first; not UNet, Unified or User.
_VOWEL = re.compile(r"_*((?!U(N|ni|se))[AEIOUaeiou]|MLP|RMS|LSTM|FFN)")


def escaped(text: str) -> str:
    r"""The text on one line, with ``\x1b`` and the like spelled out.

    A file's name may hold what makes a terminal set its title or hide a line, and marks that turn
    the direction of what follows them.
    """
    return "".join(
        letter.encode("unicode_escape").decode("ascii")
        if letter in _TURNS or unicodedata.category(letter) in _CONTROL
        else letter
        for letter in text
    )


def a_or_an(name: str) -> str:
    """``"a Linear"``, ``"an Identity"``: a class's name with its article."""
    return f"{'an' if _VOWEL.match(name) else 'a'} {name}"
