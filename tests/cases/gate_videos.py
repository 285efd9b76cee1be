"""Made-up videos for the gate's tests, from a seed: what cameras, objects, noise and cuts do.

All are uint8 ``[T, C, H, W]``. Hypothesis strategies for gates and videos stand at the end.
"""

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

BLOCK = 3  # pixels: the grain of the textures, so that neighbouring vectors differ clearly


def texture(size: tuple[int, int], seed: int, c: int = 1, levels: int = 256) -> Tensor:
    """Random blocks, ``[C, H, W]``; with few levels many vectors tie."""
    random = torch.Generator().manual_seed(seed)
    coarse = [-(-side // BLOCK) for side in size]
    values = torch.randint(0, levels, (c, *coarse), generator=random) * (255 // (levels - 1))
    fine = values.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)
    return fine[:, : size[0], : size[1]].to(torch.uint8)


def still(size: tuple[int, int], t: int, seed: int = 0, c: int = 1) -> Tensor:
    """One picture, again and again."""
    return texture(size, seed, c).expand(t, -1, -1, -1).contiguous()


def pan(size: tuple[int, int], t: int, step: tuple[int, int], seed: int = 0, c: int = 1,
        levels: int = 256) -> Tensor:  # fmt: skip
    """The camera moves: frame t shows what frame t - 1 showed at ``+ step``."""
    reach = [side + abs(d) * t for side, d in zip(size, step, strict=True)]
    world = texture((reach[0], reach[1]), seed, c, levels)
    frames = []
    for i in range(t):
        top, left = (i * d if d >= 0 else (i - t) * d for d in step)
        frames.append(world[:, top : top + size[0], left : left + size[1]])
    return torch.stack(frames)


def drift(size: tuple[int, int], t: int, quarters: tuple[int, int], seed: int = 0,
          c: int = 1, grain: int = 6) -> Tensor:  # fmt: skip
    """The camera moves over a smooth page, by some quarters of a pixel a frame; grain in pixels."""
    random = torch.Generator().manual_seed(seed)
    reach = [4 * side + abs(d) * t for side, d in zip(size, quarters, strict=True)]
    coarse = torch.rand((1, c, *(side // (4 * grain) + 2 for side in reach)), generator=random)
    page = interpolate(coarse, reach, mode="bicubic").clamp(0, 1) * 255
    views = []
    for i in range(t):
        top, left = (i * d if d >= 0 else (i - t) * d for d in quarters)
        views.append(page[..., top : top + 4 * size[0], left : left + 4 * size[1]])
    return avg_pool2d(torch.cat(views), 4).round().to(torch.uint8)


def with_object(video: Tensor, step: tuple[int, int], side: int = 12, seed: int = 1) -> Tensor:
    """A textured square that moves by ``step`` in the picture, whatever the camera does."""
    t, c, height, width = video.shape
    side = min(side, height, width)
    patch = texture((side, side), seed, c)
    video = video.clone()
    for i in range(t):
        top, left = (height - side) // 2 + i * step[0], (width - side) // 2 + i * step[1]
        top, left = max(0, min(top, height - side)), max(0, min(left, width - side))
        video[i, :, top : top + side, left : left + side] = patch
    return video


def noisy(video: Tensor, level: int, seed: int = 2) -> Tensor:
    """Uniform noise in ``-level..level``."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randint(-level, level + 1, video.shape, generator=random)
    return (video.short() + noise.short()).clamp(0, 255).to(torch.uint8)


def fade(video: Tensor, per_frame: int) -> Tensor:
    """Brighter by ``per_frame`` grey levels every frame."""
    ramp = torch.arange(len(video)).view(-1, 1, 1, 1) * per_frame
    return (video.short() + ramp).clamp(0, 255).to(torch.uint8)


def relit(video: Tensor, seed: int) -> Tensor:
    """In another light every frame: one gain and offset that wander; now and then it stays."""
    random = torch.Generator().manual_seed(seed)
    steps = torch.rand((len(video), 2, 1, 1, 1), generator=random)
    steps[steps[:, 0, 0, 0, 0] < 0.25] = 0.5  # the light stays
    gain, level = ((steps - 0.5) * torch.tensor([0.5, 30.0]).view(2, 1, 1, 1)).cumsum(0).unbind(1)
    shown = (video.float() - 128) * (gain.clamp(-2, 1)).exp() + 128 + level
    return shown.round().clamp(0, 255).to(torch.uint8)


def stripes(size: tuple[int, int], t: int, period: int, c: int = 1) -> Tensor:
    """Diagonal stripes that wander: every vector has many equals, so that ties decide."""
    y, x, i = (torch.arange(n) for n in (*size, t))
    phase = y[:, None] + x + 3 * i[:, None, None]  # [T, H, W]
    shown = ((phase % period) * 255 // max(1, period - 1)).to(torch.uint8)
    return shown[:, None].expand(-1, c, -1, -1).contiguous()


def faint(video: Tensor, divisor: int) -> Tensor:
    """Low contrast, around the bound between flat and textured."""
    return video // divisor + 64


def any_video(size: tuple[int, int], c: int, seed: int) -> Tensor:
    """A few segments of anything, with the seed's luck; ends with a return to its beginning."""
    random = torch.Generator().manual_seed(seed)

    def luck(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=random))

    segments = []
    for _ in range(luck(1, 3)):
        levels, t = (256, 256, 2, 4)[luck(0, 3)], luck(2, 6)
        step = (luck(-3, 3), luck(-3, 3)) if luck(0, 2) else (0, 0)
        segment = pan(size, t, step, luck(0, 10**6), c, levels)
        if not luck(0, 3):
            segment = drift(size, t, (luck(-9, 9), luck(-9, 9)), luck(0, 10**6), c)
        if not luck(0, 5):
            segment = stripes(size, t, luck(2, 5), c)
        if not luck(0, 2):
            segment = with_object(segment, (luck(-5, 5), luck(-5, 5)), luck(4, 16))
        if not luck(0, 2):
            segment = faint(segment, luck(4, 24))
        if not luck(0, 3):
            segment = fade(segment, luck(-9, 9))
        if not luck(0, 2):
            segment = relit(segment, luck(0, 10**6))
        if not luck(0, 2):
            segment = noisy(segment, luck(1, 24), luck(0, 10**6))
        segments.append(segment)
    segments.append(segments[0][:2])
    return torch.cat(segments)


def busy_video(seed: int, t: int = 20) -> Tensor:
    """A pan with an object, then a cut, with noise: ``[t, 3, 24, 32]``."""
    first = with_object(pan((24, 32), t // 2, (0, 2), seed, c=3), (2, -3), seed=seed + 50)
    second = pan((24, 32), t - t // 2, (1, 0), seed + 100, c=3)
    return noisy(torch.cat([first, second]), 3, seed)


MAP_VALUES = (0.0, 0.3, 0.5, 1.0, 1.0, 1.9, 4.0, float("inf"))


def any_map(h: int, w: int, seed: int) -> Tensor:
    """Factors ``[h, w]`` of MAP_VALUES."""
    random = torch.Generator().manual_seed(seed)
    return torch.tensor(MAP_VALUES)[torch.randint(0, len(MAP_VALUES), (h, w), generator=random)]


@st.composite
def gate_settings(draw: st.DrawFn, **fixed: Any) -> dict[str, Any]:
    """Settings of a gate, every rule on or off."""
    precision = draw(st.sampled_from([1, 1, 2, 4]))
    patch, sub_blocks = draw(st.sampled_from([(4, 1), (4, 2), (6, 3), (8, 2), (14, 2), (7, 7)]))
    drawn = {
        "threshold": draw(st.sampled_from([4, 4, 0, 1, 2.7, 9, 30, 255])),
        "search_radius": draw(st.sampled_from([0, 1, 2, 3, 5, 8])),
        "on_motion": draw(st.sampled_from(["encode", "camera", "camera", "reuse"])),
        "scene_cut": draw(st.sampled_from([None, 0.8, 0.8, 0.5, 0.0, 1.0])),
        "max_age": draw(st.sampled_from([None, None, 1, 2, 4])),
        "patch": patch,
        "merge": draw(st.sampled_from([1, 1, 2])),
        "temporal_patch": draw(st.sampled_from([1, 1, 2])),
        "sub_blocks": sub_blocks,
        "chroma": draw(st.booleans()),
        "motion_precision": precision,
        "hysteresis": draw(st.sampled_from([None, None, 0.5, 0.0, 0.9, 1.0])),
        "noise": draw(st.sampled_from([None, None, "adaptive"])),
        "illumination": draw(st.sampled_from([None, "global"])),
    }
    return drawn | fixed


@st.composite
def grids(draw: st.DrawFn, settings: dict[str, Any]) -> tuple[int, int]:
    """``(h, w)`` in cells, from a single one; small, because the oracle is slow."""
    most = 5 if settings["patch"] * settings["merge"] < 14 else 3
    return draw(st.integers(1, most)), draw(st.integers(1, most))
