"""The requests of these tests by name: prompts, and the videos and images in them."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

SIDES = {"qwen3": 32, "qwen25": 28}  # a cell in pixels
ROWS, COLUMNS = 3, 4  # cells
VIDEO = "<|vision_start|><|video_pad|><|vision_end|>"
# vLLM's EVS takes a mark before a video for that of its first frame; each frame has its own.
BARE = "<|video_pad|>"
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


def picture(side: int, seed: int) -> np.ndarray:
    """A picture of soft noise, ``[H, W, 3]`` uint8."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (ROWS * 4, COLUMNS * 4, 3), dtype=np.uint8)
    return small.repeat(side // 4, 0).repeat(side // 4, 1)


def clip(kind: str, side: int, frames: int, seed: int = 0) -> np.ndarray:
    """A clip ``[T, H, W, 3]`` uint8.

    "still": one picture; "all new": another picture in every frame; "some": in the middle, every
    second tubelet, one cell changes; "long rest": nothing changes but one cell in the last frame;
    "back": a picture, another one, and the first again.
    """
    base = picture(side, seed)
    out = base[None].repeat(frames, 0)
    if kind == "back":
        return np.stack([base, picture(side, seed + 50), base]).repeat(frames // 3, 0)
    if kind == "all new":
        return np.stack([picture(side, 1000 * (seed + 1) + t) for t in range(frames)])
    for t in range(2, frames):
        if kind == "some" and t % 4 >= 2:
            row, column = 1, (t // 4) % COLUMNS
        elif kind == "long rest" and t == frames - 1:
            row, column = 0, 0
        else:
            continue
        at = slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side)
        out[t][at] = picture(side, 7 + t)[at]
    return out


def known(frames: int, fps: float = 4.0, **beside: Any) -> dict[str, Any]:
    """The metadata of a clip of which no frame was left out."""
    own = {"patchgate": beside} if beside else {}
    return {
        "total_num_frames": frames, "fps": fps, "duration": frames / fps,
        "video_backend": "test", "frames_indices": list(range(frames)),
        "do_sample_frames": False, **own,
    }  # fmt: skip


def video(family: str, kind: str, frames: int, seed: int = 0, **beside: Any) -> Any:
    return clip(kind, SIDES[family], frames, seed), known(frames, **beside)


def written(path: Path, frames: np.ndarray, pts: Sequence[int] | None = None) -> bytes:
    """Writes frames ``[T, H, W, 3]`` as a file without loss, and returns its bytes.

    Times are in hundredths of a second; without them there are four frames a second.
    """
    with av.open(str(path), "w") as out:
        rate = 4 if pts is None else 100
        stream = out.add_stream("libx264", rate=rate, options={"qp": "0", "preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv444p"
        for number, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv444p")
            frame.pts = 25 * number if pts is None else pts[number]
            frame.time_base = Fraction(1, 100)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path.read_bytes()


CHUNKS = 3  # of the stream "cam", of four frames each
# Of a clip whose frames are not evenly spaced. In Qwen2.5-VL's positions it is shorter than a frame
# is wide: then transformers and vLLM agree about what follows it.
PTS = [0.0, 0.1, 0.6, 0.7, 0.9, 1.0, 1.5, 1.7]


def requests(family: str) -> dict[str, dict[str, Any]]:
    """Prompts of text with placeholders, and what stands at them."""
    still, some = (video(family, kind, 8) for kind in ("still", "some"))
    moving = video(family, "all new", 8, 1)
    rest = video(family, "long rest", 8, 2)
    shown = picture(SIDES[family], 3)
    whole = clip("some", SIDES[family], 4 * CHUNKS, 5)
    parts = [(whole[4 * k : 4 * k + 4], known(4, stream="cam", number=k)) for k in range(CHUNKS)]
    ask = "<|im_end|>\n<|im_start|>assistant\n"

    def one(prompt: str, **media: Any) -> dict[str, Any]:
        return {"prompt": f"<|im_start|>user\n{prompt}{ask}", "multi_modal_data": media}

    return {
        "text": {"prompt": f"<|im_start|>user\nHello{ask}"},
        "still": one(f"{VIDEO}What?", video=[still]),
        "some": one(f"Look:{VIDEO}What?", video=[some]),
        "all new": one(f"{VIDEO}What?", video=[moving]),
        "rest": one(f"{VIDEO}What?", video=[rest]),
        "back": one(f"{VIDEO}What?", video=[video(family, "back", 12)]),
        "image": one(f"{IMAGE}What?", image=[shown]),
        "image and video": one(f"A {IMAGE} and {VIDEO}?", image=[shown], video=[some]),
        "video and image": one(f"A {VIDEO} and {IMAGE}?", image=[shown], video=[some]),
        "two videos": one(f"{VIDEO} or {VIDEO}?", video=[some, rest]),
        "one frame": one(f"{VIDEO}?", video=[video(family, "still", 1)]),
        "no frames": one(f"{VIDEO}?", video=[video(family, "still", 0)]),
        "own settings": one(f"{VIDEO}?", video=[video(family, "still", 8, threshold=9)]),
        "wrong times": one(f"{VIDEO}?", video=[video(family, "still", 8, pts_seconds=[0, 1, 2])]),
        "other stream": one(f"{VIDEO}?", video=[video(family, "still", 4, stream="b", number=0)]),
        "same name": one(f"{VIDEO}?", video=[video(family, "rest", 4, 9, stream="cam", number=0)]),
        "late chunk": one(f"{VIDEO}?", video=[video(family, "rest", 4, stream="cam", number=7)]),
        # Live: all chunks so far, each a video of its own, or one video that grows.
        **{f"chunks {n}": one(f"{VIDEO * n}Now?", video=parts[:n]) for n in range(1, CHUNKS + 1)},
        **{
            f"grown {n}": one(f"{BARE}Now?", video=[(whole[: 4 * n], known(4 * n))])
            for n in range(1, CHUNKS + 1)
        },
        "times": one(f"{VIDEO}When?", video=[video(family, "some", 8, pts_seconds=PTS)]),
    }
