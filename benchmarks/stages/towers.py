"""Stage c: so400m in bfloat16 behind the gate, in pushes of 32 frames, against dense and RLT.

Weights are random, so no figure here depends on a tolerance: it is infinite. In every frame a share
of the cells shows something new, and the others nothing. Ways take turns, push by push.

Letters: T frames of a push, N cells of a frame, H W pixels, P patch side.
"""

import math
import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from statistics import median
from typing import Any

import torch
from gpu.device import Gpu
from gpu.device import here as device
from peers import rlt
from torch import Tensor, nn
from transformers import SiglipVisionConfig, SiglipVisionModel

import patchgate
from patchgate.encoders.patch_grid import patch_rows
from stages import Item, NotAvailable

__all__ = ["device", "items"]

SHARES = (0.1, 0.01, 0.3, 1.0)
TARGET = {0.1: 5.0}  # times faster than dense, at this share
WARM, TIMED = 2, 5  # pushes
SO400M = {
    "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27,
    "num_attention_heads": 16, "image_size": 384, "patch_size": 14,
}  # fmt: skip
TINY = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
    "num_attention_heads": 3, "image_size": 32, "patch_size": 8,
}  # fmt: skip
COLOUR: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "scene_cut": None}


def items(device: Gpu) -> list[Item]:
    """The most telling first; what compiles for long comes last."""
    bench = Bench(device)
    found = [
        Item("dense", bench.dense, 60),
        *(Item(f"residual, {share:.0%} kept", partial(bench.residual, share), 40)
          for share in SHARES),
        Item("RLT's mask, 10% kept", partial(bench.masked, 0.1), 40),
        Item("CUDA graph, 10% kept", partial(bench.captured, 0.1), 40),
        *(Item(f"{n} streams in one call", partial(streams, n), 5) for n in (8, 32)),
        Item("torch.compile, 10% kept", partial(bench.compiled, 0.1), 90),
    ]  # fmt: skip
    return [item._replace(kernel="towers") for item in found]


