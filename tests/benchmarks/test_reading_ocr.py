"""PP-OCR and the shape reader on pictures drawn here, and what survives of a screen recording."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from reading import real
from reading.clips import encode
from reading.fonts import FONTS, font
from reading.ink import setting
from reading.looks import Look, distance
from reading.readers.ocr import OcrReader, Recogniser, cut, plain
from reading.readers.shapes import ShapeReader
from reading.scenes import movers, overlays
from reading.truth import ALPHABET, SHAPES, SIGNS


class Pictures:
    """Numbered frames that know how often they were looked at."""

    def __init__(self, *pages):
        self._pages = [torch.from_numpy(np.array(page)).permute(2, 0, 1) for page in pages]
        self.asked = []

    def rgb(self, frame):
        self.asked.append(frame)
        return self._pages[frame]


@cache
def ocr():
    return OcrReader()


def page(lines, paper=(250, 250, 250), ink=(20, 20, 20), size=(240, 320)):
    """A page with a line per (text, font name, em), and the looks at them."""
    drawn, looks, top = Image.new("RGB", size[::-1], paper), [], 12.0
    for text, name, em in lines:
        line = setting(text, font(name, em))
        line.draw(ImageDraw.Draw(drawn), 20, top, ink)
        looks.append(Look(0, (20, top, 20 + line.width, top + line.height), "text"))
        top += 1.7 * em
    return drawn, looks


def count_runs(monkeypatch, recogniser):
    """How many crops the network sees, a number per batch."""
    seen, run = [], recogniser._run
    monkeypatch.setattr(recogniser, "_run", lambda p: (seen.append(len(p)), run(p))[1])
    return seen


@pytest.mark.parametrize(("paper", "ink"), [(250, 20), (30, 220), (128, 168)])
def test_reads_every_font(paper, ink):
    texts = ["PATCH", "G8+X=4", "M2W", "27BQZ", "A=H-3", "NEWLY", "KVTR", "65ES", "JUD9"]
    lines = [(text, name, 20) for text, name in zip(texts, FONTS, strict=True)]
    drawn, looks = page(lines, (paper,) * 3, (ink,) * 3, (360, 320))
    assert ocr().read(Pictures(drawn), looks) == texts


@pytest.mark.parametrize("em", [14, 18, 30, 60])
def test_reads_every_size(em):
    drawn, looks = page([("MARK", "sans", em)])
    assert ocr().read(Pictures(drawn), looks) == ["MARK"]


def test_reads_what_is_there_not_what_was():
    blank, _ = page([])
    first, looks = page([("LATER", "sans", 24)])
    second, _ = page([("NEXT", "sans", 24)])
    at = [Look(frame, looks[0].box, "text") for frame in (2, 0, 1)]
    assert ocr().read(Pictures(blank, first, second), at) == ["NEXT", "", "LATER"]


def test_no_looks():
    assert ocr().read(Pictures(), []) == []


def test_the_same_pixels_are_read_once(monkeypatch):
    reader = OcrReader()
    seen = count_runs(monkeypatch, reader._recogniser)
    drawn, looks = page([("ABC", "mono", 20), ("XYZ", "mono", 20)])
    again = [*looks, *(Look(1, look.box, "text") for look in looks)]
    pictures = Pictures(drawn, drawn.copy())
    assert reader.read(pictures, again) == ["ABC", "XYZ"] * 2
    assert sorted(pictures.asked) == [0, 1]
    assert sum(seen) == 2
    assert reader.read(Pictures(drawn), looks) == ["ABC", "XYZ"]
    assert sum(seen) == 2


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr("reading.readers.ocr.REMEMBERED", 3)
    recogniser = Recogniser()
    crops = [torch.full((3, 10, 12 + k), 9 * k, dtype=torch.uint8) for k in range(8)]
    assert len(recogniser.read(crops)) == 8
    seen = count_runs(monkeypatch, recogniser)
    recogniser.read(crops[5:])
    assert not seen
    recogniser.read(crops[:1])
    assert seen == [1]


def test_shape_is_part_of_the_memory():
    recogniser = Recogniser()
    drawn, looks = page([("ABC", "sans", 24)])
    crop = cut(Pictures(drawn).rgb(0), looks[0].box).contiguous()
    garbled = crop.view(3, crop.shape[2], crop.shape[1])
    assert recogniser.read([crop])[0].text == "ABC"
    assert recogniser.read([garbled])[0].text != "ABC"


def test_a_reading_does_not_depend_on_the_others():
    words = [f"{k}MARK{k}" for k in (2, 3, 4)] + ["AB", "LENGTH2X"]
    drawn, looks = page([(word, "serif", 22) for word in words])
    together = ocr().read(Pictures(drawn), looks)
    assert together == words
    assert [OcrReader().read(Pictures(drawn), [look])[0] for look in looks] == together


def test_confidence():
    recogniser = Recogniser()
    drawn, looks = page([("CLEARLY", "sans", 30)])
    crop = cut(Pictures(drawn).rgb(0), looks[0].box)
    (clear,) = recogniser.read([crop])
    (blank,) = recogniser.read([torch.full_like(crop, 200)])
    assert 0.9 < clear.confidence <= 1
    assert blank == ("", 0.0)


def test_cut_stays_in_the_picture():
    picture = torch.arange(3 * 50 * 80).view(3, 50, 80)
    assert torch.equal(cut(picture, (20.5, 10.5, 40.2, 20.5)), picture[:, 8:23, 18:43])
    assert torch.equal(cut(picture, (0, 0, 80, 50)), picture)


@given(st.text())
def test_plain_is_in_the_alphabet(text):
    assert set(plain(text)) <= set(ALPHABET)
    assert plain(plain(text)) == plain(text)


def test_plain_knows_what_looks_alike():
    assert plain("a \u2212 b\u2014c \uff0b\uff1d7.") == "A-B-C+=7"
    assert plain(ALPHABET.lower()) == ALPHABET
    assert len(SIGNS) == 3


def with_shape(name, left, top, side, paper, ink):
    frame = np.empty((120, 160, 3), np.uint8)
    frame[:] = paper
    overlays.paste(frame, movers.shape(name, side, ink), left, top)
    return frame, Look(0, (left, top, left + side, top + side), "shape")


colours = st.tuples(*[st.integers(0, 255)] * 3)


@given(st.sampled_from(SHAPES), st.floats(0, 110), st.floats(0, 70), colours, colours,
       st.integers(0, 9))  # fmt: skip
@settings(max_examples=40)
def test_names_shapes_anywhere_in_any_colours(name, left, top, paper, ink, seed):
    if np.linalg.norm(np.subtract(paper, ink)) < 40:
        ink = tuple((value + 128) % 256 for value in paper)
    frame, look = with_shape(name, left, top, 50, paper, ink)
    noise = np.random.default_rng(seed).normal(0, 3, frame.shape)
    noisy = np.clip(frame + noise, 0, 255).astype(np.uint8)
    assert ShapeReader().read(Pictures(noisy), [look]) == [name]


def test_names_nothing_where_nothing_is():
    frame, look = with_shape("fork", 50, 40, 40, (40, 90, 60), (220, 200, 90))
    beside = Look(0, (4, 4, 44, 44), "shape")
    half = Look(0, (70, 40, 110, 80), "shape")
    assert ShapeReader().read(Pictures(frame), [beside, look, half]) == ["", "fork", ""]
    grain = np.random.default_rng(0).integers(90, 110, frame.shape).astype(np.uint8)
    assert ShapeReader().read(Pictures(grain), [look]) == [""]


def test_two_shapes_in_one_place_are_none():
    frame, look = with_shape("cross", 50, 40, 40, (40, 90, 60), (220, 200, 90))
    overlays.paste(frame, movers.shape("ring", 40, (220, 200, 90)), 62, 52)
    assert ShapeReader().read(Pictures(frame), [look]) == [""]


@given(st.text("ABC", max_size=6), st.text("ABC", max_size=6))
@settings(max_examples=50)
def test_distance_is_a_metric(one, other):
    found = distance(one, other)
    assert found == distance(other, one)
    assert (found == 0) == (one == other)
    assert abs(len(one) - len(other)) <= found <= max(len(one), len(other))


def test_distance():
    assert distance("KITTEN", "SITTING") == 3
    assert distance("", "AB") == 2


def test_recording(tmp_path):
    """A word is typed, another stays: everything sure of itself is read again from the tokens."""
    frames = []
    for t in range(24):
        lines = [("STAYS", "sans", 40), ("TYPED"[: 1 + t // 3], "sans", 40)]
        frames.append(np.asarray(page(lines, size=(224, 280))[0]))
    encode(np.stack(frames), 25, tmp_path / "screen.mp4")
    found = real.rows(tmp_path / "screen.mp4", samples=2)
    ours, rlt = found[0], found[-1]
    assert [row["method"] for row in found] == [
        "patchgate, threshold 4", "patchgate, threshold 2", "patchgate, threshold 6",
        "patchgate, threshold 8", "adjacent (RLT), tau 0.1",
    ]  # fmt: skip
    assert ours["strings"] >= 2
    assert ours["equal"] == ours["strings"]
    assert ours["characters_right"] == ours["characters"]
    assert ours["grid"] == [112, 140]
    cells = 8 * 10 * 25  # a second
    assert 80 * 25 / 24 <= rlt["tokens_per_second"] <= ours["tokens_per_second"] < cells / 4
