"""A task with truth: cut-outs of real clips move over other real clips, and their masks are known.

A cut-out is of one frame, so that it is a solid thing. The camera behind it may move, too.

The mask of the first frame is carried on by nearest neighbours among features, as DINO is tested on
DAVIS (Caron et al., arXiv 2104.14294, section 4.2.2; the protocol of Jabri et al., arXiv
2006.14613): the five most similar cells of the first and of the last few frames, near the cell,
vote. J is the intersection over the union of the carried and the true mask.

Letters: T frames, H W pixels, h w cells, N = h * w, D features, m frames that vote.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate, normalize

NEAREST, TEMPERATURE, LAST = 5, 0.1, 7
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
    angle: float  # radians, clockwise from rightwards


SLOW, FAST, LARGE = Path(0.35, 0.004, 0.3), Path(0.25, 0.015, 2.2), Path(0.45, 0.008, 4.0)


def scene(name: str, front: Tensor, back: Tensor, path: Path) -> Scene:
    """A blob from the middle of a picture moves over a clip; it turns back at the clip's edge.

    Args:
        front: ``[3, H, W]`` uint8, of the clip's size, square.
        back: ``[T, 3, H, W]`` uint8.
    """
    side = front.shape[1]
    y, x = torch.meshgrid(*(torch.arange(side) + 0.5,) * 2, indexing="ij")  # [H, W] each
    rgb, masks = back.clone(), torch.zeros(len(back), side, side, dtype=torch.bool)
    radius = path.size * side / 2
    for t in range(len(back)):
        centre = [_bounced(side * (0.5 + path.speed * t * way), radius, side - radius)
                  for way in (math.sin(path.angle), math.cos(path.angle))]  # fmt: skip
        down, right = y - centre[0], x - centre[1]
        turned = torch.atan2(down, right)
        edge = radius * (0.8 + 0.2 * torch.cos(3 * turned + path.angle))  # a blob with three lobes
        masks[t] = torch.hypot(down, right) < edge
        moved = front.roll([round(c - side / 2) for c in centre], (1, 2))
        rgb[t] = torch.where(masks[t], moved, rgb[t])
    return Scene(name, rgb, masks)


def panned(rgb: Tensor, side: int, speed: float) -> Tensor:
    """What a moving camera sees of a clip: a window that wanders over it, in parts of pixels.

    Args:
        rgb: ``[T, 3, B, B]`` uint8, B pixels more than ``side``.
        side: of the window.
        speed: of the window's side, a frame, along both axes; the window turns back at the edge.

    Returns:
        ``[T, 3, side, side]`` uint8.
    """
    room, share = rgb.shape[-1] - side, side / rgb.shape[-1]
    seen = []
    for t, frame in enumerate(rgb):
        first = _bounced(room / 2 + speed * side * t, 0, room)  # pixel, left and above
        shift = (first - room / 2) * 2 / rgb.shape[-1]  # in halves of the clip's side
        theta = torch.tensor([[[share, 0, shift], [0, share, shift]]])
        grid = affine_grid(theta, [1, 3, side, side], align_corners=False)
        window = grid_sample(frame[None].float(), grid, align_corners=False)
        seen.append(window.round().clamp(0, 255).to(torch.uint8))
    return torch.cat(seen)


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
