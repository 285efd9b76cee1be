"""The native library: its file, and how it was built.

It has all ops and does not depend on the version of Python: one file serves all versions.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

PATH = Path(__file__).parent.with_name("_C.so")


@cache
def _lines() -> dict[str, str]:
    library = ctypes.CDLL(str(PATH))
    library.patchgate_build_info.restype = ctypes.c_char_p
    text = library.patchgate_build_info().decode()
    return dict(line.split("=", 1) for line in text.splitlines())


def build_info() -> dict[str, Any]:
    """How the native library was built.

    Returns:
        ``version`` of patchgate, ``compiler``, ``cuda_architectures`` (a list such as
        ``["80-real", "90-real"]``; empty where no CUDA kernel was built), and ``simd``: the
        instruction set that this machine's CPU makes it use.
    """
    said = _lines()
    return {**said, "cuda_architectures": list(filter(None, said["cuda_architectures"].split(",")))}
