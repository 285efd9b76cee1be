"""Looks at a live source for a few seconds, and at what this machine can open at all."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from patchgate.decode.ffmpeg import av
from patchgate.decode.source.protocols import SCHEMES
from patchgate.decode.source.source import usable_cpus

from .meter import LiveStats, quantile
from .opening import open_live

_SLOW_START, _GAPS, _LATE = 3.0, 3.0, 0.1  # seconds, times the usual step, seconds


@dataclass(frozen=True)
class Diagnosis:
    """What a live source gave while it was looked at. Times are in seconds.

    Attributes:
        name: its name, without user, password and query.
        first_frame: from the opening to the first frame; None: there was none.
        error: why there was none; None: there was one.
        fps: frames a second by its own time stamps; None: too few frames.
        longest_step: the longest time between two arrivals; None: too few frames.
        stats: the numbers of ``Live``.
    """

    name: str
    first_frame: float | None
    error: str | None
    fps: float | None
    longest_step: float | None
    stats: LiveStats

    def advice(self) -> list[str]:
        """Says in words what is wrong, and what to do; empty: nothing is."""
        if self.first_frame is None:
            return [self.error or "it gave no frame"]
        said, stats = [], self.stats
        if self.first_frame > _SLOW_START:
            said.append(f"its first frame came after {self.first_frame:.1f} s: let the camera send "
                        "key frames more often (a shorter GOP)")  # fmt: skip
        if stats.corrupt:
            said.append(f"{stats.corrupt} packets or pictures were damaged: over UDP, try "
                        "transport=\"tcp\"; over TCP, look at the network")  # fmt: skip
        if stats.reconnects:
            said.append(
                f"it failed {stats.reconnects} times meanwhile, last because: {stats.error}"
            )
        if stats.clock_jumps > stats.reconnects:
            said.append(f"its clock jumped {stats.clock_jumps} times; times rise here "
                        "all the same")  # fmt: skip
        if self.fps and self.longest_step and self.longest_step > _GAPS / self.fps + _LATE:
            said.append(f"once no frame arrived for {self.longest_step:.2f} s: the camera, the "
                        "network or this machine stalls")  # fmt: skip
        if stats.delay_p99 is not None and stats.delay_p99 > _LATE:
            said.append(f"frames waited for up to {stats.delay_p99:.2f} s until they were taken: "
                        "this machine is too slow; take a sub-stream of the camera")  # fmt: skip
        return said


def diagnose(source: Any, seconds: float = 5.0, **opening: Any) -> Diagnosis:
    """Opens a live source, takes its frames for some seconds, and says what it saw.

    Args:
        source, opening: as ``open_live`` takes them.
        seconds: how long, from the first frame on.

    Raises:
        TypeError, ValueError: as ``open_live``. What keeps a source from being opened is in
            ``error``.
    """
    begin, first = time.monotonic(), None
    error, seen, arrivals = None, [], []
    with open_live(source, **opening) as live:
        try:
            for frames in live:
                assert frames.arrived is not None
                first = first or time.monotonic()
                seen.append(float(frames.pts_seconds[-1]))
                arrivals.append(float(frames.arrived[-1]))
                if time.monotonic() - first > seconds:
                    break
        except (OSError, ValueError) as failed:
            error = str(failed)
        stats, name = live.stats, live.name
    steps = sorted(b - a for a, b in pairwise(seen))
    gaps = [b - a for a, b in pairwise(arrivals)]
    usual = quantile(steps, 0.5)
    started = None if first is None else first - begin
    why = error if first is None else None
    rate = 1 / usual if usual else None
    return Diagnosis(name, started, why, rate, max(gaps, default=None), stats)


def what_opens() -> dict[str, Any]:
    """Returns what this machine can open: versions, addresses, devices, decoders, CPUs."""
    formats = {name for names in av.formats_available for name in names.split(",")}
    devices = {"v4l2": "video4linux2", "x11grab": "x11grab", "avfoundation": "avfoundation",
               "dshow": "dshow"}  # fmt: skip
    codecs = ("h264", "hevc", "av1", "mjpeg", "mpeg2video", "vp9")
    return {
        "pyav": av.__version__,
        "ffmpeg_libraries": {name: ".".join(map(str, version))
                             for name, version in av.library_versions.items()},
        "addresses": [scheme for scheme in SCHEMES if scheme not in ("file", "pipe")],
        "devices": [name for name, form in devices.items() if form in formats],
        "decoders": [name for name in codecs if name in av.codecs_available],
        "cpus": usable_cpus(),
    }  # fmt: skip
