"""The wrapper that ``gated`` returns.

Letters: T frames, N cells of a frame, K kept patches, F frames that keep a cell, R packed rows,
P patch side, D features, E numbers of a token.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from patchgate import _ops
from patchgate.encoders import inputs
from patchgate.encoders.packing import KeptAttention, Segments, groups
from patchgate.encoders.pixels import gate_planes, patch_rows
from patchgate.encoders.processor import PixelSpec
from patchgate.encoders.table import TokenTable
from patchgate.encoders.tower import Tower
from patchgate.encoders.work import Work, work
from patchgate.gate import CHANGED, Gate
from patchgate.gate_settings import GateSettings

if TYPE_CHECKING:
    from patchgate.encoders.stream import TowerStream

_GROUP = 2048  # packed rows at a time: the MLP's buffers stay small enough to be reused


class Frames(NamedTuple):
    """The output of a call, and what a stream remembers of it."""

    states: dict[str, Tensor]  # name -> [T, prefix + N, D]
    pooled: Tensor | None  # [T, D]
    table: TokenTable


class GatedTower(nn.Module):
    """What ``gated`` returns: in place of its tower in a larger model, it has the same parameters
    under the same names; what it lacks itself (``config``, ``dtype``, ...) is the tower's.

    For inference, or training without dropout: gradients flow to the weights and the kept pixels.
    Hooks on the tower, its encoder and layers do not run: packed tokens pass through their parts.
    """

    tower: nn.Module  # the original, untouched
    gate_settings: GateSettings
    pixel_spec: PixelSpec
    last_work: Work | None  # what the last call kept and computed

    def __init__(
        self, tower: nn.Module, family: Tower, spec: PixelSpec, settings: GateSettings
    ) -> None:
        super().__init__()
        # Not by setattr: as a submodule it would appear in the names of the parameters. With its
        # own tables shared instead, .to() and load_state_dict() here are the same as there.
        self.__dict__["tower"] = tower
        for name in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
            self.__dict__[name] = tower.__dict__[name]
        self.training = tower.training
        self.gate_settings, self.pixel_spec, self.last_work = settings, spec, None
        self._family = family

    def forward(
        self,
        pixel_values: Tensor,
        interpolate_pos_encoding: bool = False,
        *,
        clip_lengths: Sequence[int] | None = None,
        output_hidden_states: bool | int | Sequence[int] | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> Any:
        """Frames of one clip, in order; or of several, one after the other.

        Args:
            pixel_values: ``[T, 3, H, W]`` float, as the processor makes them.
            clip_lengths: frames of each clip, if there are several. Nothing passes between them.
            output_hidden_states: also the input of the first layer and the output of each (or
                only of those numbered), shown as the last one is.
            return_dict: False: a tuple, as in transformers.

        Returns:
            The tower's ``BaseModelOutputWithPooling``. ``last_hidden_state`` ``[T, N, D]`` (CLIP:
            ``[T, 1 + N, D]``) shows at each cell its source token's features, and as CLS that of
            the last frame that kept a cell. ``pooler_output`` ``[T, D]``, likewise of the last
            frame that kept a cell: CLIP, that CLS after the layer norm; SigLIP, its attention
            pooling of all N cells as that frame shows them.

        Raises:
            TypeError: pixel values that are not floats; options that a packed tower lacks.
            ValueError: shapes, devices or values that do not fit (as RGB, more than a quarter of
                the range outside of it, or NaN); training with dropout or checkpointing;
                interpolated positions; attention maps.
        """
        inputs.check_options(interpolate_pos_encoding, options)
        inputs.check_pixels(pixel_values, self._family)
        pixel_values = pixel_values[..., : self._family.covered, : self._family.covered]
        self._family.check_mode()
        clips = inputs.checked_clips(clip_lengths, len(pixel_values))
        layers, config = self._family.depth, self._family.model.config
        if output_hidden_states is None:
            output_hidden_states = getattr(config, "output_hidden_states", False)
        wanted = inputs.checked_states(output_hidden_states, layers)
        frames = self._call(pixel_values, clips, [f"hidden_{i}" for i in wanted])
        states = [frames.states.get(f"hidden_{i}") for i in range(layers + 1)]
        hidden = tuple(states) if wanted else None  # as there, None if not asked for
        output = self._family.output(frames.states["features"], frames.pooled, hidden)
        if return_dict is None:
            return_dict = getattr(config, "return_dict", True)
        return output if return_dict else output.to_tuple()

    def encode(self, rows: Tensor, cell: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Kept patches to features, with no gate: for callers that have gathered them.

        Args:
            rows: ``[K, 3 * P * P]`` float, normalised, each in ``(3, P, P)`` order.
            cell: ``[K, 2]`` integers (row, column), or ``[K]`` flat.
            cu_seqlens: ``[T + 1]`` integers: frame t's are ``cu_seqlens[t]:cu_seqlens[t + 1]``.

        Returns:
            ``[K, D]``: what the tower's ``last_hidden_state`` would show at these cells. CLS,
            which each frame that keeps a cell has, is left out.

        Raises:
            TypeError, ValueError: tensors that do not fit, and training as in a call.
        """
        self._family.check_mode()
        cell, kept = inputs.checked_rows(rows, cell, cu_seqlens, self._family)
        segments = Segments.of(kept, self._family.prefix)
        self.last_work = work(self._family, len(kept), segments.lengths)
        features = self._encode(rows, cell, kept, []).get("features")
        if features is None:
            return self._family.weight.new_empty((0, self._family.weight.shape[0]))
        return features[segments.patch_row]

    def stream(self) -> "TowerStream":
        """A tower that goes on where its last call ended: pushes of a clip equal the whole clip."""
        from patchgate.encoders.stream import TowerStream  # which is a GatedTower

        return TowerStream(self.tower, self._family, self.pixel_spec, self.gate_settings)

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

    def _call(self, pixel_values: Tensor, clips: list[int], hidden: list[str]) -> Frames:
        planes = gate_planes(pixel_values, self.pixel_spec.mean, self.pixel_spec.std)
        kind, source = self._gate(planes, clips)  # [T, h, w] each
        table = TokenTable.empty(self._family.prefix, pixel_values.device)
        return self._show(pixel_values, kind, source.flatten(1), table, hidden)

    def _gate(self, planes: Tensor, clips: list[int]) -> tuple[Tensor, Tensor]:
        """Kinds and sources ``[T, h, w]`` of clips that know nothing of each other."""
        kinds, sources, emitted = [], [], 0
        for clip in planes.split(clips):
            result = Gate(**asdict(self.gate_settings)).push(clip)
            kinds.append(result.kind)
            sources.append(result.source + emitted)
            emitted += int((result.kind == CHANGED).sum())
        return torch.cat(kinds), torch.cat(sources)

    def _show(
        self,
        pixel_values: Tensor,
        kind: Tensor,  # [T, h, w]
        source: Tensor,  # [T, N]
        table: TokenTable,
        hidden: list[str],
    ) -> Frames:
        """Encodes what was kept, and shows every cell the token that explains it."""
        index, cu_seqlens, _ = _ops.compact(kind, kind.numel())
        kept = cu_seqlens.long().diff()  # [T]
        index = index[: int(cu_seqlens[-1])]  # [K]
        segments = Segments.of(kept, self._family.prefix)
        self.last_work = work(self._family, len(kept), segments.lengths)

        rows = patch_rows(pixel_values, self._family.patch, index)
        new = self._encode(rows, index % self._family.cells, kept, hidden)
        grown = table.grown(new, segments, source)
        states = {name: grown.show(name) for name in ("features", *hidden)}
        entry = grown.show("pool", segments.frame) if "pool" in grown.rows else None
        pooled = None
        if segments.lengths:
            pooled = self._family.pool(states["features"], entry, segments.frame.tolist())
        return Frames(states, grown.pooled_frames(pooled), grown)

    def _encode(
        self, rows: Tensor, cell: Tensor, kept: Tensor, hidden: list[str]
    ) -> dict[str, Tensor]:
        """What is known of each packed token, ``[R, E]`` by name; nothing if none was kept."""
        ends, parts = [0, *kept.cumsum(0).tolist()], []
        for run in groups(kept, self._family.prefix, _GROUP):
            tokens = slice(ends[run.start], ends[run.stop])
            if tokens.start < tokens.stop:
                parts.append(self._encode_group(rows[tokens], cell[tokens], kept[run], hidden))
        names = parts[0] if parts else {}
        return {name: torch.cat([part[name] for part in parts]) for name in names}

    def _encode_group(
        self, rows: Tensor, cell: Tensor, kept: Tensor, hidden: list[str]
    ) -> dict[str, Tensor]:
        segments = Segments.of(kept, self._family.prefix)
        known, state = {}, rows
        x = segments.interleave(self._family.embed(rows, cell), self._family.prefix_tokens())
        run = self._family.run(x, segments.cells(cell), KeptAttention(segments))
        for i, state in enumerate(run):
            if f"hidden_{i}" in hidden:
                known[f"hidden_{i}"] = state
        known["features"] = self._family.leave(state)
        entry = self._family.pool_entry(known["features"])
        return known if entry is None else {**known, "pool": entry}
