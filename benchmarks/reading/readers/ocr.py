"""PP-OCR reads boxes: the recogniser that rapidocr ships, on crops, without its detector.

Letters: n crops, c channels, w their width once 48 pixels high, s steps, k classes.
"""

from collections.abc import Sequence
from hashlib import blake2b
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from reading.looks import Look
from reading.readers import Pictures
from reading.truth import ALPHABET, Box

THREADS = 2
HEIGHT = 48  # pixels, of the network's input
WIDTHS = 32  # crops are padded to a multiple of so many pixels and read with those as wide
BATCH = 16
MARGIN = 0.25  # around a box, of its height: letters that touch the edge are misread
REMEMBERED = 200_000  # crops, of which the readings are kept

_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"))


class Reading(NamedTuple):
    """What the recogniser says of a crop."""

    text: str
    confidence: float  # mean over its characters; 0 without any


class Recogniser:
    """PP-OCRv6's small recognition network (Apache-2.0), greedy.

    The same pixels are read once, for methods leave many of the same.
    """

    def __init__(self, threads: int = THREADS) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that spin while they wait take the processor from whoever shares the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._network = onnxruntime.InferenceSession(
            model("PP-OCRv6_rec_small.onnx"), options, providers=["CPUExecutionProvider"]
        )
        characters = self._network.get_modelmeta().custom_metadata_map["character"].splitlines()
        self._classes = np.array(["", *characters, " "])  # [k], the blank first
        self._memo: dict[bytes, Reading] = {}

    def read(self, crops: Sequence[Tensor]) -> list[Reading]:
        """Reads uint8 RGB crops ``[3, ., .]``. A reading does not depend on the other crops."""
        keys = [_key(crop) for crop in crops]
        unread = {k: crop for k, crop in zip(keys, crops, strict=True) if k not in self._memo}
        inputs = {key: _resized(crop) for key, crop in unread.items()}  # [3, 48, w] each

        def width(key: bytes) -> int:
            return inputs[key].shape[2]

        for _, same in groupby(sorted(inputs, key=width), key=width):
            alike = list(same)
            for some in (alike[k : k + BATCH] for k in range(0, len(alike), BATCH)):
                read = self._run(np.stack([inputs[key] for key in some]))
                self._memo.update(zip(some, read, strict=True))
        readings = [self._memo[key] for key in keys]
        for key in list(self._memo)[: max(0, len(self._memo) - REMEMBERED)]:
            del self._memo[key]  # the oldest
        return readings

    def _run(self, pictures: NDArray[np.float32]) -> list[Reading]:
        """Reads crops ``[n, 3, 48, w]``."""
        (likely,) = self._network.run(None, {"x": pictures})  # [n, s, k]
        best = likely.argmax(2)  # [n, s]
        sure = np.take_along_axis(likely, best[..., None], 2)[..., 0]  # [n, s]
        # Connectionist temporal classification: a class lasts until another or the blank.
        new = (best != 0) & (np.diff(best, axis=1, prepend=0) != 0)
        return [
            Reading("".join(self._classes[b[n]]), float(s[n].mean()) if n.any() else 0.0)
            for b, s, n in zip(best, sure, new, strict=True)
        ]


class OcrReader:
    """Reads looks at text, in the letters of the alphabet."""

    def __init__(self, threads: int = THREADS) -> None:
        self._recogniser = Recogniser(threads)

    def read(self, pictures: Pictures, looks: Sequence[Look]) -> list[str]:
        """What stands in each."""
        frames = sorted({look.frame for look in looks})
        crops: dict[Look, Tensor] = {}
        for frame in frames:  # one whole picture at a time
            picture = pictures.rgb(frame)  # [3, H, W]
            crops |= {k: cut(picture, k.box).clone() for k in looks if k.frame == frame}
        read = self._recogniser.read([crops[look] for look in looks])
        return [plain(reading.text) for reading in read]


def plain(text: str) -> str:
    """In the alphabet: what looks alike (wide signs, dashes, cases) is one, the rest is dropped."""
    alike = normalize("NFKC", text).translate(_DASHES).upper()
    return "".join(c for c in alike if c in ALPHABET)


def cut(picture: Tensor, box: Box, margin: float = MARGIN) -> Tensor:
    """A view of ``[3, H, W]``: a box and what is around it."""
    height, width = picture.shape[1:]
    around = margin * (box[3] - box[1])
    left, top = (max(0, int(side - around)) for side in box[:2])
    right = min(width, int(np.ceil(box[2] + around)))
    bottom = min(height, int(np.ceil(box[3] + around)))
    return picture[:, top:bottom, left:right]


def model(name: str) -> str:
    """The path of a network inside rapidocr, without importing it: that would configure logging."""
    spec = find_spec("rapidocr")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("rapidocr is missing; pip install 'patchgate[test]'")
    return str(Path(spec.origin).parent / "models" / name)


def _key(crop: Tensor) -> bytes:
    shape = str(crop.shape[2]).encode()
    return blake2b(crop.contiguous().numpy(), person=shape).digest()


def _resized(crop: Tensor) -> NDArray[np.float32]:
    """[3, 48, w] of -1..1 in BGR, as the network was trained; grey at the right."""
    _, height, width = crop.shape
    scaled = max(1, round(width * HEIGHT / height))
    size = (HEIGHT, scaled)
    picture = interpolate(crop[None].float(), size, mode="bilinear", antialias=True)[0]
    padded = torch.zeros(3, HEIGHT, -(-scaled // WIDTHS) * WIDTHS)
    padded[:, :, :scaled] = picture.flip(0) / 127.5 - 1
    return padded.numpy()
