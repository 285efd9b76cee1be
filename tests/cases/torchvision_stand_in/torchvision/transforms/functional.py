"""Functions on pictures [.., C, H, W]."""

from enum import Enum

import numpy as np
import torch
from torch import Tensor


class InterpolationMode(Enum):
    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


def resize(image: Tensor, size, interpolation=InterpolationMode.BILINEAR, antialias=True) -> Tensor:
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    flat = image.reshape(-1, *image.shape[-3:])
    flat = torch.nn.functional.interpolate(
        flat, tuple(size), mode=interpolation.value, antialias=antialias
    )
    return flat.reshape(*image.shape[:-2], *size)


def normalize(image: Tensor, mean, std, inplace=False) -> Tensor:
    mean, std = (torch.as_tensor(x, dtype=image.dtype).view(-1, 1, 1) for x in (mean, std))
    return (image - mean) / std


def pad(image: Tensor, padding, fill=0, padding_mode="constant") -> Tensor:
    left, top, right, bottom = padding if len(padding) == 4 else (*padding, *padding)
    return torch.nn.functional.pad(image, (left, right, top, bottom), value=fill)


def crop(image: Tensor, top, left, height, width) -> Tensor:
    return image[..., top : top + height, left : left + width]


def grayscale_to_rgb(image: Tensor) -> Tensor:
    return image if image.shape[-3] != 1 else image.expand(*image.shape[:-3], 3, *image.shape[-2:])


def pil_to_tensor(image) -> Tensor:
    array = np.array(image, copy=True)
    return torch.from_numpy(array if array.ndim == 3 else array[..., None]).permute(2, 0, 1)
