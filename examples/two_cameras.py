# python examples/two_cameras.py [CLIP]: a process plays a clip as two cameras, which are watched.
import multiprocessing
import socket
import sys
import time
from fractions import Fraction
from pathlib import Path

import av

import patchgate

CLIP = Path(__file__).parent / "clips" / "asl_book.mkv"


def play(clip: str, port: int) -> None:
    """Sends the clip as an MPEG transport stream, at its own pace, to everybody who connects."""
    server = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = server.accept()
        with connection, av.open(clip) as video, connection.makefile("wb") as line:
            out = av.open(line, "w", format="mpegts", options={"flush_packets": "1"})
            stream = out.add_stream("mpeg2video", rate=25, options={"g": "12", "bf": "0"})
            picture = video.streams.video[0]
            stream.width, stream.height = picture.width, picture.height
            stream.pix_fmt, begin = "yuv420p", time.monotonic()
            try:
                for number, frame in enumerate(video.decode(picture)):
                    frame.pts, frame.time_base = number, Fraction(1, 25)
                    out.mux(stream.encode(frame.reformat(format="yuv420p")))
                    line.flush()
                    time.sleep(max(0.0, begin + number / 25 - time.monotonic()))
            except OSError:  # who watched has gone
                continue


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def main() -> None:
    clip = sys.argv[1] if len(sys.argv) > 1 else str(CLIP)
    ports = [free_port() for _ in range(2)]
    new = multiprocessing.get_context("spawn").Process
    players = [new(target=play, args=(clip, port), daemon=True) for port in ports]
    for player in players:
        player.start()
    cameras = {f"camera {i}": f"tcp://127.0.0.1:{port}" for i, port in enumerate(ports)}
    seen = dict.fromkeys(cameras, 0)
    with patchgate.watch(cameras, size=224, on_event=lambda name, e: print(name, e.what)) as watch:
        for each in watch:
            seen[each.camera] += 1
            boxes = ", ".join(f"{b.left},{b.top} to {b.right},{b.bottom}" for b in each.boxes()[:3])
            print(f"{each.camera} {float(each.chunk.pts_seconds[-1]):.2f} s: "
                  f"{len(each.chunk.frame)} new tokens {boxes}")  # fmt: skip
            if min(seen.values()) >= 50:
                break
    for player in players:
        player.kill()


if __name__ == "__main__":
    main()
