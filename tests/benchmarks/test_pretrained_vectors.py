"""benchmarks/pretrained/vectors.py: vectors of a clip, by the model itself and gated."""

from argparse import Namespace
from pathlib import Path

import clips as cases
import pytest
import torch
from pretrained import vectors
from pretrained.weights import MEAN, PATCH, STD
from pretrained_cases import tiny

import patchgate
from patchgate.gather import PixelSpec

SPEC = PixelSpec(56, MEAN, STD, PATCH)


def given(**changed: object) -> Namespace:
    return Namespace(**({"side": 56, "end": 0.5, "pairs": 0, "settings": {}} | changed))


def test_the_pixels_are_those_that_the_gated_tower_computes(tmp_path: Path) -> None:
    path, model = cases.write(tmp_path / "clip.mp4", frames=12), tiny().model
    tower = patchgate.gated(model, SPEC, threshold=0, tolerance=0)
    own = vectors.dense(model, path, SPEC, 9.0)
    assert len(own) == 12
    assert torch.allclose(patchgate.embed(path, tower).features, own, atol=1e-4)


def test_a_row_says_how_near_the_vectors_are(tmp_path: Path) -> None:
    path = cases.write(tmp_path / "asl_like.mp4", frames=12)
    exact = vectors.clip(tiny().model, path, given(settings={"threshold": 0, "tolerance": 0}))
    rough = vectors.clip(tiny().model, path, given(settings={"threshold": 64}))
    assert exact["camera"] == "still"
    assert exact["cosine, least"] == 1.0
    assert rough["cosine, least"] < exact["cosine, least"]
    assert "speed-up" not in exact


@pytest.mark.parametrize("pairs", [1, 2])
def test_pairs_are_timed(tmp_path: Path, pairs: int) -> None:
    path = cases.write(tmp_path / "bikes.mp4", frames=12)
    row = vectors.clip(tiny().model, path, given(pairs=pairs))
    assert row["camera"] == "moving"
    least, most = row["of each pair"]
    assert 0 < least <= most
    if pairs == 1:  # its time is all there is, each figure rounded by itself
        assert row["speed-up"] == pytest.approx(most, rel=0.01)
    assert row["frames/s"] > 0
