"""Names of files as text that a terminal, a page and a picture can take."""

import unicodedata

_CONTROL = {"Cc", "Cs", "Zl", "Zp"}  # categories: controls, halves of letters, ends of lines
_TURNS = {*"\u061c\u200e\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}


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
