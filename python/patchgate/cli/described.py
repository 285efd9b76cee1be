"""What ``patchgate info`` says of a video file."""

import os
from typing import Any

from patchgate._ops.library import build_info
from patchgate.cli.terminal import bytes_text
from patchgate.decode import Video


def facts_of(video: str, opened: Video) -> dict[str, Any]:
    """Returns what the file holds, how it is decoded, and how this patchgate was built."""
    return {
        "video": video,
        "bytes": os.path.getsize(video) if os.path.isfile(video) else None,
        "container": opened.container,
        "streams": list(opened.streams),
        "bits_per_second": opened.bit_rate,
        "codec": opened.codec,
        "decoder": opened.decoder,
        "width": opened.width,
        "height": opened.height,
        "rotation_degrees": opened.rotation,
        "sample_aspect_ratio": str(opened.sample_aspect_ratio),
        "frames_per_second": opened.average_fps,
        "frames": opened.num_frames,
        "begin_seconds": opened.begin_stream_seconds,
        "duration_seconds": opened.duration_seconds,
        "colour_matrix": opened.colour.matrix,
        "full_range": opened.colour.full_range,
        "bit_depth": opened.colour.bit_depth,
        "build": build_info(),
    }


def lines_of(facts: dict[str, Any]) -> dict[str, str]:
    """Puts the facts in lines for people."""

    def known(name: str, text: str) -> str:
        return "unknown" if facts[name] is None else text.format(facts[name])

    build = facts["build"]
    gpus = ", ".join(build["cuda_architectures"]) or "none"
    turned, shape = facts["rotation_degrees"], facts["sample_aspect_ratio"]
    return {
        "file": f"{facts['container']}, {bytes_text(facts['bytes'] or 0)}, streams: "
        f"{', '.join(facts['streams'])}",
        "picture": f"{facts['width']} x {facts['height']} pixels"
        + (f" (turned by {turned} degrees)" if turned else "")
        + ("" if shape == "1" else f", each of them {shape} as wide as high"),
        "codec": f"{facts['codec']}, decoded by {facts['decoder']}",
        "time": f"{known('frames_per_second', '{:.6g}')} frames/s, "
        f"{known('duration_seconds', '{:.3f}')} s from {facts['begin_seconds']:.3f} s, "
        f"{known('frames', '{:,}')} frames (as the container says)",
        "colour": f"{facts['colour_matrix']}, {'full' if facts['full_range'] else 'limited'} "
        f"range, {facts['bit_depth']} bit",
        "patchgate": f"{build['version']}, {build['compiler']}, {build['simd']}, CUDA: {gpus}",
    }
