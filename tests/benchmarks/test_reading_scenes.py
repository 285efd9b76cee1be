"""benchmarks/reading/scenes: what a clip says of itself is what its footage shows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from reading import clips
from reading.fonts import FONTS, font
from reading.scenes import SCENES, record, typeset
from reading.truth import SCREEN, SHAPES, SMALL, Clip, Item

SECONDS = 2.5
SIZES = {"screen": SCREEN, "small": SMALL}
LUMA = torch.tensor([0.2126, 0.7152, 0.0722])

GROUPS: dict[str, tuple[str, ...]] = {  # of the items in a scene
    "slides": ("slide", "formula"),
    "lecture": ("lecture",),
    "noise": ("noise",),
    "subtitles-large": ("subtitle-large",),
    "subtitles-small": ("subtitle-small",),
    "fade": ("fade",),
    "pan": ("pan",),
    "zoom": ("zoom",),
    "scroll": ("scroll",),
    "code": ("code",),
    "windows": ("window",),
    "prepend-fill": ("prepend",),
    "prepend-push": ("prepend",),
    "sign": ("sign",),
    "players": ("player",),
    "dialogue": ("dialogue",),
    "speaker": ("speaker",),
    "exposure": ("exposure",),
    "mains": ("mains",),
    "lamp": ("lamp",),
}


@pytest.fixture(scope="module", params=[f"{scene} {size}" for size in SIZES for scene in SCENES])
def clip(request: pytest.FixtureRequest) -> Clip:
    """Every scene in both sizes."""
    scene, size = request.param.split()
    return clips.render(scene, "train", 0, SIZES[size], SECONDS)


@pytest.fixture(scope="module", params=SCENES)
def footage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """Every scene in the small size, coded into a folder of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clips, "CACHE", tmp_path_factory.mktemp("footage"))
        return clips.footage(request.param, "train", 0, SMALL, SECONDS)


def told(clip: Clip) -> list[tuple]:
    return [
        (i.text, i.group, i.first, i.boxes.tolist(), i.visible.tolist(), i.glyphs.tolist())
        for i in clip.items
    ]


@pytest.mark.parametrize("scene", SCENES)
def test_a_seed_is_a_clip_and_splits_are_apart(scene: str) -> None:
    clip, again, seed, validation, test = (
        clips.render(scene, split, seed, SMALL, seconds=1)
        for split, seed in [
            ("train", 3),
            ("train", 3),
            ("train", 4),
            ("validation", 3),
            ("test", 3),
        ]
    )
    assert np.array_equal(clip.frames, again.frames)
    assert told(clip) == told(again)
    different = [clip, seed, validation, test]
    assert len({other.frames.tobytes() for other in different}) == 4


def test_items(clip: Clip) -> None:
    assert clip.frames.shape == (62, *clip.size, 3)
    assert {item.group for item in clip.items} == set(GROUPS[clip.scene])
    for item in clip.items:
        assert item.visible.any()
        assert item.first >= 0
        assert item.first + len(item.boxes) <= len(clip.frames)
        boxes = item.boxes[item.visible]
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= clip.size[::-1]).all()
        assert (boxes[:, 2:] - boxes[:, :2] >= 4).all()
        assert len(item.glyphs) == (1 if item.kind == "shape" else len(item.text))
        assert item.kind == "text" or item.text in SHAPES


def test_glyphs_are_a_cell_apart(clip: Clip) -> None:
    """No 8 x 8 pixels hold the centres of two glyphs that are to be read."""
    for t in range(0, len(clip.frames), 10):
        cells = [cell for item in clip.items for cell in centres(item, t)]
        assert len(cells) == len(set(cells))


def test_visible_boxes_do_not_overlap(clip: Clip) -> None:
    for t in range(0, len(clip.frames), 10):
        if boxes := [box for item in clip.items if (box := item.at(t))]:
            overlaps = typeset.meet(np.array(boxes)[:, None], np.array(boxes)[None])
            assert overlaps.sum() == len(boxes)  # each with itself


