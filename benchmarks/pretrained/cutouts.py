"""A task with truth: cut-outs of real clips move over other real clips, and their masks are known.

The mask of the first frame is carried on by nearest neighbours among features, as DINO is tested on
DAVIS (Caron et al., arXiv 2104.14294, section 4.2.2; the protocol of Jabri et al., arXiv
2006.14613): the five most similar cells of the first and of the last few frames, near the cell,
vote. J is the intersection over the union of the carried and the true mask.

Letters: T frames, H W pixels, h w cells, N = h * w, D features, m frames that vote, R radius.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

VOTERS, NEAREST, TEMPERATURE, LAST = 8, 5, 0.1, 7
REACH = 0.2  # of the picture's side: how far a cell may come from


class Scene(NamedTuple):
    """A video and where its cut-out is."""

    name: str
    rgb: Tensor  # [T, 3, H, W] uint8
    mask: Tensor  # [T, H, W] bool


class Path(NamedTuple):
    """How a cut-out moves."""

    size: float  # of the picture's side
    speed: float  # of the side, a frame
    angle: float  # radians


PATHS = (Path(0.35, 0.004, 0.3), Path(0.25, 0.015, 2.2), Path(0.45, 0.008, 4.0))


def scene(name: str, front: Tensor, back: Tensor, path: Path) -> Scene:
    """A blob of one clip moves over another; it turns back at the picture's edge.

    Args:
        front, back: ``[T, 3, H, W]`` uint8, of one size; the shorter one decides T.
    """
    frames, side = min(len(front), len(back)), front.shape[2]
    y, x = torch.meshgrid(*(torch.arange(side) + 0.5,) * 2, indexing="ij")  # [H, W] each
    rgb, masks = back[:frames].clone(), torch.zeros(frames, side, side, dtype=torch.bool)
    radius = path.size * side / 2
    for t in range(frames):
        centre = [_bounced(side * (0.5 + path.speed * t * way), radius, side - radius)
                  for way in (math.sin(path.angle), math.cos(path.angle))]  # fmt: skip
        down, right = y - centre[0], x - centre[1]
        turned = torch.atan2(down, right)
        edge = radius * (0.8 + 0.2 * torch.cos(3 * turned + path.angle))  # a blob with three lobes
        masks[t] = torch.hypot(down, right) < edge
        # The cut-out takes its pixels along: those of the front clip's middle.
        shift = [round(c - side / 2) for c in centre]
        moved = front[t].roll(shift, (1, 2))
        rgb[t] = torch.where(masks[t], moved, rgb[t])
    return Scene(name, rgb, masks)


def _bounced(place: float, low: float, high: float) -> float:
    """A place that turns back at both ends."""
    length = high - low
    if length <= 0:
        return (low + high) / 2
    way = (place - low) % (2 * length)
    return low + (way if way <= length else 2 * length - way)


def carried(features: Tensor, mask: Tensor, shape: tuple[int, int]) -> Tensor:
    """The first frame's mask, carried through all frames by the features.

    Args:
        features: ``[T, N, D]``.
        mask: ``[H, W]`` bool, of the first frame.
        shape: ``(h, w)``.

    Returns:
        ``[T, H, W]`` bool.
    """
    unit = normalize(features, dim=2)
    near = _near(shape)  # [N, N] bool
    first = interpolate(mask[None, None].float(), shape, mode="area").flatten()  # [N]
    labels = [first]
    for t in range(1, len(unit)):
        voters = [0, *range(max(1, t - LAST), t)]
        alike = unit[t] @ unit[voters].flatten(0, 1).T / TEMPERATURE  # [N, m * N]
        alike = alike.masked_fill(~near.repeat(1, len(voters)), -math.inf)
        best, index = alike.topk(NEAREST, dim=1)  # [N, 5]
        votes = torch.cat([labels[v] for v in voters])[index]
        labels.append((best.softmax(1) * votes).sum(1))
    maps = torch.stack(labels).view(-1, 1, *shape)
    return interpolate(maps, mask.shape, mode="bilinear")[:, 0] > 0.5


def _near(shape: tuple[int, int]) -> Tensor:
    """Which cells may stand for which, ``[N, N]`` bool."""
    h, w = shape
    reach = max(1, round(REACH * max(h, w)))
    row, column = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    place = torch.stack([row.flatten(), column.flatten()], 1)  # [N, 2]
    return (place[:, None] - place).abs().amax(2) <= reach


def j(found: Tensor, truth: Tensor) -> float:
    """Mean over the frames after the first of intersection over union, ``[T, H, W]`` bool each."""
    both, either = (found & truth)[1:], (found | truth)[1:]
    return float((both.flatten(1).sum(1) / either.flatten(1).sum(1).clamp(min=1)).mean())
