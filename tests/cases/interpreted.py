"""Triton's interpreter, mended: import this before a kernel that loops up to a loaded number, or
multiplies blocks of bfloat16.

Triton 3.6 makes such a bound an int of an array of one entry, which NumPy 2.4 refuses, and
multiplies bfloat16 as the integers that it is kept in.
"""

from typing import Any

import numpy as np
import pytest
import torch

interpreter = pytest.importorskip("triton.runtime.interpreter")
tl = interpreter.tl

# With a GPU kernels are compiled for it, and take no tensors of the CPU.
interpreted = pytest.mark.skipif(torch.cuda.is_available(), reason="see the test of _cuda")

_patch = interpreter._patch_lang_tensor
_dot = interpreter.InterpreterBuilder.create_dot


def _patch_lang_tensor(tensor: Any, scope: Any) -> None:
    _patch(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())


def _widened(block: Any) -> Any:
    if block.dtype.scalar != tl.bfloat16:
        return block
    bits = block.data.astype(np.uint32) << 16
    return interpreter.TensorHandle(bits.view(np.float32), tl.float32)


def _create_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
    return _dot(self, _widened(a), _widened(b), *rest)


interpreter._patch_lang_tensor = _patch_lang_tensor
interpreter.InterpreterBuilder.create_dot = _create_dot
