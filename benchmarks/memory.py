"""Memory of tokenize against the video's length: python benchmarks/memory.py [minutes ...]

Loops the longest clip by remuxing it and runs the command line on it in a process of its own.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import harness
from rich.console import Console
from rich.table import Table

# The child prints its own peak, in bytes, after the command is done. Not getrusage's ru_maxrss:
# that begins with what the process that started it took.
CHILD = """
import json, sys
from pathlib import Path
from patchgate.cli import app
facts = app(sys.argv[1:], standalone_mode=False)
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
print(json.dumps({"peak": peak, "frames": facts["frames"], "tokens": facts["tokens"]}))
"""


def duration_seconds(path: Path) -> float:
    with av.open(str(path)) as container:
        return (container.duration or 0) / av.time_base


def looped(path: Path, times: int, target: Path) -> Path:
    """The clip's packets ``times`` over, their stamps moved on."""
    with av.open(str(target), "w") as out:
        stream, shift = None, 0
        for _ in range(times):
            with av.open(str(path)) as container:
                source = container.streams.video[0]
                stream = stream or out.add_stream_from_template(source)
                end = shift
                packets = [packet for packet in container.demux(source) if packet.size]
                for packet, dts in zip(packets, decoding_times(packets), strict=True):
                    assert packet.pts is not None
                    packet.pts, packet.dts = packet.pts + shift, dts + shift
                    end = max(end, packet.pts + (packet.duration or 1))
                    packet.stream = stream
                    out.mux(packet)
                shift = end
    return target


def decoding_times(packets: list[av.Packet]) -> list[int]:
    """Of packets in their order; Matroska leaves out those before the first reordered frame."""
    times: list[int] = []
    for packet in reversed(packets):
        times.append(times[-1] - (packet.duration or 1) if packet.dts is None else packet.dts)
    return times[::-1]


def measure(clip: Path, minutes: float, folder: Path) -> dict[str, object]:
    times = max(1, round(minutes * 60 / duration_seconds(clip)))
    video = looped(clip, times, folder / f"looped{clip.suffix}")
    command = ["tokenize", str(video), "-o", str(folder / "tokens.safetensors"), "--threads", "2"]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *command], capture_output=True, text=True, check=True
    )
    facts = json.loads(done.stdout.strip().splitlines()[-1])
    cells = facts["frames"] * 27 * 27
    return {
        "clip": clip.name,
        "minutes": round(duration_seconds(video) / 60, 1),
        "frames": facts["frames"],
        "tokens": facts["tokens"],
        "peak_rss_mb": round(facts["peak"] / 1e6),
        "file_mb": round((folder / "tokens.safetensors").stat().st_size / 1e6),
        "file_bytes_per_cell_frame_without_tokens": round(
            ((folder / "tokens.safetensors").stat().st_size - facts["tokens"] * (588 + 32)) / cells,
            2,
        ),
    }


def main(lengths: list[float]) -> None:
    clip = max(harness.clips(), key=duration_seconds)
    rows = []
    for minutes in lengths:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(clip, minutes, Path(folder)))
    table = Table(title="tokenize to disk: memory against length")
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=160).print(table)
    harness.save("memory", rows)


if __name__ == "__main__":
    main([float(word) for word in sys.argv[1:]] or [1, 5, 30])