class Bench:
    """The tower, and clips of which a share of the cells changes."""

    def __init__(self, device: Gpu) -> None:
        self._device = device
        self._frames = 4 if device.small else 32  # T
        self._pushes = (1, 1) if device.small else (WARM, TIMED)

    @cached_property
    def _model(self) -> nn.Module:
        torch.manual_seed(0)
        with torch.device(self._device.at):
            sizes = TINY if self._device.small else SO400M
            model = SiglipVisionModel(SiglipVisionConfig(**sizes))
        return model.to(torch.bfloat16).eval()

    @property
    def _sides(self) -> tuple[int, int]:
        """P, and the pixels that whole patches cover."""
        config = self._model.config
        return config.patch_size, config.image_size // config.patch_size * config.patch_size

    def clip(self, share: float, frames: int) -> Tensor:
        """``[T, 3, H, W]`` as the processor makes it: in each frame other cells are new."""
        patch, side = self._sides
        image, cells = self._model.config.image_size, side // patch
        random = torch.Generator(self._device.at).manual_seed(0)
        shown = torch.randint(0, 256, (3, image, image), generator=random, device=self._device.at)
        found = []
        for _ in range(frames):
            new = torch.rand(cells, cells, generator=random, device=self._device.at) < share
            mask = torch.zeros_like(shown[0], dtype=torch.bool)
            mask[:side, :side] = new.repeat_interleave(patch, 0).repeat_interleave(patch, 1)
            drawn = torch.randint(0, 256, shown.shape, generator=random, device=self._device.at)
            shown = torch.where(mask, drawn, shown)
            found.append(((shown / 255 - 0.5) / 0.5).to(torch.bfloat16))
        return torch.stack(found)

    def in_turn(self, share: float, ways: dict[str, Callable[[Tensor], Any]]) -> dict[str, float]:
        """Median seconds of a push of each way."""
        warm, timed = self._pushes
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        clip = self.clip(share, self._frames * (warm + timed))
        for i, push in enumerate(clip.split(self._frames)):
            for name, way in ways.items():
                self._device.finish()
                begin = time.perf_counter()
                way(push)
                self._device.finish()
                if i >= warm:
                    seconds[name].append(time.perf_counter() - begin)
        return {name: median(spent) for name, spent in seconds.items()}

    def told(self, seconds: dict[str, float], ours: str) -> dict[str, Any]:
        """Milliseconds a push of each way, and what ours saves."""
        faster = seconds["dense"] / seconds[ours]
        return {
            "ran": True,
            "frames of a push": self._frames,
            **{f"{name} ms": round(1e3 * spent, 3) for name, spent in seconds.items()},
            "times faster than dense": round(faster, 2),
            "frames/s": round(self._frames / seconds[ours], 1),
        }

    @torch.inference_mode()
    def dense(self) -> Iterator[dict[str, Any]]:
        """What all others are set against."""
        begin = time.perf_counter()
        parameters = sum(each.numel() for each in self._model.parameters())
        yield {"parameters": parameters, "making it, s": round(time.perf_counter() - begin, 1)}
        seconds = self.in_turn(1.0, {"dense": self._model})
        yield self.told(seconds, "dense")

    @torch.inference_mode()
    def residual(self, share: float) -> Iterator[dict[str, Any]]:
        """A stream that goes on."""
        stream = patchgate.gated(self._model, tolerance=math.inf, **COLOUR).stream()
        seconds = self.in_turn(share, {"dense": self._model, "gated": stream})
        row = self.told(seconds, "gated")
        work = stream.last_work
        row |= {"kept share": round(work.kept_share, 4), "FLOP ratio": round(work.flops_ratio, 2)}
        if share in TARGET and not self._device.small:
            target = TARGET[share]
            row |= {"target": target, "reached": row["times faster than dense"] >= target}
        yield row

    @torch.inference_mode()
    def masked(self, share: float) -> Iterator[dict[str, Any]]:
        """Kept patches by RLT's mask, which attend to those of their own frame alone."""
        patch, side = self._sides
        gated = patchgate.gated(self._model, context="kept", **COLOUR)
        kept, last = 0.0, torch.empty(0)

        def way(push: Tensor) -> None:
            nonlocal kept, last
            push = push[..., :side, :side]
            known = torch.cat([last, push]) if len(last) else push
            keep = rlt.keep_mask(known, patch)[-len(push) :]  # [T, h, w]
            last = push[-1:]
            index = keep.flatten().nonzero().flatten()  # [K]
            lengths = keep.flatten(1).sum(1)
            ends = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
            rows = patch_rows(push, patch, index)
            gated.encode(rows, index % keep[0].numel(), ends)
            kept = len(index) / keep.numel()

        seconds = self.in_turn(share, {"dense": self._model, "RLT": way})
        yield {**self.told(seconds, "RLT"), "kept share": round(kept, 4)}

    def _fixed(self, share: float) -> tuple[Any, Tensor]:
        """A tower of fixed capacity, and a clip that fits: its first frame is kept whole."""
        patch, side = self._sides
        cells = (side // patch) ** 2
        capacity = cells + math.ceil(1.3 * share * cells * (self._frames - 1)) + 4
        fixed = patchgate.gated(
            self._model, tolerance=math.inf, moved="lend", capacity=capacity, **COLOUR
        )
        return fixed, self.clip(share, self._frames)

    @torch.inference_mode()
    def captured(self, share: float) -> Iterator[dict[str, Any]]:
        """A clip of its own, without and with a graph."""
        fixed, clip = self._fixed(share)
        yield self._replayed("graph", fixed, self._device.captured(lambda: fixed(clip)), clip)

    @torch.inference_mode()
    def compiled(self, share: float) -> Iterator[dict[str, Any]]:
        """The same, compiled as a whole."""
        fixed, clip = self._fixed(share)
        compiled = torch.compile(fixed, fullgraph=True, backend=self._device.backend)
        begin = time.perf_counter()
        compiled(clip)
        self._device.finish()
        yield {"compile seconds": round(time.perf_counter() - begin, 1)}
        yield self._replayed("compiled", fixed, lambda: compiled(clip), clip)

    def _replayed(
        self, name: str, fixed: Any, call: Callable[[], Any], clip: Tensor
    ) -> dict[str, Any]:
        times = {
            "dense": self._device.time_us(lambda: self._model(clip))[1] / 1e6,
            "fixed": self._device.time_us(lambda: fixed(clip))[1] / 1e6,
            name: self._device.time_us(call)[1] / 1e6,
        }
        fixed.check()
        return {**self.told(times, name), "capacity": fixed.capacity}


def streams(count: int) -> Iterator[dict[str, Any]]:
    """Cells of many streams in one batch."""
    raise NotAvailable(f"a call takes one stream: {count} of them are not packed together yet")
    yield {}
