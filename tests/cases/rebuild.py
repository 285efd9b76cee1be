"""What a decoder makes of a gate's output: emitted cells and vectors in, video out. Tests only.

Written from the guarantee's text with one loop over cells; it never sees a cell that was not
emitted. Letters: T frames (or tubelets), f frames of a tubelet, K emitted cells, p cell side.
"""

import torch
from between import block_between
from torch import Tensor

STATIC, MOVED, CHANGED, RETURNED = 0, 1, 2, 4
POISON = 77  # what the picture holds before anything was emitted


def emitted_cells(video: Tensor, kind: Tensor, p: int, f: int = 1) -> Tensor:
    """The changed cells of ``video [T * f, C, H, W]`` in order: ``[K, f, C, p, p]``."""
    cells = [
        video[t * f : (t + 1) * f, :, y * p : (y + 1) * p, x * p : (x + 1) * p]
        for t, y, x in (kind == CHANGED).nonzero().tolist()
    ]
    return torch.stack(cells) if cells else video.new_empty(0, f, video.shape[1], p, p)


def rebuild(
    kind: Tensor,
    motion: Tensor,
    emitted: Tensor,
    precision: int = 1,
    weights: Tensor | None = None,
    lit: Tensor | None = None,
    source: Tensor | None = None,
) -> Tensor:
    """The video ``[T * f, C, H, W]`` of kind ``[T, h, w]`` and motion ``[T, h, w, 2]``.

    Vectors count in ``1 / precision`` pixels; ``source [T, h, w]`` says what returns. weights
    ``[T, f, C, 2]`` and lit ``[T, h, w]``, if there are any: the light of the frames, and which
    cells of the picture follow it.
    """
    _, h, w = kind.shape
    _, f, c, p, _ = emitted.shape
    picture = emitted.new_full((f, c, h * p, w * p), POISON)
    frames, following = [], iter(emitted)
    for t, (kinds, vectors) in enumerate(zip(kind, motion, strict=True)):
        if weights is not None and weights.numel() and lit is not None:
            picture = picture.clone()
            for y, x in lit[t].nonzero().tolist():
                block = picture[..., y * p : (y + 1) * p, x * p : (x + 1) * p]
                gain, offset = weights[t].long().movedim(-1, 0)[..., None, None]  # [f, C, 1, 1]
                block[...] = ((block.long() * gain + offset + 2048) // 4096).clamp(0, 255)
        for y, x in (kinds == RETURNED).nonzero().tolist():  # before anything is moved
            assert source is not None
            picture = picture.clone()
            picture[..., y * p : (y + 1) * p, x * p : (x + 1) * p] = emitted[int(source[t, y, x])]
        old, picture = picture, picture.clone()
        for y, x in ((kinds == MOVED) | (kinds == CHANGED)).nonzero().tolist():
            block = picture[..., y * p : (y + 1) * p, x * p : (x + 1) * p]
            if kinds[y, x] == MOVED:
                dy, dx = (4 // precision * vectors[y, x].long()).tolist()
                then = block_between(old.numpy(), 4 * y * p + dy, 4 * x * p + dx, p)
                block[...] = torch.from_numpy(then)
            else:
                block[...] = next(following)
        frames.append(picture)
    assert next(following, None) is None
    return torch.cat(frames) if frames else emitted.new_empty(0, c, h * p, w * p)


def worst_sub_blocks(a: Tensor, b: Tensor, p: int, side: int, f: int = 1) -> Tensor:
    """Largest SAD of any sub-block of any plane and frame of every cell: ``[T, h, w]``."""
    t, c, height, width = a.shape
    difference = (a.int() - b.int()).abs()
    blocks = difference.view(t, c, height // side, side, width // side, side).sum((3, 5))
    n = p // side
    cells = blocks.view(t // f, f * c, height // p, n, width // p, n)
    return cells.amax((1, 3, 5))
