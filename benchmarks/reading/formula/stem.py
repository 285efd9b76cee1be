"""The convolutions in front of a hybrid vision transformer: a ResNet of standardised weights.

    ResNet v1.5, its bottlenecks with group norm    arXiv 1512.03385, 1803.08494
    weight standardisation                          arXiv 1903.10520, section 3
    both together, "SAME" padding                   BiT, arXiv 1912.11370, section 3
    as the patch embedding of a transformer         ViT, arXiv 2010.11929, "hybrid architecture"

Submodules have the names of timm's ``ResNetV2``, so that its weights fit.

Letters: B pictures, C channels, H W pixels, h w cells of 16 pixels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

PATCH = 16  # pixels: what four strides of 2 make of a cell
_GROUPS, _EPS = 32, 1e-5
_NARROW, _WIDE = 64, (256, 512, 1024)  # channels after the first convolution, and of each stage


def same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Padded so that a stride of s leaves ``ceil(side / s)``, the odd pixel at the end."""
    over = [max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in x.shape[2:]]
    (top, left), (down, right) = [o // 2 for o in over], [o - o // 2 for o in over]
    return F.pad(x, (left, right, top, down), value=value)


class StandardisedConv2d(nn.Conv2d):
    """A convolution whose kernels have mean 0 and deviation 1, over "SAME" padding."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        deviation = w.std((1, 2, 3), correction=0, keepdim=True)
        standardised = (w - w.mean((1, 2, 3), keepdim=True)) / (deviation + _EPS)
        return F.conv2d(same(x, w.shape[-1], self.stride[0]), standardised, stride=self.stride)


class _Downsample(nn.Module):
    """The convolution of the way around a bottleneck, where shapes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = StandardisedConv2d(inputs, outputs, 1, stride)
        self.norm = nn.GroupNorm(_GROUPS, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        middle = outputs // 4
        first = inputs != outputs
        self.downsample = _Downsample(inputs, outputs, stride) if first else None
        self.conv1 = StandardisedConv2d(inputs, middle, 1)
        self.norm1 = nn.GroupNorm(_GROUPS, middle)
        self.conv2 = StandardisedConv2d(middle, middle, 3, stride)
        self.norm2 = nn.GroupNorm(_GROUPS, middle)
        self.conv3 = StandardisedConv2d(middle, outputs, 1)
        self.norm3 = nn.GroupNorm(_GROUPS, outputs)

    def forward(self, x: Tensor) -> Tensor:
        around = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.conv2(x)))
        return F.relu(self.norm3(self.conv3(x)) + around)


class _Stage(nn.Module):
    def __init__(self, inputs: int, outputs: int, depth: int, stride: int) -> None:
        super().__init__()
        shapes = [(inputs, stride), *[(outputs, 1)] * (depth - 1)]
        self.blocks = nn.Sequential(*(_Bottleneck(n, outputs, s) for n, s in shapes))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


class _First(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = StandardisedConv2d(channels, _NARROW, 7, 2)
        self.norm = nn.GroupNorm(_GROUPS, _NARROW)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(x)))
        return F.max_pool2d(same(x, 3, 2, -float("inf")), 3, 2)


class Stem(nn.Module):
    """Pictures ``[B, C, H, W]`` to features ``[B, 1024, h, w]``."""

    channels = _WIDE[-1]

    def __init__(self, depths: Sequence[int] = (2, 3, 7), channels: int = 1) -> None:
        super().__init__()
        self.stem = _First(channels)
        widths = (_NARROW, *_WIDE)
        shapes = zip(widths[:-1], widths[1:], depths, (1, 2, 2), strict=True)
        self.stages = nn.Sequential(*(_Stage(*shape) for shape in shapes))

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(self.stem(x))

    def flops(self, height: int, width: int) -> int:
        """Operations of the convolutions on a picture; a multiply and an add are two."""
        there = {name: weight.to("meta") for name, weight in self.state_dict().items()}
        picture = torch.empty(1, self.stem.conv.in_channels, height, width, device="meta")
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            torch.func.functional_call(self, there, picture.to(self.stem.conv.weight.dtype))
        return counter.get_total_flops()