def centres(item: Item, t: int) -> list[tuple[int, int]]:
    box = item.at(t)
    if box is None:
        return []
    left, top, right, bottom = box
    x = left + item.glyphs[:, ::2].mean(axis=1) * (right - left)
    y = top + item.glyphs[:, 1::2].mean(axis=1) * (bottom - top)
    return [(int(a) // 8, int(b) // 8) for a, b in zip(x, y, strict=True)]


def test_footage_shows_what_is_visible(footage: clips.Footage) -> None:
    clip = clips.render(footage.truth.scene, "train", 0, SMALL, SECONDS)
    assert footage.planes.shape == (len(clip.frames), 3, *SMALL)
    assert footage.matrix == "bt709"
    assert told(footage.truth) == told(clip)
    assert len(footage.truth.frames) == 0
    rendered = torch.from_numpy(clip.frames[::10]).permute(0, 3, 1, 2).float()
    error = footage.rgb(slice(None, None, 10)) - rendered  # [t, 3, H, W]
    assert error.abs().mean() < 6
    assert error.mean().abs() < 1.5  # as bright as it was: range and matrix are right
    for item in footage.truth.items:
        index = np.flatnonzero(item.visible)
        for t in (item.first + index[[0, len(index) // 2, -1]]).tolist():
            assert contrast(footage, item, t) > 25, (item.text, t)


def contrast(footage: clips.Footage, item: Item, t: int) -> float:
    """Between the darkest and the lightest of an item and a margin, in luma."""
    left, top, right, bottom = (round(side) for side in item.at(t))
    luma = (footage.rgb(t).permute(1, 2, 0).float() @ LUMA)[
        max(0, top - 4) : bottom + 4, max(0, left - 4) : right + 4
    ]
    low, high = luma.quantile(torch.tensor([0.03, 0.97]))
    return float(high - low)


def test_footage_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "CACHE", tmp_path)
    first = clips.footage("sign", "train", 0, SMALL, 1)
    monkeypatch.setattr(clips, "render", None)  # it would be called without the files
    again = clips.footage("sign", "train", 0, SMALL, 1)
    assert torch.equal(first.planes, again.planes)
    assert told(first.truth) == told(again.truth)


def test_coding_is_deterministic(tmp_path: Path) -> None:
    frames = clips.render("players", "train", 0, SMALL, seconds=2).frames
    for name in ("one", "two"):
        clips.encode(frames, 25, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("name", FONTS)
def test_boxes_hold_the_ink(name: str) -> None:
    word = typeset.Word(typeset.spaced("QW+J7=L", font(name, 18)), 30, 20, (255, 255, 255))
    page = Image.new("RGB", (240, 60))
    word.draw(page)
    left, top, right, bottom = page.point(lambda value: 255 * (value > 100)).getbbox()
    outside = np.array([left, top, -right, -bottom]) - word.box * (1, 1, -1, -1)
    assert (outside >= -1).all()  # no ink beyond a pixel of it
    assert (outside <= (4, 2, 4, 2)).all()  # and little else: a font's own side bearings


def test_what_is_covered_is_hidden() -> None:
    word = typeset.Word(typeset.spaced("ABC", font("sans", 20)), 10, 10, (0, 0, 0))
    item = record.still(word, "slide", 2, 5)
    cover = np.zeros((8, 4))
    cover[3] = word.box - 1.5  # partly
    cover[4] = word.box + 100  # elsewhere
    (hidden,) = record.hide([item], cover)
    assert hidden.visible.tolist() == [True, False, True]


def test_players_hide_each_other_and_return() -> None:
    clip = clips.render("players", "train", 0, SMALL)
    assert any(np.diff(item.visible.astype(int)).max(initial=0) > 0 for item in clip.items)


def test_a_closed_window_returns_as_another_item() -> None:
    clip = clips.render("windows", "train", 0, SCREEN)
    places = [(item.text, tuple(item.boxes[0])) for item in clip.items if item.first > 0]
    assert len(set(places)) < len(places)


def test_fades_are_hidden_until_they_can_be_read() -> None:
    clip = clips.render("fade", "train", 0, SMALL)
    for item in clip.items:
        shown = int(item.visible.argmax())
        assert shown > 5
        assert item.visible[shown:].all()


def test_filling_stands_still_and_pushing_does_not() -> None:
    for scene, still in (("prepend-fill", True), ("prepend-push", False)):
        lasting = [
            item for item in clips.render(scene, "train", 0, SMALL).items if len(item.boxes) > 30
        ]
        assert lasting
        assert all((np.ptp(item.boxes, axis=0) == 0).all() for item in lasting) == still
