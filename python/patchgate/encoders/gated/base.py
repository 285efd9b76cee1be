"""The calls that every gated tower has; their output has the tower's own form, or is packed.

Letters: T frames, f frames of a tubelet, H W pixels, h w cells, N cells of a frame, M tokens of a
frame, K kept cells, P patch side, D features of a token, E features of a cell.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, get_args

from torch import Tensor, nn

from patchgate._check import checked_choice
from patchgate.encoders.gated import inputs
from patchgate.encoders.gated.emitted import checked_times, emitted_tokens
from patchgate.encoders.gated.outside import outside_graphs
from patchgate.encoders.gated.pixels import gate_planes
from patchgate.encoders.gated.stand_in import StandIn
from patchgate.encoders.run.clip import ClipOutput, joined_states
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.packed import Kept
from patchgate.encoders.run.session import Session
from patchgate.encoders.run.work import Work, work
from patchgate.encoders.tower import Tower
from patchgate.gate import GateResult, GateSettings
from patchgate.gather import PixelSpec
from patchgate.tokens import VideoTokens

Output = Literal["dense", "tokens"]


class BaseTower(StandIn):
    """The calls of ``GatedTower`` and of ``TowerStream``.

    A call of a ``GatedTower`` opens a session for each clip; a ``TowerStream`` keeps one.
    """

    gate_settings: GateSettings
    fidelity: Fidelity
    pixel_spec: PixelSpec
    output: Output  # the form of a call's output
    last_work: Work | None  # the cells that the last call kept, and its operations

    def __init__(
        self,
        model: nn.Module,
        tower: Tower,
        spec: PixelSpec,
        settings: GateSettings,
        fidelity: Fidelity,
        output: Output = "dense",
    ) -> None:
        super().__init__(model)
        self.gate_settings, self.fidelity, self.pixel_spec = settings, fidelity, spec
        self.output = checked_choice("output", output, get_args(Output))
        self.last_work = None
        self._tower = tower

    @outside_graphs
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
        """Encodes the frames of one clip, in order, or of several clips one after the other.

        Args:
            pixel_values: ``[T, 3, H, W]`` float, as the processor makes them.
            clip_lengths: the number of frames of each clip, if there are several. Clips are
                encoded independently.
            output_hidden_states: return the input of the first layer and the output of each layer,
                too, or only the states of these numbers. Each cell shows those of its source token.
            return_dict: False returns a tuple, as in transformers.
            options: further options of the tower's own call.

        Returns:
            The tower's ``BaseModelOutputWithPooling``. ``last_hidden_state`` ``[T, N, D]`` (CLIP:
            ``[T, 1 + N, D]``) has at each cell the features of its source token, and as CLS that
            of the last frame that kept a cell. ``pooler_output`` ``[T, D]`` is also that of the
            last frame that kept a cell: CLIP normalises that CLS, SigLIP pools all N cells as
            that frame shows them. The call synchronises.

        Raises:
            TypeError: pixel values are not floats, or an option is not supported.
            ValueError: shapes or devices do not fit; pixel values are NaN or lie outside of RGB's
                range by more than a quarter of it; the tower is in training with dropout or
                checkpointing; interpolated positions or attention maps are asked for.
        """
        options["interpolate_pos_encoding"] = interpolate_pos_encoding
        if clip_lengths is not None:
            options["clip_lengths"] = clip_lengths
        if self.output == "tokens":
            if output_hidden_states or return_dict is False:
                raise ValueError('output="tokens": there are no hidden states and no tuples')
            return self.tokens(pixel_values, **options)
        call = self._prepared(pixel_values, options, output_hidden_states, return_dict)
        return call[-1](*self._states(*call[:-1]))

    def _prepared(
        self,
        pixel_values: Tensor,
        options: dict[str, Any],
        output_hidden_states: Any,
        return_dict: bool | None,
    ) -> tuple[Tower, Tensor, list[int], list[int], Callable[..., Any]]:
        """Returns the arguments of ``_states``, and what makes the call's output of its result."""
        tower, pixel_values, clips = self._opened(pixel_values, options)
        layers = tower.computed_layers
        config = getattr(tower.model, "config", None)  # timm's have none
        if output_hidden_states is None:
            output_hidden_states = getattr(config, "output_hidden_states", False)
        wanted = inputs.checked_states(output_hidden_states, tower)
        needed = sorted({*wanted, layers}) if tower.shows_last else wanted
        whole = getattr(config, "return_dict", True) if return_dict is None else return_dict

        def answer(states: dict[str, Tensor], pooled: Tensor | None) -> Any:
            hidden = [states.get(f"hidden_{i}") if i in wanted else None for i in range(layers + 1)]
            asked = tuple(hidden) if wanted else None  # None for those that were not asked for
            output = tower.output(states["features"], pooled, asked, states.get(f"hidden_{layers}"))
            return output if whole or isinstance(output, Tensor) else output.to_tuple()

        return tower, pixel_values, clips, needed, answer

    @outside_graphs
    def tokens(
        self,
        pixel_values: Tensor,
        *,
        pts_seconds: Tensor,
        duration_seconds: Tensor | None = None,
        **options: Any,
    ) -> VideoTokens:
        """Encodes one clip and packs the result: each feature once, where it was computed.

        The tokens are the cells that the gate kept. With a tolerance, refresh or new positions,
        they are also the other cells that were computed. ``kind`` is always the gate's.

        Args:
            pixel_values, options: as in a call, of one clip.
            pts_seconds: ``[T]`` floats, the time at which each frame (or a tubelet's first) is
                shown.
            duration_seconds: ``[T]`` floats, how long each is shown. None: until the next one; the
                last one as long as the one before it.

        Returns:
            ``VideoTokens`` with the features on the tower's device and all else on the CPU.
            ``dense()`` gives the ``last_hidden_state`` of a call without its prefix tokens
            (Qwen-VL: its ``pooler_output``, followed by the features of deepstack; see
            ``language.positions.split_deepstack``). A stream returns the frames of this push;
            tokens of earlier pushes that these frames still show come first, as in a ``slice``.
            The call synchronises.

        Raises:
            TypeError, ValueError: as in a call; there are several clips; times do not fit.
        """
        tower, pixel_values, clips = self._opened(pixel_values, options)
        if len(clips) != 1:
            raise ValueError(f"tokens: expected one clip, got {len(clips)}")
        times = checked_times(pts_seconds, duration_seconds, clips[0])
        before = self._frames_before()
        # Other calls of the same stream need the last state.
        needed = [tower.computed_layers] if tower.shows_last else []
        [(frames, result)] = self._call(tower, pixel_values, clips, needed)
        return emitted_tokens(tower, self.gate_settings, frames, result, times, before)

    @outside_graphs
    def encode(
        self, rows: Tensor, cell: Tensor, cu_seqlens: Tensor, source: Tensor | None = None
    ) -> Tensor:
        """Encodes kept patches without a gate, for callers that gate and gather themselves.

        Cells that moved are embedded from their source tokens' pixels (``moved="source"``), for
        their own are not given.

        Args:
            rows: ``[K, 3 * P * P]`` float, normalised, each in ``(3, P, P)`` order.
            cell: ``[K, 2]`` integers (row, column), or ``[K]`` flat.
            cu_seqlens: ``[T + 1]`` integers; frame t has the rows
                ``cu_seqlens[t]:cu_seqlens[t + 1]``.
            source: ``[T, h, w]`` integers: which of the K rows explains each cell, numbered in
                order of frames and cells as ``GateResult.source`` is. Only ``context="kept"`` can
                do without it.

        Returns:
            ``[K, D]``: the tower's ``last_hidden_state`` at these cells in their own frames,
            without CLS. The call synchronises.

        Raises:
            TypeError, ValueError: tensors do not fit, or the tower is in training as in a call.
        """
        tower, kept, order = self._given(rows, cell, cu_seqlens, source, 0)
        if not len(kept.patches):
            return tower.weight.new_empty((0, tower.width))
        session = Session(self.fidelity.without_frames())
        output = session.encode(tower, kept, [], None, dense=False)
        self.last_work = work(tower, output.runs)
        return output.kept[order]

    def _given(
        self, rows: Tensor, cell: Tensor, cu_seqlens: Tensor, source: Tensor | None, emitted: int
    ) -> tuple[Tower, Kept, Tensor]:
        """Checks the arguments of ``encode``.

        Returns:
            The tower, the rows in order of their cells, and the permutation that brings results
            back into the caller's order.
        """
        if self.fidelity.pass_over is not None:
            raise ValueError(
                "encode: not available with pass_over, for cells are computed from later frames' "
                "pixels then; gate the tower without it"
            )
        self._tower.check_calls()
        tower, side = self._tower, self._tower.patch * self._tower.merge
        if isinstance(source, Tensor) and source.dim() == 3:
            tower = tower.sized(source.shape[1] * side, source.shape[2] * side)
        tower.check_mode()
        mask, order = inputs.checked_rows(rows, cell, cu_seqlens, tower)
        if source is None and self.fidelity.context == "full":
            raise ValueError(
                'source: context="full" needs to know which token explains each cell '
                "(GateResult.source)"
            )
        source = inputs.checked_source(source, mask, emitted)
        each = tower.tokens_per_cell
        rows = rows.unflatten(0, (-1, each))[order].flatten(0, 1)
        return tower, Kept(rows, mask, source, mask, len(order)), order.argsort()

    def sized(self, height: int, width: int) -> Tower:
        """Returns the ``Tower`` for pictures of a size in pixels.

        The pipeline uses it, which gates and gathers by itself and holds its own ``Session``.

        Raises:
            ValueError: the tower is in training, has hooks or cannot take the size.
        """
        self._tower.check_calls()
        tower = self._tower.sized(height, width)
        tower.check_mode()
        return tower

    def _of_model(self, name: str) -> Any:
        if name in self._tower.calls:
            return partial(self, **self._tower.calls[name])
        if name in self._tower.dense:
            raise AttributeError(
                f"{name} would compute every cell; call the gated tower itself, or ask the "
                "original, .tower"
            ) from None
        return super()._of_model(name)

    def extra_repr(self) -> str:
        return f"{type(self.tower).__name__}, {self.gate_settings}, {self.fidelity}"

    # The path of a call: gate, then encode.

    def _opened(
        self, pixel_values: Tensor, options: dict[str, Any]
    ) -> tuple[Tower, Tensor, list[int]]:
        """Checks the arguments of a call.

        Returns:
            The tower for these frames, the pixels that it covers ``[T * f, 3, H, W]``, and the
            number of frames (or tubelets) of each clip.
        """
        self._tower.check_calls()
        tower, pixel_values = self._tower.opened(pixel_values, options)
        clip_lengths = options.pop("clip_lengths", None)
        inputs.check_options(options.pop("interpolate_pos_encoding", False), options)
        inputs.check_pixels(pixel_values, tower)
        height, width = tower.covered
        tower.check_mode()
        clips = inputs.checked_clips(clip_lengths, len(pixel_values) // tower.temporal_patch)
        return tower, pixel_values[..., :height, :width], clips

    def _states(
        self, tower: Tower, frames: Tensor, clips: list[int], hidden: list[int]
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Returns the states of all frames (see ``ClipOutput``), and ``pooler_output``."""
        return joined_states([part for part, _ in self._call(tower, frames, clips, hidden)])

    @abstractmethod
    def _call(
        self, tower: Tower, frames: Tensor, clips: list[int], hidden: list[int]
    ) -> list[tuple[ClipOutput, GateResult]]:
        """Returns each clip's output and the gate's result for it; sets ``last_work``."""

    @abstractmethod
    def _frames_before(self) -> int:
        """Returns how many frames of the same clip earlier calls had."""

    def _planes(self, pixel_values: Tensor) -> Tensor:
        return gate_planes(pixel_values, self.pixel_spec.mean, self.pixel_spec.std)
