"""The packed container of a video's tokens, which knows the token of every cell of every frame.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, K tokens,
D features, p cell side in pixels.
"""

from dataclasses import asdict, dataclass, field, fields, replace
from os import PathLike
from typing import Self

import torch
from torch import Tensor

from patchgate._check import checked_count, checked_number
from patchgate._tensors import arange
from patchgate.colour import yuv_to_rgb
from patchgate.gate import CHANGED
from patchgate.tokens import blend as blending
from patchgate.tokens import file as token_file
from patchgate.tokens import reconstruct
from patchgate.tokens.chunk import TokenChunk
from patchgate.tokens.dense import Dense
from patchgate.tokens.handling import Handled
from patchgate.tokens.layout import TokenGrid, TokenLayout, TokenShape, spans

_FRAMES = 4  # that become RGB at a time


@dataclass(eq=False)
class VideoTokens(Dense, Handled):
    """The tokens of a video, packed frame after frame.

    A token is one encoded cell. Every cell of every frame has a ``source``: the token that explains
    it, its own or an earlier one.
    """

    features: Tensor  # [K, D]: a tower's, or (D = f * C * p * p) the cell's own u8 samples
    frame: Tensor  # [K] int64: the frame that emitted the token; < 0: none of these
    cell: Tensor  # [K, 2] int64: (row, column) in cells
    span: Tensor  # [K] int64: frames from the token's own to the last that it explains a cell of
    pts_seconds: Tensor  # [T] float64
    duration_seconds: Tensor  # [T] float64
    cu_seqlens: Tensor  # [T + 1] int32: frame t emitted the tokens cu_seqlens[t]:cu_seqlens[t + 1]
    source: Tensor  # [T, h, w] int64: index into features
    kind: Tensor  # [T, h, w] uint8: 0 static, 1 moved, 2 changed, 3 merged into another token,
    # 4 returned: it shows an earlier token as it was encoded
    motion: Tensor  # [T, h, w, 2] int8: (dy, dx) to where a moved cell came from, in steps of the
    # gate's 1 / motion_precision pixels
    layout: TokenLayout | None  # None: the features are a tower's, or of several looks
    start_picture: Tensor | None = field(default=None)  # [f, C, H, W]: the picture before a slice
    grid: TokenGrid | None = None  # of a tower's tokens; None: the features are pixels, or the
    # tokens are of a version that did not know
    start_ids: Tensor | None = None  # [H, W] int32, with a grid: the token under each pixel before
    # a slice, -1 where its first frame does not show it; None: every cell of that shows its source
    weights: Tensor | None = None  # [T, f, C, 2] int32: gain and offset of each plane, in 4096ths,
    # by which the picture follows the light; None: a gate that does not follow it
    lit: Tensor | None = (
        None  # [T, h, w] bool, with weights: the cells of the picture that took them
    )

    @property
    def shape(self) -> TokenShape:
        """Frames and cells of the dense grid."""
        return TokenShape(*self.source.shape)

    @property
    def is_key(self) -> Tensor:
        """``[T]`` bool: every cell of the frame is a token of its own."""
        return (self.kind == CHANGED).flatten(1).all(1)

    @property
    def kept_share(self) -> float:
        """The tokens that these frames emitted, as a share of their cells."""
        emitted = int(self.cu_seqlens[-1] - self.cu_seqlens[0])
        return emitted / max(1, self.source.numel())

    @property
    def size(self) -> Tensor:
        """The number of cells of these frames that each token stands for, ``[K]`` int64.

        Add its logarithm to the scores of attention to the token: attention is then proportional,
        as if every cell were there (Token Merging, arXiv 2210.09461, equation 1). A cell counts for
        its source. An earlier token of a slice, of which moved cells show only the smaller part,
        has 0.
        """
        return self.source.flatten().bincount(minlength=len(self))

    def __len__(self) -> int:
        return self.features.shape[0]

    def __repr__(self) -> str:
        t, h, w = self.shape
        seconds = float(self.shown_until()[-1] - self.pts_seconds[0]) if t else 0.0
        return (
            f"VideoTokens(K={len(self)}, D={self.features.shape[1]}, {self.features.dtype}, "
            f"T={t}, cells={h}x{w}, {seconds:.2f} s, kept={self.kept_share:.2%})"
        )

    def shown_until(self) -> Tensor:
        """The time at which each frame ends, ``[T]`` float64: that at which the next one begins,
        even if frames were skipped, or if the sum of time and duration rounds differently.
        """
        last = self.pts_seconds[-1:] + self.duration_seconds[-1:]
        return torch.cat([self.pts_seconds[1:], last])

    def reconstruct(self, rgb: bool = False) -> Tensor:
        """Rebuilds the video from the emitted cells and the vectors alone.

        Returns:
            uint8 ``[T * f, C, H, W]`` planes of full range (Y, or Y, Cb, Cr), every sub-block of
            which differs from the gate's input by no more than its limit; with ``rgb``, uint8
            ``[T * f, 3, H, W]`` to look at. Beside the result, it needs memory for a few frames.

        Raises:
            ValueError: the features are a tower's, which cannot be turned back into pixels.
        """
        if self.layout is None:
            raise ValueError(
                "reconstruct: these features come from a tower, or from several looks at a video; "
                "tokenize it without a tower, in one go, to get tokens that hold its pixels"
            )
        planes = reconstruct.planes(self._chunk(), self.layout, self.start_picture)
        if rgb and self.layout.planes == 1:
            return planes.expand(-1, 3, -1, -1).contiguous()  # luma of full range: grey as it is
        if rgb:
            for few in planes.split(_FRAMES):  # in place: they pass through int32
                few.copy_(yuv_to_rgb(few, self.layout.matrix))
        return planes

    def slice(self, start_seconds: float, end_seconds: float) -> Self:
        """Returns the frames shown between two times, and the earlier tokens that they refer to.

        Args:
            start_seconds, end_seconds: on the clock of ``pts_seconds``; a frame belongs to the
                slice if it is shown at any time of ``[start, end)``.

        Returns:
            Tokens of which the first ``cu_seqlens[0]`` are earlier ones, with negative ``frame``:
            all that a cell of these frames shows, in part or whole.
        """
        return self.frames(*self._frames_between(start_seconds, end_seconds))

    def frames(self, first: int, last: int) -> Self:
        """Returns the frames ``first`` to before ``last``, as ``slice`` returns those of a time.

        Raises:
            TypeError, ValueError: these are no frames of it.
        """
        first = checked_count("first", first, 0, self.shape.T - 1)
        last = checked_count("last", last, first + 1, self.shape.T)
        own = slice(int(self.cu_seqlens[first]), int(self.cu_seqlens[last]))
        source = self.source[first:last]
        earlier = source[source < own.start]
        grid, ids = self.grid, None
        if grid is not None:
            ids = blending.ids_before(self._cells(grid), first) if grid.blends else None
            grid = replace(grid, frames_before=grid.frames_before + first)
        if ids is not None:
            earlier = torch.cat([earlier, ids[ids >= 0].long()])
        earlier = earlier.unique()  # [number of them], ascending
        if ids is not None:
            ids = torch.where(ids < 0, -1, torch.searchsorted(earlier, ids.long())).int()
        keep = torch.cat([earlier, arange(own.start, own.stop)])  # [K of the slice] old indices
        carried = len(earlier)
        renumbered = source - own.start + carried
        renumbered = torch.where(
            source < own.start, torch.searchsorted(earlier, source), renumbered
        )
        picture = self.start_picture
        if self.layout is not None and first > 0:
            picture = reconstruct.picture_before(self._chunk(), self.layout, picture, first)
        return replace(
            self,
            features=self.features[keep],
            frame=self.frame[keep] - first,
            cell=self.cell[keep],
            span=spans(self.frame[keep] - first, renumbered),
            pts_seconds=self.pts_seconds[first:last],
            duration_seconds=self.duration_seconds[first:last],
            cu_seqlens=self.cu_seqlens[first : last + 1] - own.start + carried,
            source=renumbered,
            kind=self.kind[first:last],
            motion=self.motion[first:last],
            start_picture=picture,
            grid=grid,
            start_ids=ids,
            weights=None if self.weights is None else self.weights[first:last],
            lit=None if self.lit is None else self.lit[first:last],
        )

    def _frames_between(self, start: float, end: float) -> tuple[int, int]:
        start = checked_number("start_seconds", start, -1e18, 1e18, "seconds")
        end = checked_number("end_seconds", end, -1e18, 1e18, "seconds")
        if end <= start:
            raise ValueError(f"slice: expected start < end, got {start} and {end} seconds")
        shown_until = self.shown_until()
        inside = ((shown_until > start) & (self.pts_seconds < end)).nonzero().flatten()
        if not len(inside):
            span = "it has no frames"
            if self.shape.T:
                span = f"it shows {float(self.pts_seconds[0]):g}..{float(shown_until[-1]):g} s"
            raise ValueError(f"slice: no frame between {start} and {end} seconds; {span}")
        return int(inside[0]), int(inside[-1]) + 1

    def _chunk(self) -> TokenChunk:
        """All frames and tokens as one chunk, without copies."""
        return TokenChunk(*(getattr(self, name) for name in TokenChunk._fields))

    def tensors(self) -> dict[str, Tensor]:
        """Returns the tensor fields that are set, by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def save(self, path: str | PathLike[str]) -> None:
        """Writes a safetensors file, which ``load`` reads back bit for bit.

        It is written beside its place and moved there when it is whole: an older file stays until
        then, and may be the one that these tokens were loaded from.

        Raises:
            OSError: the file cannot be written there.
            ValueError: the tokens contradict each other, so that ``load`` would refuse them; the
                path is something else than a file.
        """
        told = (None if each is None else asdict(each) for each in (self.layout, self.grid))
        token_file.write(path, self.tensors(), *told)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Reads what ``save`` (or the command line) wrote.

        The tensors are mapped from the file. ``save`` may replace it; what changes it in place
        changes these tokens, too.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not a file of video tokens, or one whose fields contradict each other
                (``patchgate.tokens.check`` has the rules; values of features are not checked).
        """
        tensors, layout, grid = token_file.read(path)
        return cls(
            **tensors,
            layout=None if layout is None else TokenLayout(**layout),
            grid=None if grid is None else TokenGrid(**grid),
        )
