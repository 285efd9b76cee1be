"""Motion to fractions of a pixel in the gate's emulated CUDA kernels: the definition's bits."""

from pathlib import Path

import pytest
import torch
from emulated_gate import assert_is_defined, emulated
from gate_cases import call, copied
from gate_videos import any_map, any_video, drift, gate_settings, grids, noisy, still, with_object
from hypothesis import given, settings
from hypothesis import strategies as st

from patchgate import open_video
from patchgate.grid import to_grid

CLIPS = Path(__file__).parents[2] / "examples" / "clips"

precisions = pytest.mark.parametrize("precision", [2, 4])


@given(st.data(), st.sampled_from([2, 4]))
@settings(max_examples=40)
def test_fractions_of_a_pixel_are_as_defined_in_every_setting(
    data: st.DataObject, precision: int
) -> None:
    radius = data.draw(st.sampled_from([1, 2, 3, 5]))
    config = data.draw(gate_settings(motion_precision=precision, search_radius=radius))
    h, w = data.draw(grids(config))
    p, c = config["patch"] * config["merge"], data.draw(st.sampled_from([1, 3]))
    videos = []
    for seed in data.draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=3)):
        step = (data.draw(st.integers(-7, 7)), data.draw(st.integers(-7, 7)))
        film = drift((h * p, w * p), 6, step, seed, c)
        videos.append(film if data.draw(st.booleans()) else any_video((h * p, w * p), c, seed)[:8])
    factors = any_map(h, w, 7).double() if data.draw(st.booleans()) else None
    pushes, blocks = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    seed = data.draw(st.integers(0, 9999))
    assert_is_defined(call(config, videos, factors), pushes=pushes, blocks=blocks, seed=seed)


@precisions
@pytest.mark.parametrize(
    ("patch", "merge", "sub_blocks", "radius", "f"),
    [(8, 1, 2, 5, 1), (8, 1, 2, 5, 2), (14, 1, 2, 8, 1), (14, 1, 2, 8, 2), (16, 1, 2, 8, 1),
     (14, 2, 2, 4, 2), (16, 2, 2, 2, 1), (13, 1, 1, 4, 2), (1, 1, 1, 8, 1), (7, 1, 7, 2, 1),
     (100, 1, 1, 1, 1), (256, 1, 2, 1, 1), (8, 1, 1, 31, 2)],
)  # fmt: skip
def test_fractions_of_a_pixel_are_as_defined_for_any_cell_side(
    patch: int, merge: int, sub_blocks: int, radius: int, f: int, precision: int
) -> None:
    """Windows that fit into shared memory, and some (of 100 and 256 pixels) that do not."""
    config = {"patch": patch, "merge": merge, "sub_blocks": sub_blocks, "search_radius": radius}
    config |= {"temporal_patch": f, "scene_cut": None, "noise": None, "threshold": 9}
    size = (2 * patch * merge, 3 * patch * merge)
    videos = [drift(size, 3 * f, (3, -5), 1, 3), any_video(size, 3, 7)[: 3 * f]]
    assert_is_defined(call(config | {"motion_precision": precision}, videos), pushes=2)


@precisions
@pytest.mark.parametrize("on_motion", ["encode", "camera", "reuse"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_pan_by_fractions_moves_cells_by_fractions(
    on_motion: str, precision: int, seed: int
) -> None:
    """Beside a stream that stands still and one with an object that goes its own way."""
    step = (4 // precision, -3 * 4 // precision)  # a step, and three, of the finest
    film = drift((32, 48), 8, step, 3, 3)
    videos = [film, still((32, 48), 8, c=3), with_object(noisy(film, 1), (1, 2))]
    config = {"on_motion": on_motion, "motion_precision": precision, "threshold": 9}
    args = call(config | {"noise": None, "hysteresis": None, "scene_cut": None}, videos)
    assert_is_defined(args, pushes=3, blocks=4, seed=seed)
    kind, motion, *_ = emulated(copied(args), 4, seed)
    moved = (kind == 1) & (motion % precision != 0).any(-1)  # [S, T, h, w]
    assert bool(moved[0].any()) == (on_motion != "encode")


@precisions
@pytest.mark.parametrize("on_motion", ["camera", "reuse"])
@pytest.mark.parametrize("pushes", [1, 3, 10])
def test_token_ids_follow_fractions_across_pushes(
    on_motion: str, precision: int, pushes: int
) -> None:
    """Ids move by whole pixels, which frames take in turns: the clock goes on between pushes."""
    films = [drift((32, 32), 14, step, seed) for seed, step in enumerate([(1, 0), (-2, 3)])]
    config = {"on_motion": on_motion, "motion_precision": precision, "threshold": 12}
    config |= {"max_age": 5, "noise": None, "hysteresis": None, "search_radius": 2}
    assert_is_defined(call(config, films), pushes=pushes)


@precisions
def test_fractions_of_a_pixel_are_as_defined_on_a_real_clip(precision: int) -> None:
    with open_video(CLIPS / "torchcodec_nasa_13013.mp4") as video:
        frames = to_grid(next(iter(video)), (112, 168))[::3][:4]  # [4, 3, H, W]
    config = {"patch": 14, "search_radius": 4, "noise": None, "hysteresis": None}
    assert_is_defined(call(config | {"motion_precision": precision}, [frames]), pushes=2)


@precisions
def test_the_dominant_vector_wins_where_the_search_missed_it(precision: int) -> None:
    """Stripes a pixel wide vanish between pixels: whole vectors lead the search astray, to minima
    within a pixel of the dominant vector that pass too.
    """
    film = drift((48, 64), 2, (0, 6), 4, grain=3) // 5 + 64  # [2, 1, H, W], one and a half pixels
    stripes = torch.tensor([30, -30]).repeat(16)
    film[0, :, :, 16:48] = (film[0, :, :, 16:48] + stripes).to(torch.uint8)
    config = {"motion_precision": precision, "threshold": 10, "sub_blocks": 1, "max_age": None}
    config |= {"noise": None, "hysteresis": None, "scene_cut": None}
    motion = {}
    for on_motion in ("camera", "reuse"):
        args = call(config | {"on_motion": on_motion}, [film])
        assert_is_defined(args)
        kind, found, *_ = emulated(copied(args), 3, 0)
        motion[on_motion] = torch.where(kind[0, 1, ..., None] == 1, found[0, 1], 0)  # [h, w, 2]
    dominant = torch.tensor([0, 3 * precision // 2])
    own = motion["reuse"]
    near = (own != 0).any(-1) & ((own - dominant).abs() <= precision).all(-1)
    missed = near & (own != dominant).any(-1)
    assert (motion["camera"][missed] == dominant).all(-1).any()
