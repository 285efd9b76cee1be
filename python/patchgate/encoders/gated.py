"""A vision tower that computes only what changed: same call, same output, the kept share of the work.

Letters: T frames, C channels, H W pixels, N cells of a frame, K kept cells, P patch side,
D features, F frames that keep a cell.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from patchgate import _ops
from patchgate.encoders.families import tower_of
from patchgate.encoders.packing import KeptAttention, Segments, groups
from patchgate.encoders.pixels import PixelRange, patch_rows
from patchgate.encoders.table import TokenTable
from patchgate.encoders.tower import Tower
from patchgate.encoders.work import Work, work
from patchgate.gate import Gate
from patchgate.gate_settings import GateSettings

Context = Literal["kept", "full"]

_GROUP = 2048  # packed rows at a time: the MLP's buffers stay small enough to be reused


def gated(
    tower: nn.Module,
    processor: Any = None,
    *,
    mean: Any = None,
    std: Any = None,
    context: Context = "kept",
    **gate_settings: Any,
) -> "GatedTower":
    """Wraps a vision tower so that it computes only the cells that changed.

    ``tower(pixel_values)`` is then one clip, its batch axis time: same call, same output type and
    shapes. A cell that was kept is encoded from its own pixel values; any other shows the features
    of the token that explains it (``Gate``). A frame that keeps nothing is not computed at all.

    Args:
        tower: a ``SiglipVisionModel`` or ``CLIPVisionModel`` of transformers. It is not changed,
            and is at hand as ``.tower``; weights are shared.
        processor: the tower's transformers processor (or its image processor), for the mean and
            standard deviation that bring pixel values back to 8 bit.
        mean, std: per channel, in its place.
        context: what a cell that was not kept means to the kept ones. ``"kept"``: nothing; kept
            cells (and CLS) attend to those of their own frame.
        gate_settings: arguments of ``Gate``, as ``threshold``. Patch, merge and size are the
            tower's.

    Returns:
        A ``GatedTower``.

    Raises:
        TypeError: a tower or processor that is not known, settings that the gate does not have.
        ValueError: no processor and no mean and std; sizes of tower, processor and gate that do
            not fit; weights of mixed dtypes.
        NotImplementedError: ``context="full"``.

    Source: ``"kept"`` is the context of RLT (arXiv 2411.05222); the gate is in docs/gate.md.
    """
    if context == "full":
        raise NotImplementedError(
            'context="full" (residual attention over the whole frame) is not available yet; '
            'context="kept" is'
        )
    if context != "kept":
        raise ValueError(f'context: expected "kept" or "full", got {context!r}')
    if isinstance(tower, GatedTower):
        raise ValueError("tower: it is gated already; its own tower is .tower")
    family = tower_of(tower)
    family.check_dtype()
    pixels = PixelRange.of(processor, mean, std)
    return GatedTower(tower, family, pixels, _settings(family, gate_settings))


class GatedTower(nn.Module):
    """What ``gated`` returns. In place of its tower in a larger model, it has the same parameters
    under the same names; what it lacks itself (``config``, ``dtype``, ...) is the tower's.

    Inference, or training without dropout. Gradients flow to the weights and the kept pixels.
    Hooks on the tower's layers and encoder do not run: packed tokens pass through their parts.
    """

    tower: nn.Module  # the original, untouched
    gate_settings: GateSettings
    pixels: PixelRange
    last_work: Work | None  # what the last call kept and computed

    def __init__(
        self, tower: nn.Module, family: Tower, pixels: PixelRange, settings: GateSettings
    ) -> None:
        super().__init__()
        # Not by setattr: as a submodule it would appear in the names of the parameters. Sharing
        # its own tables instead, .to() and load_state_dict() here are the same as there.
        self.__dict__["tower"] = tower
        for name in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
            self.__dict__[name] = tower.__dict__[name]
        self.training = tower.training
        self.gate_settings, self.pixels, self.last_work = settings, pixels, None
        self._family = family

    def forward(
        self,
        pixel_values: Tensor,
        interpolate_pos_encoding: bool = False,
        *,
        clip_lengths: Sequence[int] | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> Any:
        """Frames of one clip, in order; or of several, one after the other.

        Args:
            pixel_values: ``[T, 3, H, W]`` float, as the processor makes them.
            clip_lengths: frames of each clip, if there are several. Nothing passes between them.
            output_hidden_states: also the input of the first layer and the output of each,
                expanded as the last one is.
            return_dict: False: a tuple, as transformers does.

        Returns:
            The tower's ``BaseModelOutputWithPooling``. ``last_hidden_state`` ``[T, N, D]`` (CLIP:
            ``[T, 1 + N, D]``) shows at each cell its source token's features, and as CLS that of
            the last frame that kept a cell. ``pooler_output`` ``[T, D]``: CLIP, that CLS after the
            layer norm; SigLIP, the attention pooling of all N cells shown in that frame.

        Raises:
            TypeError: pixel values that are not floats; options that the packed tower lacks.
            ValueError: shapes, devices or values that do not fit; training with dropout or
                checkpointing; interpolated positions; attention maps.
        """
        self._check_options(interpolate_pos_encoding, options)
        self._check_pixels(pixel_values)
        hidden = self._default("output_hidden_states", output_hidden_states, False)
        output = self._frames(pixel_values, self._clips(clip_lengths, len(pixel_values)), hidden)
        return output if self._default("return_dict", return_dict, True) else output.to_tuple()

    def encode(self, rows: Tensor, cell: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Kept patches to features, with no gate: for callers that have gathered them.

        Args:
            rows: ``[K, 3 * P * P]`` float, normalised, each in ``(3, P, P)`` order.
            cell: ``[K, 2]`` int64 (row, column), or ``[K]`` flat.
            cu_seqlens: ``[T + 1]`` integers: frame t's are ``cu_seqlens[t]:cu_seqlens[t + 1]``.

        Returns:
            ``[K, D]``: what the tower's ``last_hidden_state`` would show at these cells; CLS,
            which each frame that keeps a cell has, is left out.
        """
        self._family.check_mode()
        cell, kept = self._checked_rows(rows, cell, cu_seqlens)
        segments = Segments.of(kept, self._family.prefix)
        features = self._encode(rows, cell, kept, hidden=False).get("features")
        if features is None:
            return self._family.weight.new_empty((0, self._family.weight.shape[0]))
        return features[segments.patch_row]

    def stream(self) -> "TowerStream":
        """A tower that goes on where its last call ended: pushes of a clip equal the whole clip."""
        return TowerStream(self.tower, self._family, self.pixels, self.gate_settings)

    def train(self, mode: bool = True) -> Self:
        """As ``nn.Module.train``, for the tower too."""
        super().train(mode)
        self.tower.training = mode
        return self

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            tower = self.__dict__.get("tower")
            if tower is None:  # half built, as while it is unpickled
                raise
            return getattr(tower, name)

    def extra_repr(self) -> str:
        return f"{type(self.tower).__name__}, {self.gate_settings}"

    # The path of a call: gate, encode, expand.

    def _frames(self, pixel_values: Tensor, clips: list[int], hidden: bool) -> Any:
        table = self._begin(pixel_values, hidden)
        kind, source = self._gate(self.pixels.planes(pixel_values), clips)  # [T, h, w] each
        index, cu_seqlens, _ = _ops.compact(kind, kind.numel())
        kept = cu_seqlens.long().diff()  # [T]
        index = index[: int(cu_seqlens[-1])]  # [K]
        segments = Segments.of(kept, self._family.prefix)
        rows = patch_rows(pixel_values, self._family.patch, index)
        joined = table.joined(self._encode(rows, index % self._family.cells, kept, hidden))

        last = (kept > 0).cumsum(0) - 1  # [T]: the last segment so far
        shown = table.index(source.flatten(1), segments, last)  # [T, prefix + N]
        dense = _ops.expand(joined["features"], shown)
        pooled = table.pooled_of(self._pool(joined, dense, shown, segments), last)
        self.last_work = work(self._family, len(kept), segments.lengths)
        self._end(table, joined, shown, segments, pooled)
        states = None
        if hidden:
            names = [f"hidden_{i}" for i in range(len(self._family.layers) + 1)]
            states = tuple(_ops.expand(joined[name], shown) for name in names)
        return _output(dense, pooled, states)

    def _encode(self, rows: Tensor, cell: Tensor, kept: Tensor, hidden: bool) -> dict[str, Tensor]:
        """What is known of each packed token, ``[R, E]`` by name; nothing if none was kept."""
        ends, parts = [0, *kept.cumsum(0).tolist()], []
        for run in groups(kept, self._family.prefix, _GROUP):
            tokens = slice(ends[run.start], ends[run.stop])
            if tokens.start < tokens.stop:
                parts.append(self._encode_group(rows[tokens], cell[tokens], kept[run], hidden))
        if not parts:
            return {}
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _encode_group(
        self, rows: Tensor, cell: Tensor, kept: Tensor, hidden: bool
    ) -> dict[str, Tensor]:
        segments = Segments.of(kept, self._family.prefix)
        known, state = {}, rows
        run = self._family.run(rows, cell, segments, KeptAttention(segments))
        for i, state in enumerate(run):
            if hidden:
                known[f"hidden_{i}"] = state
        known["features"] = self._family.leave(state)
        entry = self._family.pool_entry(known["features"])
        return known if entry is None else {**known, "pool": entry}

    def _pool(
        self, rows: dict[str, Tensor], dense: Tensor, shown: Tensor, segments: Segments
    ) -> Tensor | None:
        """Pooled outputs of the frames that keep a cell, ``[F, D]``."""
        entry = rows.get("pool")
        if entry is not None:
            entry = _ops.expand(entry, shown[segments.frame])
        return self._family.pool(dense, entry, segments.frame.tolist())

    # What a stream does otherwise.

    def _clips(self, lengths: Sequence[int] | None, frames: int) -> list[int]:
        if lengths is None:
            return [frames]
        clips = [int(n) for n in lengths]
        if sum(clips) != frames or min(clips, default=0) < 1:
            raise ValueError(
                f"clip_lengths: expected lengths of at least 1 that add up to the {frames} frames "
                f"of pixel_values, got {clips} (sum {sum(clips)})"
            )
        return clips

    def _gate(self, planes: Tensor, clips: list[int]) -> tuple[Tensor, Tensor]:
        """Kinds and sources ``[T, h, w]`` of clips that know nothing of each other."""
        kinds, sources, emitted = [], [], 0
        for clip in planes.split(clips):
            result = Gate(**_arguments(self.gate_settings)).push(clip)
            kinds.append(result.kind)
            sources.append(result.source + emitted)
            emitted += int((result.kind == 2).sum())
        return torch.cat(kinds), torch.cat(sources)

    def _begin(self, pixel_values: Tensor, hidden: bool) -> TokenTable:
        return TokenTable.empty(self._family.prefix, pixel_values.device)

    def _end(self, table: TokenTable, joined: dict[str, Tensor], shown: Tensor, segments: Segments, pooled: Tensor | None) -> None:
        pass
