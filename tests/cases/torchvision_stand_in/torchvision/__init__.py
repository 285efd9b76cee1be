"""What transformers' processors need of torchvision, in plain torch.

Processors of videos cannot be made without torchvision, and a torchvision must be built for the
torch that is here: it often is not, and then it cannot be imported. Only processes that a test
starts have this folder on their path, and only if the real one cannot be imported.
"""

from torchvision import io, transforms

__all__ = ["io", "transforms"]
__version__ = "0.28.0"
