"""Draws the pictures of docs/gate.md anew: python packaging/pictures.py

docs/gate-loop.png: a fade of half a grey level a frame, under the closed loop and under a gate that
compares adjacent frames. docs/gate-cells.png: one frame of the clip, its cells, and what the tokens
rebuild.
"""

from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import patchgate

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "examples" / "clips" / "asl_book.mkv"
THRESHOLD = 4
SIDE, CELL, FRAMES = 112, 14, 120


def fade() -> torch.Tensor:
    """A pattern that becomes brighter by half a grey level a frame, ``[T, H, W, 3]`` uint8."""
    pattern = np.random.default_rng(0).integers(40, 140, (SIDE // CELL, SIDE // CELL))
    still = np.kron(pattern, np.ones((CELL, CELL)))  # [H, W]
    frames = still + np.arange(FRAMES)[:, None, None] / 2  # [T, H, W]
    return torch.from_numpy(frames).byte()[..., None].expand(-1, -1, -1, 3).contiguous()


def worst(frames: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """The largest mean difference of any cell of each frame in grey levels, ``[T]``."""
    difference = (frames.float() - shown.float()).abs()  # [T, H, W]
    return torch.nn.functional.avg_pool2d(difference[:, None], CELL).flatten(1).amax(1)


def adjacent(frames: torch.Tensor) -> torch.Tensor:
    """What a gate that compares each frame with the one before it shows, ``[T, H, W]``."""
    shown = frames[:1].clone()
    for before, now in pairwise(frames):
        pooled = torch.nn.functional.avg_pool2d((now.float() - before.float()).abs()[None], CELL)
        new = torch.nn.functional.interpolate(pooled[None], scale_factor=CELL)[0, 0] > THRESHOLD
        shown = torch.cat([shown, torch.where(new, now, shown[-1])[None]])
    return shown


def draw_loop(path: Path) -> None:
    """Writes the first picture."""
    frames = fade()
    tokens = patchgate.tokenize(frames, fps=30, size=SIDE, threshold=THRESHOLD)
    luma = frames[..., 0]  # [T, H, W]: grey pictures
    rebuilt = tokens.reconstruct(rgb=True)[:, 0]  # [T, H, W]
    figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
    axis.plot(worst(luma, adjacent(luma)), label="compared with the frame before", color="tab:red")
    axis.plot(worst(luma, rebuilt), label="compared with what the tokens say", color="tab:blue")
    axis.axhline(THRESHOLD, color="gray", linewidth=1, linestyle="--", label="threshold")
    axis.set(xlabel="frames of a fade", ylabel="worst cell, grey levels")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=110)


def draw_cells(path: Path) -> None:
    """Writes the second picture."""
    with patchgate.open_video(CLIP) as video:
        frames = torch.cat([batch.rgb() for batch in video])  # [T, 3, H, W]
    tokens = patchgate.tokenize(CLIP, threshold=THRESHOLD)
    count = (tokens.kind == patchgate.Kind.CHANGED).sum((1, 2)) * (tokens.pts_seconds > 1)  # [T]
    number = int(count.argmax())
    kind = tokens.kind[number]  # [h, w]
    colours = np.full((*kind.shape, 3), 230, np.uint8)
    colours[kind == patchgate.Kind.CHANGED] = (213, 94, 0)
    colours[kind == patchgate.Kind.MOVED] = (86, 180, 233)
    rebuilt = tokens.reconstruct(rgb=True)[number]  # [3, H, W]
    figure, axes = plt.subplots(1, 3, figsize=(10, 2.9), layout="constrained")
    pictures = {
        f"the frame at {float(tokens.pts_seconds[number]):.2f} s": frames[number].permute(1, 2, 0),
        "changed (orange), moved (blue), still": colours,
        "rebuilt from all tokens so far": rebuilt.permute(1, 2, 0),
    }
    for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
        axis.imshow(picture, aspect="auto")
        axis.set_title(title, fontsize=10)
        axis.axis("off")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    plt.switch_backend("agg")
    draw_loop(ROOT / "docs" / "gate-loop.png")
    draw_cells(ROOT / "docs" / "gate-cells.png")
