"""Reads chat messages: which videos and images a conversation shows, and what is said.

Nothing is opened here. What a message has that is not known is an error: a setting that was passed
over would be a wrong answer without an error.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from patchgate._check import checked_count, checked_number
from patchgate._check.text import a_or_an

# The names that people write for one thing: transformers', qwen-vl-utils', OpenAI's.
_SOURCES = {"video": ("video", "path", "url", "video_url"),
            "image": ("image", "path", "url", "image_url")}  # fmt: skip
_TYPES = {"video_url": "video", "image_url": "image"}
_PIXELS = ("min_pixels", "max_pixels", "resized_height", "resized_width")
_COUNTS = (*_PIXELS, "total_pixels", "num_frames", "min_frames", "max_frames")
_ALIASES = {"nframes": "num_frames", "sample_fps": "fps", "start": "video_start",
            "end": "video_end"}  # fmt: skip
_SECONDS = ("video_start", "video_end")
_KNOWN = {"video": ("fps", *_SECONDS, *_COUNTS), "image": _PIXELS}


class Shown(NamedTuple):
    """A video or an image of a message, and how it is to be looked at."""

    where: str  # for messages of errors
    source: Any  # a path, an address, bytes, pictures
    settings: dict[str, Any]  # those of ``_KNOWN`` that were given


@dataclass
class Conversation:
    """A conversation in the form that chat templates take, and what it shows, in its order."""

    where: str
    messages: list[dict[str, Any]]
    videos: list[Shown] = field(default_factory=list)
    images: list[Shown] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)  # where, and the text

    def in_parts(self) -> list[dict[str, Any]]:
        """Returns the messages with every content as a list of parts.

        Some chat templates pass over a content that is a plain text.
        """
        return [
            {**message, "content": [{"type": "text", "text": message["content"]}]}
            if isinstance(message["content"], str)
            else message
            for message in self.messages
        ]


def conversations_of(messages: Any) -> list[Conversation]:
    """Reads one conversation or a batch of them.

    Args:
        messages: a list of messages, or a list of such lists.

    Raises:
        TypeError, ValueError: they are no messages; the error says which.
    """
    _check_list("messages", messages, "a list of messages such as {'role': 'user', 'content': ..}")
    kinds = {isinstance(each, Mapping) for each in messages}
    if len(kinds) > 1:
        raise ValueError(
            "messages: expected messages, or a batch of conversations (lists of messages), got "
            "both in one list"
        )
    if True in kinds:
        return [_conversation("messages", messages)]
    return [_conversation(f"messages[{i}]", each) for i, each in enumerate(messages)]


def is_setting(name: str) -> bool:
    """Whether a part that shows a video may have a setting of this name."""
    return _ALIASES.get(name, name) in _KNOWN["video"]


def _conversation(where: str, messages: Any) -> Conversation:
    _check_list(where, messages, "a conversation: a list of messages")
    found = Conversation(where, [])
    for i, message in enumerate(messages):
        here = f"{where}[{i}]"
        if not isinstance(message, Mapping):
            raise TypeError(f"{here}: expected a message (a dict), got {type(message).__name__}")
        if not isinstance(message.get("role"), str):
            raise ValueError(
                f"{here}: expected a message with a role ('system', 'user' or 'assistant'), got "
                f"the keys {sorted(map(str, message))}"
            )
        content = message.get("content")
        if isinstance(content, str):
            found.texts.append((here, content))
        elif isinstance(content, Sequence) and not isinstance(content, bytes):
            content = [_part(f"{here}, part {k}", part, found) for k, part in enumerate(content)]
        elif content is not None or "content" not in message:  # None: a call of a tool
            raise TypeError(
                f"{here}: expected content that is a text or a list of parts, got "
                f"{type(content).__name__}"
            )
        found.messages.append({**message, "content": content})
    return found


def _part(where: str, part: Any, found: Conversation) -> dict[str, Any]:
    """Notes what a part of a message shows, and returns the part as chat templates take it."""
    if isinstance(part, str):
        part = {"type": "text", "text": part}
    if not isinstance(part, Mapping):
        raise TypeError(
            f"{where}: expected a dict with a type, such as {{'type': 'text', 'text': ..}}, got "
            f"{type(part).__name__}"
        )
    kind = part.get("type") or next(
        (name for name in ("video", "image", "text") if name in part), None
    )
    kind = _TYPES.get(str(kind), kind)
    if kind == "text":
        if not isinstance(part.get("text"), str):
            raise ValueError(f"{where}: expected a text, as {{'type': 'text', 'text': '..'}}")
        found.texts.append((where, part["text"]))
        return {"type": "text", "text": part["text"]}
    if not isinstance(kind, str) or kind not in _KNOWN:
        raise ValueError(
            f"{where}: expected the type 'text', 'image' or 'video', got {kind!r} "
            f"(its keys are {sorted(map(str, part))})"
        )
    shown = _shown(where, kind, part)
    (found.videos if kind == "video" else found.images).append(shown)
    return {"type": kind}


def _shown(where: str, kind: str, part: Mapping[str, Any]) -> Shown:
    sources = [name for name in _SOURCES[kind] if part.get(name) is not None]
    if len(sources) != 1:
        came = " and ".join(sources) or f"none of {', '.join(_SOURCES[kind])}"
        raise ValueError(
            f"{where}: expected one {kind}, as {{'type': '{kind}', '{kind}': ..}}, got {came}"
        )
    source = part[sources[0]]
    if isinstance(source, Mapping):
        if not isinstance(source.get("url"), str):  # OpenAI's
            raise ValueError(f"{where}: expected {{'url': '..'}}, got the keys {sorted(source)}")
        source = source["url"]
    settings: dict[str, Any] = {}
    for given, value in part.items():
        name = _ALIASES.get(given, given)
        if given in ("type", *sources) or value is None:
            continue
        if name not in _KNOWN[kind]:
            raise ValueError(
                f"{where}: {a_or_an(kind)} has no setting {given!r}; it has "
                f"{', '.join(_KNOWN[kind])}"
            )
        if name in settings:
            raise ValueError(f"{where}: {name} is given twice, once as {given}")
        settings[name] = _checked(f"{where}: {given}", name, value)
    _check_together(where, settings)
    return Shown(where, source, settings)


def _checked(label: str, name: str, value: Any) -> float | int:
    if name in _COUNTS:
        return checked_count(label, value, 1)
    if name == "fps":
        return checked_number(label, value, 1e-9, 1e9, "frames a second")
    return checked_number(label, value, -1e18, 1e18, "seconds")


def _check_together(where: str, settings: Mapping[str, Any]) -> None:
    excluding = [("fps", "num_frames")]
    excluding += [(f"{name}_pixels", "resized_height") for name in ("min", "max", "total")]
    for one, other in excluding:
        if one in settings and other in settings:
            raise ValueError(f"{where}: expected {one} or {other}, got both")
    if ("resized_height" in settings) != ("resized_width" in settings):
        raise ValueError(f"{where}: expected resized_height and resized_width, got one of them")
    for low, high in (("min_pixels", "max_pixels"), ("min_frames", "max_frames"), _SECONDS):
        if low in settings and high in settings and settings[low] > settings[high]:
            raise ValueError(
                f"{where}: expected {low} of at most {high}, got {settings[low]} and "
                f"{settings[high]}"
            )


def _check_list(where: str, given: Any, expected: str) -> None:
    if isinstance(given, str | bytes | os.PathLike | Mapping) or not isinstance(given, Sequence):
        raise TypeError(f"{where}: expected {expected}, got {type(given).__name__}")
    if not given:
        raise ValueError(f"{where}: expected {expected}, got an empty one")
