"""The work of ``patchgate doctor``: what this machine can open, and how well a camera comes in."""

from dataclasses import asdict
from typing import Any

from patchgate._ops.library import build_info
from patchgate.cli.terminal import as_options
from patchgate.live.diagnosis import Diagnosis, diagnose, what_opens


def facts_of(
    url: str | None, seconds: float, opening: dict[str, Any]
) -> tuple[dict[str, Any], Diagnosis | None]:
    """Looks at the machine and, if there is an address, for so many seconds at its camera.

    Args:
        opening: options of ``open_live``.
    """
    facts: dict[str, Any] = {"patchgate": build_info()["version"], **what_opens()}
    if url is None:
        return facts, None
    found = diagnose(url, seconds, **opening)
    return facts | {"camera": {**asdict(found), "advice": found.advice()}}, found


def lines_of(facts: dict[str, Any], found: Diagnosis | None) -> dict[str, str]:
    """Returns the facts as lines for a person."""
    lines = {
        "versions": f"patchgate {facts['patchgate']}, PyAV {facts['pyav']}",
        "addresses": ", ".join(facts["addresses"]),
        "devices": ", ".join(facts["devices"]) or "none",
        "decoders": f"{', '.join(facts['decoders'])} (on {facts['cpus']} CPUs)",
    }
    return lines if found is None else lines | _seen(found)


def _seen(found: Diagnosis) -> dict[str, str]:
    if found.first_frame is None:
        return {"camera": as_options(found.error or "it gave no frame")}
    stats = found.stats
    size = "" if stats.size is None else f", {stats.size[1]} x {stats.size[0]} pixels"
    delay = "" if stats.delay_p99 is None else f", taken after {stats.delay_p99 * 1e3:.0f} ms (p99)"
    rate = "unknown" if found.fps is None else f"{found.fps:.4g}"
    return {
        "camera": f"{rate} frames/s{size}; the first frame came after {found.first_frame:.2f} s",
        "frames": f"{stats.decoded:,} decoded{delay}, {stats.corrupt} damaged",
        "advice": "; ".join(found.advice()) or "all is well",
    }
