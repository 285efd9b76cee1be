"""What a formula says, whatever it was spaced and braced like."""

import re
from collections.abc import Iterator

_WORD = re.compile(r"\\[A-Za-z]+|\\.|\S")
_LAYOUT = frozenset({
    "\\", "~", r"\ ", r"\,", r"\!", r"\;", r"\:", r"\/", r"\quad", r"\qquad",
    r"\textstyle", r"\displaystyle", r"\scriptstyle", r"\left", r"\right", r"\mathrm",
})  # fmt: skip
_ARGUMENTS = {"^": 1, "_": 1, r"\frac": 2, r"\sqrt": 1, r"\hat": 1, r"\bar": 1, r"\dot": 1}


def plain(text: str) -> str:
    """LaTeX word by word, without spaces and styles, braces around arguments, and only there."""
    words = [word for word in _WORD.findall(text) if word not in _LAYOUT]
    return _braced(iter(words), None)


def _braced(words: Iterator[str], end: str | None) -> str:
    """Up to the brace that closes, or to where the text was cut off."""
    said = []
    for word in words:
        if word == end:
            break
        if word == "{":  # around no argument
            said.append(_braced(words, "}"))
        elif word != "}":
            said.append(word)
            said += [f"{{{_argument(words)}}}" for _ in range(_ARGUMENTS.get(word, 0))]
    return " ".join(word for word in said if word)


def _argument(words: Iterator[str]) -> str:
    first = next(words, "")
    return _braced(words, "}") if first == "{" else first
