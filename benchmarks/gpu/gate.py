"""The motion gate on frames that stand still, flicker, glide, fade, or have nothing in common."""

from typing import Any

import torch
from torch import Tensor

from gpu import Case, counted, gates
from gpu.floors import Work
from gpu.frame_grid import SIZE, on_rows, surface, tables
from patchgate.gate import GateSettings

op = torch.ops.patchgate.gate


def cases(small: bool) -> list[Case]:
    """Still frames with and without a search, a tenth of the cells, all cells, many streams, motion
    to quarters of a pixel; a light that changes; cameras side by side; pictures that come back; and
    the grid before it, on surfaces.
    """
    t, many = (3, 2) if small else (32, 32)
    apart: dict[str, Any] = {"search_radius": 0, "scene_cut": None}
    quarters: dict[str, Any] = {"scene_cut": None, "motion_precision": 4}
    light: dict[str, Any] = {"illumination": "global"}
    return [
        gate_case("still", still(t), **apart),
        gate_case("still", still(t), search_radius=0),
        gate_case("still", still(t)),
        gate_case("a tenth changes", flicker(t), changed=0.1, **apart),
        gate_case("a tenth changes", flicker(t), changed=0.1),
        gate_case("every cell searches", noise(t, 384), changed=1.0, patch=16, scene_cut=None),
        gate_case("every cell searches", noise(t, 384), changed=1.0, patch=16, **quarters),
        gate_case("a pan by 1.25 pixels", glide(t), searched=1.0, **quarters),
        gate_case("a tenth changes", flicker(t), changed=0.1, streams=many, **apart),
        gate_case("a tenth changes", flicker(t), changed=0.1, streams=many),
        gate_case("the light changes", fade(t), lit=1.0, **light),
        gate_case("a tenth changes", flicker(t), changed=0.1, lit=0.0, **light),
        gate_case("the light changes", fade(t), lit=1.0, streams=many, **light),
        gates.cameras_case(flicker(min(t, 8)), many, 0.1),
        gates.memory_case(noise(2), shots=3 if small else 8, length=1 if small else 8),
        grid_case(t, small),
    ]


def gate_case(
    what: str, video: Tensor, changed: float = 0.0, streams: int = 1, patch: int = 14,
    searched: float | None = None, lit: float | None = None, **rules: Any,
) -> Case:  # fmt: skip
    """Some pushes of ``video [T, 3, H, W]``; the state goes on from one to the next. The cells that
    search are those that change, unless it is said how many they are. ``lit``: the share of the
    cells whose reference is weighed, where the gate follows the light.
    """
    settings = GateSettings(patch=patch, **rules)
    planes = video[None, :, None].repeat(streams, 1, 1, 1, 1, 1)  # [S, T, 1, 3, H, W]
    t, height, width = len(video), *video.shape[-2:]
    cells = height // patch * (width // patch)
    radius = settings.search_radius or 0
    apart = radius == 0 and settings.scene_cut is None
    searched = (changed if searched is None else searched) if radius else 0.0
    precision = settings.motion_precision
    count = counted.gate(
        t, cells, patch, changed, searched=searched, radius=radius, precision=precision,
        apart=apart, lit=lit,
    )  # fmt: skip
    name = f"{streams} x {t} x {height} px, {what}, search_radius={radius}"
    name += "" if settings.scene_cut is None else ", scene_cut"
    name += "" if precision == 1 else f", motion_precision={precision}"
    name += "" if lit is None else ", illumination"
    state = new_state(planes, patch, light=lit is not None)
    inputs = (planes, *state, settings.op_rules(cells))
    work = Work(*(streams * each for each in count))
    return Case("gate", name, work, inputs, run, mode="" if lit is None else "gate with light")


def run(planes: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    """The op, with its rules by name."""
    return op(planes, *rest[:7], None, **rest[7])


def grid_case(frames: int, small: bool) -> Case:
    """Resident NV12 surfaces to decisions, cells by themselves."""
    size = (270, 480) if small else (1080, 1920)
    planes = surface(size, frames, 8)
    chroma = (planes[1].shape[1], planes[1].shape[2])
    settings = GateSettings(search_radius=0, scene_cut=None)
    cells = SIZE[0] // 14 * (SIZE[1] // 14)
    resized = torch.zeros(1, frames, 1, 3, *SIZE, dtype=torch.uint8)
    grid_count = counted.frame_grid(frames, size, chroma, SIZE)
    gate_count = counted.gate(frames, cells, 14, 0.0, apart=True)
    work = Work(*map(sum, zip(grid_count, gate_count, strict=True)))
    inputs = (*planes, *tables(size, chroma), *new_state(resized, 14), settings.op_rules(cells))

    def both(make_grid: Any) -> Any:
        def call(*args: Any) -> tuple[Tensor, ...]:
            small = make_grid(*args[:7], False, 8)  # [T, 3, H, W]
            return run(small[None, :, None], *args[7:])

        return call

    name = f"frame_grid and gate, {frames} x {size[0]}p NV12, search_radius=0"
    grid_op = torch.ops.patchgate.frame_grid
    return Case("gate", name, work, inputs, both(grid_op), both(on_rows), kernel="-")


def new_state(planes: Tensor, patch: int, light: bool = False) -> tuple[Tensor, ...]:
    """The state of streams that have seen nothing, for planes ``[S, T, f, C, H, W]``, as the schema
    says.
    """
    s, _, f, c, height, width = planes.shape
    return (
        torch.zeros(s, f, c, height, width, dtype=torch.uint8),
        torch.zeros(s, height, width, dtype=torch.int32),
        torch.zeros(s, height // patch, width // patch, dtype=torch.int64),
        torch.zeros(s, 2, dtype=torch.int64),
        torch.zeros(s, 0, dtype=torch.int64),
        torch.zeros(s, 15, dtype=torch.int32),
        torch.zeros(s, f, c, 4, height // patch if light else 0, width // patch, dtype=torch.int32),
    )


def noise(frames: int, side: int = 378) -> Tensor:
    """Frames with nothing in common."""
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (frames, 3, side, side), dtype=torch.uint8, generator=random)


def still(frames: int) -> Tensor:
    """One picture, again and again."""
    return noise(1).expand(frames, -1, -1, -1).contiguous()


def flicker(frames: int, share: float = 0.1) -> Tensor:
    """A picture of which a share of the cells changes in every frame, from the last to the first
    too: half as many show something else than before and after.
    """
    random = torch.Generator().manual_seed(1)
    shown = torch.rand(frames, 1, 27, 27, generator=random) < share / 2
    mask = shown.repeat_interleave(14, 2).repeat_interleave(14, 3)  # [T, 1, H, W]
    return torch.where(mask, 255 - still(frames), still(frames))


def glide(frames: int) -> Tensor:
    """A soft picture that moves on by a pixel and a quarter, both ways, from frame to frame."""
    reach = -(-(4 * 378 + 5 * frames) // 16)
    coarse = noise(1, reach).float()  # a grain of four pixels
    world = torch.nn.functional.interpolate(coarse, scale_factor=16, mode="bilinear")[0]
    shown = (world[:, 5 * i :, 5 * i :][:, : 4 * 378, : 4 * 378] for i in range(frames))
    return torch.stack([torch.nn.functional.avg_pool2d(each, 4).byte() for each in shown])


def fade(frames: int) -> Tensor:
    """One picture, by a lamp that goes down to four fifths in three frames, and up again."""
    gain = torch.tensor([15, 14, 13, 12, 13, 14])[torch.arange(frames) % 6].view(-1, 1, 1, 1)
    return (still(frames).int() * gain // 15).byte()
