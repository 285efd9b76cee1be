"""The names that transformers imports."""

from torchvision.transforms import functional

__all__ = ["functional"]
