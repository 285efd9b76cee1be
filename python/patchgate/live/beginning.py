"""Begins to read a live source: checks the options, and finds out what kind of source it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any, Literal, TypedDict, get_args

import torch

from patchgate._check import checked_choice, checked_count, checked_number, checked_switch
from patchgate.decode.limits import Limits
from patchgate.decode.pictures import Channels
from patchgate.decode.source.access import Access
from patchgate.decode.source.origins import FileObject
from patchgate.decode.source.source import Source

from .backoff import Backoff, Waits
from .clock import Pace
from .devices import Device, is_device
from .events import LiveEvent
from .given import IteratorFeed
from .handover import Handover, Policy
from .live import Live
from .meter import Meter
from .reader import ContainerFeed
from .worker import Feed, Worker

Transport = Literal["auto", "tcp", "udp"]
LiveSource = str | os.PathLike[str] | IO[bytes] | Iterable[Any]

# FFmpeg looks at a live source for a fifth of a second, and not until its rate is known: pictures
# have times of their own, and the decoder learns the rest from the first key picture.
_QUICK = {"analyzeduration": "200000", "fpsprobesize": "0"}
_OURS = ("protocol_whitelist", "format_whitelist", "rw_timeout", "tls_verify", "ca_file")


class LiveKwargs(TypedDict, total=False):
    """The keywords of ``open_live``, which documents them."""

    policy: Policy
    fps: float | None
    max_delay: float | None
    channels: Channels
    device: str | torch.device
    transport: Transport
    open_timeout: float | None
    read_timeout: float | None
    reconnect: bool | Backoff
    chunk: int
    room: int
    threads: int
    format: str | None
    allow_playlists: bool
    stream: int | None
    options: Mapping[str, str] | None
    limits: Limits
    on_event: Callable[[LiveEvent], None]


def no_event(event: LiveEvent) -> None:
    """Hears an event and does nothing."""


def begin(source: LiveSource, *, patient: bool, given: Mapping[str, Any]) -> Live:
    """Checks the arguments of ``open_live`` and starts the thread.

    Args:
        source: the source.
        patient: open it again and again even if no picture has come yet; waiting for the first one
            then has no limit.
        given: all keywords of ``open_live``.
    """
    policy = checked_choice("policy", given["policy"], get_args(Policy))
    channels = checked_choice("channels", given["channels"], get_args(Channels))
    fps, max_delay = given["fps"], given["max_delay"]
    if fps is not None:
        fps = checked_number("fps", fps, 1e-9, 1e9, "frames a second")
    if max_delay is not None:
        max_delay = checked_number("max_delay", max_delay, 0, 1e9, "seconds")
    chunk, room, threads = (checked_count(name, given[name], 1)
                            for name in ("chunk", "room", "threads"))  # fmt: skip
    rule = _checked_reconnect(given["reconnect"])
    where, access = torch.device(given["device"]), _access(source, given)
    feed = _feed(source, access, threads)
    meter = Meter()
    handover = Handover(policy, room, max_delay, meter)
    waits = None if rule is None else Waits(rule)
    worker = Worker(feed, handover, meter, waits, patient, Pace(fps), given["on_event"])
    return Live(worker, handover, meter, name=feed.name, chunk=chunk, channels=channels,
                device=where, limits=access.limits, iterates=feed.iterates,
                open_timeout=None if patient else access.open_timeout,
                read_timeout=None if patient else access.read_timeout)  # fmt: skip


def _checked_reconnect(reconnect: Any) -> Backoff | None:
    if isinstance(reconnect, Backoff):
        return reconnect
    if not isinstance(reconnect, bool):
        raise TypeError(
            f"reconnect: expected True, False or patchgate.Backoff(...), got {reconnect!r}"
        )
    return Backoff() if reconnect else None


def _access(source: LiveSource, given: Mapping[str, Any]) -> Access:
    """Makes the ``Access`` with FFmpeg's options for a live source."""
    transport = checked_choice("transport", given["transport"], get_args(Transport))
    options = {} if isinstance(source, str) and is_device(source) else dict(_QUICK)
    if transport != "auto":
        options["rtsp_transport"] = transport
    for name, value in (given["options"] or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"options: expected texts by name, got {name!r}: {value!r}")
        if name in _OURS:
            raise ValueError(f"options: {name} is what keeps a source from leading elsewhere; "
                             "leave it out")  # fmt: skip
        options[name] = value
    names = ("format", "open_timeout", "read_timeout", "stream", "limits")
    playlists = checked_switch("allow_playlists", given["allow_playlists"])
    return Access(**{name: given[name] for name in names}, allow_playlists=playlists,
                  options=tuple(options.items()))  # fmt: skip


def _feed(source: LiveSource, access: Access, threads: int) -> Feed:
    """Finds out what a source is.

    Raises:
        TypeError, ValueError: it is no live source.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        raise ValueError(_recorded(f"<{len(bytes(source))} bytes>"))
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        if name == "-":
            name = "pipe:0"
        if is_device(name):
            return ContainerFeed(Device(name, access), threads)
        if os.path.exists(name) and stat.S_ISREG(os.stat(name).st_mode):
            raise ValueError(_recorded(name))
        return ContainerFeed(Source(name, access), threads)
    if hasattr(source, "read"):
        file: Any = source
        found = Source(file, access)
        if FileObject(file).seekable:
            raise ValueError(_recorded(found.name))
        return ContainerFeed(found, threads)
    if isinstance(source, Iterable):
        return IteratorFeed(source)
    raise TypeError(
        "open_live takes an address, a device, a pipe or an iterable of (picture, seconds), got "
        f"{type(source).__name__}"
    )


def _recorded(name: str) -> str:
    return (
        f"{name} is a file: it does not happen now. patchgate.open_video and tokenize read files; "
        "open_live takes addresses, devices, pipes and iterables of (picture, seconds)"
    )
