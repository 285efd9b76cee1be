"""Packed tokens for OneVision-Encoder and LLaVA-OneVision-2, which take any patches of a video.

Their rotary positions are three numbers for each patch, ``patch_positions`` ``[R, 3]``: its frame,
its row and its column. The models know the place of a patch only from these: with wrong ones they
see a wrong picture, and raise no error.

Letters: T frames, h w cells, K tokens, m merge side, R = K * m * m patches.
"""

import torch
from torch import Tensor

from patchgate._check import checked_count
from patchgate.language.positions import vision_position_ids
from patchgate.tokens import VideoTokens


def patch_positions(tokens: VideoTokens, merge: int = 1, frames: int | None = None) -> Tensor:
    """Makes the positions of the patches of packed tokens, as these models take them.

    Args:
        tokens: the tokens of a whole video.
        merge: m, the number of patches along the side of a cell (LLaVA-OneVision-2: 2). The patches
            of a cell follow each other row by row.
        frames: the number of positions over which the video's frames are spread. The encoder alone
            was trained with 64. None: a frame's number is its position.

    Returns:
        ``[R, 3]`` int64: frame, row and column, token after token.

    Raises:
        ValueError: the tokens are a slice of a video, and refer to tokens without a frame.
    """
    merge = checked_count("merge", merge, 1)
    time = tokens.frame
    if bool((time < 0).any()):
        raise ValueError(
            "tokens: a slice refers to tokens from before it, which have no frame; "
            "take positions of the whole video"
        )
    if frames is not None:
        # The same as torch.linspace(0, frames - 1, T).long(), in whole numbers.
        last = max(1, tokens.shape.T - 1)
        time = time * (checked_count("frames", frames, 1) - 1) // last
    places = vision_position_ids(tokens.cell, merge)
    return torch.cat([time.repeat_interleave(merge**2)[:, None], places], 1)


def check_patch_positions(positions: Tensor, grid: tuple[int, int, int]) -> None:
    """Raises if positions cannot be those of patches of one video. Synchronises.

    Args:
        positions: ``[R, 3]`` or ``[1, R, 3]`` integers.
        grid: the number of positions in time, and of patches down and across.

    Raises:
        TypeError: the positions are not integers.
        ValueError: they have another shape, lie outside of the grid, two patches are at one place,
            or frames are out of order.
    """
    if not isinstance(positions, Tensor) or positions.is_floating_point():
        came = positions.dtype if isinstance(positions, Tensor) else type(positions).__name__
        raise TypeError(f"patch_positions: expected integers, got {came}")
    rows = positions[0] if positions.dim() == 3 and len(positions) == 1 else positions
    if rows.dim() != 2 or rows.shape[1] != 3:
        raise ValueError(
            f"patch_positions: expected [R, 3] or [1, R, 3], got {list(positions.shape)}"
        )
    if bool(((rows < 0) | (rows >= rows.new_tensor(grid))).any()):
        raise ValueError(f"patch_positions: expected (t, h, w) within {grid}")
    if len(rows.unique(dim=0)) != len(rows):
        raise ValueError("patch_positions: expected each patch once")
    if bool((rows[:, 0].diff() < 0).any()):
        raise ValueError("patch_positions: expected frames in order")
