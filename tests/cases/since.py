"""What a version of transformers does not have yet."""

from importlib import metadata

import pytest

from patchgate._check import LANGUAGE_MODELS, release


def since(version: str) -> bool:
    """Whether the transformers here is of this version or later; False without one."""
    try:
        return release(metadata.version("transformers")) >= release(version)
    except metadata.PackageNotFoundError:
        return False


# Before, they do not take what a tower put out, and Qwen's count whole seconds.
language_models = pytest.mark.skipif(
    not since(LANGUAGE_MODELS), reason=f"needs transformers {LANGUAGE_MODELS}"
)
