"""Packages that only a corpus needs, imported when they are used."""

import importlib
from typing import Any

_EXTRAS = {"pyarrow": "corpus", "lance": "lance", "ray": "ray"}


def needed(module: str, what: str, *inner: str) -> Any:
    """Imports a package, and those of its modules that are named.

    Args:
        module: the package.
        what: what needs it, for the message.
        inner: names of its modules.

    Raises:
        ImportError: it is not installed; the message has the line that installs it.
    """
    try:
        found = importlib.import_module(module)
        for name in inner:
            importlib.import_module(f"{module}.{name}")
    except ImportError as error:
        raise ImportError(
            f"{what} needs {module}: pip install 'patchgate[{_EXTRAS[module]}]' ({error})"
        ) from error
    return found


def pyarrow_for(what: str) -> Any:
    """Imports pyarrow and its Parquet; ``what`` needs it."""
    return needed("pyarrow", what, "parquet")
