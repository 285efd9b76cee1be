"""TowerStreams: several streams of one tower, whose frames pass through it together.

Letters: T frames, H W pixels.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from patchgate._check import checked_count
from patchgate.encoders.run.clip import joined_states
from patchgate.encoders.run.together import Steps, together
from patchgate.gate.calls import Calls, Undo


class TowerStreams:
    """Several cameras and one tower: ``tower.stream(streams=S)`` makes it.

    Each stream has its own gate and its own memory, as ``TowerStream`` has. Of all frames that are
    pushed together, the kept cells (and what wakes beside them) are packed, and pass through each
    layer in one piece: attention finds its streams by ``cu_seqlens``. So a push costs what its kept
    cells cost together, and not one call of the tower for each camera. A stream's output is that of
    a ``TowerStream`` of its own, up to the rounding of larger products of matrices; what its gate
    finds is the same, bit for bit.

    A push that fails in any way leaves all streams as they were. Only one thread may use it at a
    time.
    """

    def __init__(self, streams: Sequence[Any]) -> None:
        """``streams``: those of one tower, in their initial state, that nobody else uses."""
        self._streams = list(streams)
        self._calls = Calls("streams")

    def __len__(self) -> int:
        return len(self._streams)

    def __repr__(self) -> str:
        return f"TowerStreams({len(self)} streams of {self._streams[0].extra_repr()})"

    def push(
        self,
        pixel_values: Sequence[Tensor | None] | Mapping[int, Tensor] | Tensor,
        *,
        output_hidden_states: bool | int | Sequence[int] | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> list[Any]:
        """Encodes the next frames of some streams. Synchronises.

        Args:
            pixel_values: the frames of each stream, ``[T, 3, H, W]`` float as its processor makes
                them, or None for a stream that has no new ones; the number of frames may differ.
                Or a dict of these by number, or one tensor ``[S, T, 3, H, W]``.
            output_hidden_states, return_dict, options: as in a call of ``GatedTower``.

        Returns:
            For each stream what a call of its own ``TowerStream`` returns; None where there were no
            frames.

        Raises:
            TypeError, ValueError: as in a call; there is no such stream.
            RuntimeError: another thread is in a call.
        """
        given = self._checked(pixel_values)
        wanted = output_hidden_states, return_dict
        return self._calls.run(self._mark, lambda: self._pushed(given, wanted, options))

    def reset(self, streams: Iterable[int] | None = None) -> None:
        """Forgets the frames of all streams, or of those with these numbers."""
        numbers = range(len(self)) if streams is None else [self._number(s) for s in streams]
        self._calls.run(self._mark, lambda: [self._streams[s].reset() for s in numbers])

    def __getitem__(self, stream: int) -> Any:
        """Returns one stream, to look at it or to save its state; push frames to all of them here.

        A call of the stream itself goes on from the same state.
        """
        return self._streams[self._number(stream)]

    def _number(self, stream: Any) -> int:
        return checked_count("stream", stream, 0, len(self) - 1)

    def _checked(self, given: Any) -> dict[int, Tensor]:
        """Returns the frames by the numbers of their streams, in order."""
        if isinstance(given, Mapping):
            found = {self._number(stream): frames for stream, frames in given.items()}
            return dict(sorted(found.items()))
        if not isinstance(given, Sequence | Tensor):
            raise TypeError(
                "pixel_values: expected frames of each stream, as a list with None where there are "
                f"none, a dict by number, or a tensor [S, T, 3, H, W]; got {type(given).__name__}"
            )
        if len(given) != len(self):
            raise ValueError(
                f"pixel_values: expected frames (or None) of each of {len(self)} streams, got "
                f"{len(given)}; a dict by number names only some of them"
            )
        return {stream: frames for stream, frames in enumerate(given) if frames is not None}

    def _mark(self) -> Undo:
        undo = [stream._mark() for stream in self._streams]

        def back() -> None:
            for each in undo:
                each()

        return back

    def _pushed(
        self, given: dict[int, Tensor], wanted: tuple[Any, Any], options: dict[str, Any]
    ) -> list[Any]:
        calls: list[Steps[Any]] = []
        answers: list[Callable[..., Any]] = []
        for stream, frames in given.items():
            own = self._streams[stream]
            if own.output == "tokens":
                raise ValueError('streams: only output="dense"; ask a TowerStream for tokens')
            tower, pixels, clips, needed, answer = own._prepared(frames, dict(options), *wanted)
            if len(clips) > 1:
                raise ValueError("clip_lengths: a stream is one clip")
            calls.append(own._calling(tower, pixels, needed))
            answers.append(answer)
        outputs: list[Any] = [None] * len(self)
        for stream, answer, (output, _) in zip(given, answers, together(calls), strict=True):
            outputs[stream] = answer(*joined_states([output]))
        return outputs
