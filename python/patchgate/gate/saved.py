"""The parts that all saved states of streams share.

A state is a flat dict of tensors, which ``torch.save`` and safetensors can write. Besides the state
itself it has a text that says what it belongs to, and a digest of all its numbers, so that a
changed number is noticed.
"""

import zlib
from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from patchgate.beside import written_beside

Saved = dict[str, Tensor]

DIGEST = "digest"


def letters(text: str) -> Tensor:
    """Converts a text to a tensor: ``[n]`` uint8 on the CPU, UTF-8."""
    return torch.tensor(list(text.encode()), dtype=torch.uint8, device="cpu")


def text_of(name: str, given: Tensor) -> str:
    """Converts a tensor of ``letters`` back to its text.

    Raises:
        ValueError: it is no such tensor.
    """
    if given.dtype != torch.uint8 or given.dim() != 1:
        raise ValueError(f"expected {name} [n] of uint8, got {list(given.shape)} {given.dtype}")
    try:
        return bytes(given.tolist()).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"expected {name} to be UTF-8, got {error}") from None


def crc32(tensors: Mapping[str, Tensor]) -> int:
    """Computes a checksum of names, shapes, dtypes and all numbers. Synchronises."""
    total = 0
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        total = zlib.crc32(f"{name} {list(tensor.shape)} {tensor.dtype}".encode(), total)
        numbers: Any = tensor.contiguous().view(-1).view(torch.uint8).numpy()
        total = zlib.crc32(numbers, total)
    return total


def sealed(tensors: Mapping[str, Tensor]) -> Saved:
    """Returns copies, each with memory of its own, and their digest, int64. Synchronises."""
    copies = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    digest = torch.tensor(crc32(copies), dtype=torch.int64, device="cpu")
    return {**copies, DIGEST: digest}


def check_tensors(state: Any, made_by: str) -> None:
    """Checks that a state is a dict of dense tensors by name, with a digest.

    Args:
        state: the state.
        made_by: the name of the method that makes such states, for messages.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"expected what {made_by} returns, got {type(state).__name__}")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(
                f"expected tensors by name, as {made_by} returns, got {type(tensor).__name__} "
                f"as {name!r}"
            )
        if tensor.layout != torch.strided or tensor.is_nested or tensor.is_meta:
            raise ValueError(f"expected {name} to be dense, got {tensor.layout} on {tensor.device}")
    digest = state.get(DIGEST)
    if digest is None or digest.dtype != torch.int64 or digest.dim():
        got = "none" if digest is None else f"{list(digest.shape)} {digest.dtype}"
        raise ValueError(f"expected what {made_by} returns, with a {DIGEST} [] of int64, got {got}")


def check_digest(state: Mapping[str, Tensor]) -> None:
    """Checks that the numbers are those that were saved. Synchronises.

    Call it after other checks, because their errors say more about what is wrong.

    Raises:
        ValueError: they are not.
    """
    others = {name: tensor for name, tensor in state.items() if name != DIGEST}
    if crc32(others) != int(state[DIGEST]):
        raise ValueError(f"its numbers are not those that were saved ({DIGEST} differs)")


def write(path: str | PathLike[str], state: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes tensors to a safetensors file beside the path, and moves it there when complete.

    Args:
        path: the file to write.
        state: dense tensors, each with memory of its own.
        metadata: the file's metadata.

    Raises:
        OSError: the file cannot be written; an older one is unchanged.
        ValueError: the path exists and is not a file.
    """
    on_cpu = {name: tensor.cpu() for name, tensor in state.items()}
    with written_beside(path) as whole:
        try:
            save_file(on_cpu, whole, metadata)
        except (OSError, SafetensorError) as error:
            raise OSError(f"{path}: the state could not be written there ({error})") from error


def read(path: str | PathLike[str]) -> tuple[Saved, dict[str, str]]:
    """Reads the tensors of a file, on the CPU, and its metadata.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
