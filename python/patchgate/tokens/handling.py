"""What people do with tensors, for the tokens of a video: another device or dtype, arrays of numpy.

Letters: K tokens, D features, f frames of a tubelet, C planes, H W pixels.
"""

from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchgate.tokens.layout import TokenLayout
from patchgate.tokens.notebook import html_of

Bfloat16 = Literal["float32", "uint16"]


class Handled:
    """The calls of ``VideoTokens`` that tensors have, too."""

    features: Tensor  # [K, D]
    start_picture: Tensor | None  # [f, C, H, W]
    layout: TokenLayout | None

    def to(
        self,
        device: torch.device | str | int | torch.dtype | Tensor | None = None,
        dtype: torch.dtype | None = None,
        *,
        non_blocking: bool = False,
    ) -> Self:
        """Brings the features to a device and a dtype, as ``Tensor.to`` does.

        The other fields stay on the CPU, where the calls of this class read them. Nothing that
        stays as it is is copied.

        Args:
            device: a device; or a dtype, or a tensor whose device and dtype are taken.
            dtype: floats, such as ``torch.float16``, for features of a tower.
            non_blocking: as of ``Tensor.to``. Without it, copies between devices synchronise.

        Raises:
            TypeError: neither a device nor a dtype.
            ValueError: a dtype for features that are pixels, or one that has no floats.
        """
        place, kind = place_of(device, dtype)
        if kind is not None and kind != self.features.dtype:
            self._check_dtype(kind)
        picture = self.start_picture
        if picture is not None:
            picture = picture.to(place, non_blocking=non_blocking)
        moved = self.features.to(place, kind, non_blocking=non_blocking)
        if moved is self.features and picture is self.start_picture:
            return self
        return replace(self, features=moved, start_picture=picture)  # type: ignore[type-var]

    def half(self) -> Self:
        """Brings the features to float16; see ``to``."""
        return self.to(dtype=torch.float16)

    def float(self) -> Self:
        """Brings the features to float32; see ``to``."""
        return self.to(dtype=torch.float32)

    def _check_dtype(self, dtype: torch.dtype) -> None:
        if self.layout is not None:
            raise ValueError(
                f"to: these features are the cells' own samples, uint8, which reconstruct() needs, "
                f"got {dtype}; tokens.features.float() / 255 are numbers for a model"
            )
        if not dtype.is_floating_point:
            raise ValueError(f"to: expected a dtype of floats, got {dtype}")

    def numpy(self, bfloat16: Bfloat16 | None = None) -> dict[str, NDArray[Any]]:
        """Returns the tensors as arrays by name; those on the CPU share memory with them.

        Args:
            bfloat16: what features of bfloat16 become, which numpy does not have: ``"float32"``,
                with the same values, or ``"uint16"``, their bits. None: they are refused.

        Raises:
            TypeError: features of bfloat16, or of another dtype that numpy does not have.
            ValueError: another option.
        """
        if bfloat16 not in (None, "float32", "uint16"):
            raise ValueError(
                f"bfloat16: expected 'float32', 'uint16' or None to refuse it, got {bfloat16!r}"
            )
        return {name: _array(name, each, bfloat16) for name, each in self.tensors().items()}

    def tensors(self) -> dict[str, Tensor]:
        """Returns the tensor fields that are set, by name."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """Returns what a notebook shows."""
        own = self.tensors()
        return html_of(self.features, own["kind"], own["pts_seconds"], own["duration_seconds"])


def place_of(
    device: Any, dtype: torch.dtype | None
) -> tuple[torch.device | None, torch.dtype | None]:
    """Returns the device and the dtype that were asked for."""
    if isinstance(device, Tensor):
        return device.device, dtype or device.dtype
    if isinstance(device, torch.dtype):
        if dtype is not None:
            raise TypeError(f"to: expected one dtype, got {device} and {dtype}")
        device, dtype = None, device
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise TypeError(f"to: expected a torch.dtype, such as torch.float16, got {dtype!r}")
    try:
        return None if device is None else torch.device(device), dtype
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"to: expected a device, a dtype or a tensor, got {device!r}") from error


def _array(name: str, tensor: Tensor, bfloat16: Bfloat16 | None) -> NDArray[Any]:
    if tensor.dtype == torch.bfloat16:
        if bfloat16 is None:
            raise TypeError(
                f"numpy: {name} is bfloat16, which numpy does not have: "
                "numpy(bfloat16='float32') keeps the values, numpy(bfloat16='uint16') the bits"
            )
        if bfloat16 == "uint16":
            return tensor.detach().cpu().contiguous().view(torch.uint16).numpy()
        tensor = tensor.float()
    try:
        return np.asarray(tensor.numpy(force=True))
    except TypeError as error:
        raise TypeError(
            f"numpy: {name} is {tensor.dtype}, which numpy does not have; to(torch.float32) first"
        ) from error
