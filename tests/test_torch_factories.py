"""No tensor of ours is made as the user's program has told torch: the sources name what it is."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([
    *(path for path in (ROOT / "python").rglob("*.py") if "kernels" not in path.parts),
    *(ROOT / "kernels").rglob("*.py"),
])  # fmt: skip

# What ``torch.set_default_device`` reaches, and what else makes tensors of a default dtype.
FACTORIES = {
    "arange", "as_tensor", "asarray", "bartlett_window", "blackman_window", "complex", "empty",
    "empty_permuted", "empty_quantized", "empty_strided", "eye", "fftfreq", "full",
    "hamming_window", "hann_window", "kaiser_window", "linspace", "logspace", "nested_tensor",
    "normal", "ones", "rand", "randint", "randn", "randperm", "range", "rfftfreq",
    "scalar_tensor", "sparse_coo_tensor", "tensor", "tril_indices", "triu_indices", "zeros",
    "Tensor", "FloatTensor", "DoubleTensor", "LongTensor", "IntTensor", "BoolTensor",
}  # fmt: skip


def factories(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls ``torch.zeros(..)`` and the like."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            owner = call.func.value
            while isinstance(owner, ast.Attribute):
                owner = owner.value
            if isinstance(owner, ast.Name) and owner.id == "torch" and call.func.attr in FACTORIES:
                yield call


def left_to_torch(text: str) -> list[str]:
    """Factories without a device or a dtype, as ``line: call``."""
    found = []
    for call in factories(ast.parse(text)):
        named = {word.arg for word in call.keywords}
        if not named >= {"device", "dtype"}:
            found.append(f"{call.lineno}: {ast.unparse(call)}")
    return found


def test_no_factory_leaves_device_or_dtype_to_torch() -> None:
    found = {path.name: left_to_torch(path.read_text()) for path in SOURCES}
    assert len(found) > 100
    assert not {name: calls for name, calls in found.items() if calls}


def test_no_factory_comes_in_by_its_bare_name() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "torch":
                names = {alias.name for alias in node.names} - {"Tensor"}
                assert not names & FACTORIES, path


@pytest.mark.parametrize("text", [
    "torch.zeros(3)", "torch.arange(3, device=d)", "torch.fft.fftfreq(4, dtype=t)",
    "torch.tensor([1.0], dtype=t)", "torch.Tensor([1])",
])  # fmt: skip
def test_the_reader_finds_one(text: str) -> None:
    assert left_to_torch(text)
    assert not left_to_torch("torch.zeros(3, dtype=t, device=d); x.new_zeros(3); zeros(3)")
