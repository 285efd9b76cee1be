"""The vision transformer that reads: its weights, its labels, and that it reads by context."""

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("transformers")

from reading.clips import Footage, footage
from reading.fonts import font
from reading.looks import Look
from reading.readers.vit import WEIGHTS, VitReader
from reading.scenes.typeset import Word, spaced
from reading.truth import LONGEST, SMALL
from reading.vit.labels import CLASSES, read_text
from reading.vit.model import pixel_values

import patchgate


@pytest.fixture(scope="module")
def reader() -> VitReader:
    return VitReader()


@pytest.fixture(scope="module")
def coded() -> Footage:
    return footage("code", "test", 1000, SMALL, 2.0)


def visible(coded: Footage, frames: list[int]) -> tuple[list[Look], list[str]]:
    """Looks at every visible item in these frames, and what it says."""
    there = [(frame, item, item.at(frame)) for item in coded.truth.items for frame in frames]
    looks = [Look(frame, box, item.kind) for frame, item, box in there if box is not None]
    return looks, [item.text for _, item, box in there if box is not None]


class Still:
    """Pictures of which each is one that was given."""

    def __init__(self, *pictures: np.ndarray) -> None:
        self._pictures = [torch.from_numpy(p.copy()).permute(2, 0, 1) for p in pictures]
        self.asked = 0

    def rgb(self, frame: int) -> torch.Tensor:
        self.asked += 1
        return self._pictures[frame]


def _written(text: str, right: float = 200, top: float = 100) -> tuple[np.ndarray, Word]:
    """A picture of one word that ends at ``right``."""
    setting = spaced(text, font("sans", 22))
    word = Word(setting, right - setting.width, top, (240, 240, 240))
    sheet = Image.new("RGB", SMALL[::-1], (30, 40, 60))
    word.draw(sheet)
    return np.asarray(sheet), word


def _box(word: Word) -> tuple[float, float, float, float]:
    left, top, right, bottom = word.box.tolist()
    return left, top, right, bottom


def test_weights_are_small(reader: VitReader) -> None:
    assert WEIGHTS.stat().st_size < 6e6
    assert 1e6 < sum(p.numel() for p in reader.tower.parameters()) < 3e6
    assert reader.tower.dtype == torch.float32
    assert not reader.tower.training


def test_an_index_twice_or_missing_is_a_gap() -> None:
    glyph, index = torch.zeros(32, 32, len(CLASSES)), torch.zeros(32, 32, LONGEST)
    glyph[..., 0] = 1
    for column, (digit, place) in enumerate([("4", 0), ("2", 1), ("8", 1), ("5", 3)]):
        glyph[4, column] = torch.eye(len(CLASSES))[CLASSES.index(digit)]
        index[4, column] = torch.eye(LONGEST)[place]
    assert read_text(glyph, index, (0.0, 32.0, 31.0, 40.0)) == "4??5"
    assert read_text(glyph, index, (0.0, 32.0, 15.0, 40.0)) == "42"


def test_a_glyph_between_two_sub_cells_counts_once() -> None:
    glyph, index = torch.zeros(32, 32, len(CLASSES)), torch.zeros(32, 32, LONGEST)
    glyph[..., 0], index[..., 0] = 1, 1
    glyph[4, 3:5, 0], glyph[4, 3:5, CLASSES.index("6")] = 0.5, 0.5
    assert read_text(glyph, index, (24.0, 32.0, 40.0, 40.0)) == "6"


def test_it_reads_a_coded_clip(reader: VitReader, coded: Footage) -> None:
    looks, said = visible(coded, [11, 29, 47])
    read = reader.read(coded, looks)
    assert len(looks) > 20
    assert sum(r == s for r, s in zip(read, said, strict=True)) / len(looks) >= 0.95


def test_an_index_comes_from_the_context(reader: VitReader) -> None:
    # One digit more at the left: the others' pixels stay, and each is one place further on.
    short, long = _written("42857"), _written("642857")
    texts = reader.read(Still(short[0], long[0]), [Look(0, _box(short[1]), "text"),
                                                   Look(1, _box(long[1]), "text")])  # fmt: skip
    assert texts == ["42857", "642857"]
    column = int(_box(short[1])[0])
    assert (short[0][:, column:] == long[0][:, column:]).all()


def test_equal_pictures_are_seen_once(reader: VitReader) -> None:
    picture, word = _written("2468")
    calls = []
    hook = reader.tower.register_forward_hook(lambda *_: calls.append(1))
    looks = [Look(0, _box(word), "text")] * 2
    assert reader.read(Still(picture), looks) == reader.read(Still(picture), looks)
    hook.remove()
    assert len(calls) == 1


@pytest.mark.parametrize("threshold", [0, 4])
def test_through_gated_a_still_clip_reads_as_its_first_frame(
    reader: VitReader, coded: Footage, threshold: float
) -> None:
    clip = coded.rgb(30)[None].expand(3, -1, -1, -1)
    looks, _ = visible(coded, [30])
    tower = patchgate.gated(reader.tower, reader.spec, context="kept", threshold=threshold)
    hidden = tower(pixel_values(clip)).last_hidden_state
    torch.testing.assert_close(hidden, reader.hidden(clip[:1]).expand_as(hidden), atol=1e-4, rtol=0)
    dense = reader.read(coded, looks)
    for frame in range(3):
        same = [Look(frame, look.box, look.kind) for look in looks]
        assert reader.read_hidden(hidden, same) == dense
