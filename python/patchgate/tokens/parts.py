"""Writes the tensors of a safetensors file piece by piece, in memory that does not grow.

Every tensor goes to a raw file of its own, in a hidden folder beside the output. At the end, the
header and these files are joined into one file. It is written by hand, because the library's
``save_file`` wants every tensor mapped or in memory at once, which counts as memory of the process.
The format is small: 8 bytes with the length of the header (little endian); the header, JSON padded
with spaces to 8 bytes; the tensors. See https://github.com/huggingface/safetensors#format.
"""

import json
import math
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from patchgate.beside import incomplete, scratch_beside
from patchgate.gate.calls import Undo

Shapes = Mapping[str, tuple[torch.dtype, list[int]]]

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
SLICE = 1 << 20  # elements, or bytes, worked on at once


class Parts:
    """The raw files of a safetensors file that is being written. Close it when all is done.

    Args:
        path: the file to write.
        names: the names of the raw files, tensors among them.
        replace: whether an older file may be replaced.

    Attributes:
        scratch: the hidden folder, gone after ``close``.

    Raises:
        OSError: the folder does not exist or is not writable, or the disk is full.
        ValueError: the path is no file.
    """

    def __init__(
        self, path: str | PathLike[str], names: Collection[str], replace: bool = True
    ) -> None:
        self._path, self._replace = Path(path), replace
        with ExitStack() as stack:
            self.scratch = stack.enter_context(scratch_beside(self._path))
            self._files = {
                # Nothing is held back: a full disk shows in the call that fills it.
                name: stack.enter_context((self.scratch / name).open("wb", buffering=0))
                for name in names
            }
            self.exit = stack.pop_all().__exit__

    def put(self, name: str, values: Tensor) -> None:
        """Writes values at the end of a raw file; waits for those of a device."""
        if not values.numel():
            return
        values = values.detach().cpu().contiguous()
        if values.dtype == torch.bfloat16:  # which numpy does not have
            values = values.view(torch.int16)
        left = memoryview(values.numpy().data).cast("B")
        while left:
            left = left[self._files[name].write(left) :]

    def mark(self) -> Undo:
        """Notes how long the files are. Calling what this returns cuts them back."""
        sizes = {name: file.tell() for name, file in self._files.items()}

        def back() -> None:
            for name, file in self._files.items():
                file.truncate(sizes[name])
                file.seek(sizes[name])

        return back

    def join(
        self,
        tensors: Shapes,
        metadata: Mapping[str, str],
        check: Callable[[], None],
        complete: bool = True,
    ) -> Path:
        """Joins the raw files and moves the file to its place, in one step.

        Args:
            tensors: the dtype and shape of each tensor, by the names of their files.
            metadata: the file's metadata.
            check: is called every few megabytes and right before the file is moved. If it raises,
                no file is left.
            complete: False gives it the name of a file that is not.

        Returns:
            The file that was written.

        Raises:
            OSError: the disk is full; with more room, it may be called again.
            FileExistsError: there is a file that must not be replaced.
        """
        # Wide numbers first, as the library does, so that all are aligned.
        order = sorted(tensors, key=lambda name: (-tensors[name][0].itemsize, name))
        whole = self.scratch / "whole"
        with whole.open("wb") as out:
            out.write(_header({name: tensors[name] for name in order}, metadata))
            for name in order:
                with (self.scratch / name).open("rb") as raw:
                    while piece := raw.read(SLICE):
                        check()
                        out.write(piece)
        check()
        target = self._path if complete else incomplete(self._path)
        if complete and not self._replace and os.path.lexists(target):
            raise FileExistsError(f"{target}: this file has appeared meanwhile; it was left alone")
        os.replace(whole, os.path.realpath(target))
        return target


def _header(tensors: Shapes, metadata: Mapping[str, str]) -> bytes:
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    begin = 0
    for name, (dtype, shape) in tensors.items():
        end = begin + math.prod(shape) * dtype.itemsize
        offsets = [begin, end]
        header[name] = {"dtype": _DTYPES[dtype], "shape": shape, "data_offsets": offsets}
        begin = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
