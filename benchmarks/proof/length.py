"""The command line on one clip that is played again and again: its memory should not grow."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

# The child prints its own peak, in bytes, after the command is done; it imports nothing else.
CHILD = """
import json, sys
from pathlib import Path
from patchgate.cli import app
facts = app(sys.argv[1:], standalone_mode=False)
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
print(json.dumps({"peak": peak, "frames": facts["frames"], "tokens": facts["tokens"]}))
"""


def against_length(path: Path, lengths: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """A process for each of these seconds."""
    for seconds in lengths:
        with tempfile.TemporaryDirectory() as folder:
            yield _measured(path, seconds, Path(folder))


def _measured(path: Path, seconds: float, folder: Path) -> dict[str, Any]:
    start = time.perf_counter()
    times = max(1, round(seconds / _duration_seconds(path)))
    video = _looped(path, times, folder / f"looped{path.suffix}")
    output = folder / "tokens.safetensors"
    words = ["tokenize", str(video), "-o", str(output), "--threads", "2"]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *words], capture_output=True, text=True, check=True
    )
    facts = json.loads(done.stdout.strip().splitlines()[-1])
    frames, spent = facts["frames"], time.perf_counter() - start
    # Without the tokens: their pixels, and four numbers of eight bytes.
    rest = output.stat().st_size - facts["tokens"] * (588 + 32)
    return {
        "clip": path.name, "seconds": round(_duration_seconds(video)), "frames": frames,
        "tokens": facts["tokens"], "peak MB": round(facts["peak"] / 1e6),
        "file MB": round(output.stat().st_size / 1e6),
        "bytes a cell and frame": round(rest / (frames * 27 * 27), 2),
        "frames/s, all in all": round(frames / spent, 1),
    }  # fmt: skip


def _duration_seconds(path: Path) -> float:
    with av.open(str(path)) as container:
        return (container.duration or 0) / av.time_base


def _looped(path: Path, times: int, target: Path) -> Path:
    """The clip's packets ``times`` over, their stamps moved on."""
    with av.open(str(target), "w") as out:
        stream, shift = None, 0
        for _ in range(times):
            with av.open(str(path)) as container:
                source = container.streams.video[0]
                stream = stream or out.add_stream_from_template(source)
                end = shift
                packets = [packet for packet in container.demux(source) if packet.size]
                for packet, dts in zip(packets, _decoding_times(packets), strict=True):
                    assert packet.pts is not None
                    packet.pts, packet.dts = packet.pts + shift, dts + shift
                    end = max(end, packet.pts + (packet.duration or 1))
                    packet.stream = stream
                    out.mux(packet)
                shift = end
    return target


def _decoding_times(packets: list[av.Packet]) -> list[int]:
    """Bytes of packets in order; Matroska leaves out those before the first reordered frame."""
    times: list[int] = []
    for packet in reversed(packets):
        times.append(times[-1] - (packet.duration or 1) if packet.dts is None else packet.dts)
    return times[::-1]
