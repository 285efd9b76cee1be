"""tokenize with a Qwen tower: frames in pairs, cells of four patches, sizes of the video's own."""

import pytest
import torch
from language_cases import BEGIN, END, PAD, Letters, qwen
from qwen_cases import M, P, tower
from since import language_models
from token_cases import FRAMES, SECOND, SIZE, path

import patchgate
from patchgate.gather import PixelSpec, gather
from patchgate.gather.resize import Keep
from patchgate.language import qwen3_vl_inputs

SPEC = PixelSpec(Keep(), 0.5, 0.25, P, M, 2)
T, CELLS = -(-FRAMES // 2), (SIZE[0] // (P * M), SIZE[1] // (P * M))
names = pytest.mark.parametrize("name", ["qwen25", "qwen3"])


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def gated(model, **settings):
    return patchgate.gated(model, SPEC, **settings)


def dense(model) -> torch.Tensor:
    """The tower on all frames, the last one twice, ``[T, h, w, E]``."""
    with patchgate.open_video(path(), chunk=64) as video:
        (batch,) = video
    h, w = CELLS
    rows = gather(batch, torch.arange(T * h * w), SPEC)
    out = model(rows, grid_thw=torch.tensor([[T, h * M, w * M]]))
    features = [out.pooler_output, *getattr(out, "deepstack_features", ())]
    return torch.cat(features, 1).view(T, h, w, -1)


@names
def test_every_cell_kept_is_the_dense_tower(name):
    model = tower(name, torch.float32)
    tokens = patchgate.tokenize(path(), gated(model, max_age=1))
    assert bool(tokens.is_key.all())
    assert tokens.shape == (T, *CELLS)
    torch.testing.assert_close(tokens.dense(), dense(model), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tokens.pts_seconds, torch.arange(T).double() * 2 * SECOND)
    lasting = torch.full((T,), 2 * SECOND, dtype=torch.float64)
    lasting[-1] = SECOND  # the frame that is repeated
    torch.testing.assert_close(tokens.duration_seconds, lasting)


@names
@pytest.mark.parametrize("fidelity", [{"context": "kept"}, {}])
def test_chunks_do_not_matter(name, fidelity):
    """Nor do those that end inside a tubelet."""
    sparse = gated(tower(name, torch.float64), threshold=40, scene_cut=None, **fidelity)
    whole = patchgate.tokenize(path(), sparse, chunk=64)
    assert 0 < whole.kept_share < 1
    for chunk in (1, 5, 8):
        parts = patchgate.tokenize(path(), sparse, chunk=chunk)
        assert torch.equal(whole.source, parts.source)
        assert torch.equal(whole.pts_seconds, parts.pts_seconds)
        torch.testing.assert_close(whole.features, parts.features, atol=1e-9, rtol=1e-9)


@language_models
def test_a_video_file_to_words():
    model = qwen("qwen3", torch.float32)
    tokens = patchgate.tokenize(path(), gated(model.model.visual))
    prompt = torch.tensor([5, BEGIN, PAD, END, 6])
    inputs = qwen3_vl_inputs(model, prompt, tokens, Letters())
    assert int((inputs["input_ids"] == PAD).sum()) == len(tokens)
    words = model.generate(**inputs, max_new_tokens=4, do_sample=False, eos_token_id=None)
    assert words.shape[1] == inputs["input_ids"].shape[1] + 4


def test_another_size_is_refused():
    sparse = gated(tower("qwen3", torch.float32))
    gate = patchgate.Gate(patch=P, merge=M, temporal_patch=2, size=32)
    with pytest.raises(ValueError, match="gate: the tower needs size=None"):
        patchgate.tokenize(path(), sparse, gate=gate)
