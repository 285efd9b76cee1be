"""From video tokens to LLaVA-OneVision, against the model's own way there."""

import pytest
import torch
from adapter_cases import Lora
from language_cases import PAD, llava
from qwen_cases import GRID
from since import language_models
from token_cases import kept_mask, video_tokens

import patchgate
from patchgate.encoders.gated.pixels import gate_planes
from patchgate.encoders.patch_grid import patch_rows
from patchgate.language import llava_onevision_inputs

pytestmark = language_models
EXACT = {"rtol": 0, "atol": 1e-10}
T, FPS = 4, 3.0
BEFORE, AFTER = torch.tensor([5, 6, 7]), torch.tensor([8, 9])
layouts = pytest.mark.parametrize("layout", ["packed", "dense"])


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


SIDE = 5  # cells


def tokens_of(model, frames, mask):
    states = model.model.vision_tower(frames, output_hidden_states=True).hidden_states[-2]
    return video_tokens(mask, states.unflatten(1, (SIDE, SIDE))[mask], FPS)


def frames_of(t=T):
    random = torch.Generator().manual_seed(1)
    return torch.randn(t, 3, 40, 40, generator=random, dtype=torch.float64)


PROMPT = torch.cat([BEFORE, torch.tensor([PAD]), AFTER])


@layouts
def test_everything_kept_is_the_stock_model(layout):
    model, frames = llava(), frames_of()
    tokens = tokens_of(model, frames, torch.ones(T, SIDE, SIDE, dtype=torch.bool))
    ours = llava_onevision_inputs(model, PROMPT, tokens, layout=layout)
    ids = torch.cat([BEFORE, torch.full((T * 9 + 1,), PAD), AFTER])[None]
    assert torch.equal(ours["input_ids"], ids)
    stock = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values_videos": frames[None],
    }
    torch.testing.assert_close(model(**ours).logits, model(**stock).logits, **EXACT)
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    assert torch.equal(model.generate(**ours, **options), model.generate(**stock, **options))


def test_float32_tokens_for_a_bfloat16_model():
    model, frames = llava().bfloat16(), frames_of().bfloat16()
    tokens = tokens_of(model, frames, torch.ones(T, SIDE, SIDE, dtype=torch.bool))
    inputs = llava_onevision_inputs(model, PROMPT, tokens)
    tokens.features = tokens.features.float()
    again = llava_onevision_inputs(model, PROMPT, tokens)
    assert torch.equal(
        inputs["mm_encoder_outputs"]["video"].pooler_output,
        again["mm_encoder_outputs"]["video"].pooler_output,
    )


def test_it_reads_a_gated_tower_that_ends_at_the_layer_it_selects():
    model, frames = llava(), frames_of() * 0.2
    tower, settings = model.model.vision_tower, {"threshold": 0, "context": "kept"}
    layer = model.config.vision_feature_layer
    sparse = patchgate.gated(tower, mean=0.5, std=0.5, feature_layer=layer, **settings)
    result = patchgate.Gate(patch=8, threshold=0).push(gate_planes(frames, (0.5,) * 3, (0.5,) * 3))
    assert (result.kind == 2).all()
    rows = patch_rows(frames, 8, torch.arange(T * SIDE * SIDE))
    ends = torch.arange(T + 1) * SIDE * SIDE
    features = sparse.encode(rows, torch.arange(SIDE * SIDE).repeat(T), ends, result.source)
    tokens = video_tokens(result.kind == 2, features, FPS)
    ours = llava_onevision_inputs(model, PROMPT, tokens)
    stock = {"input_ids": ours["input_ids"], "pixel_values_videos": frames[None]}
    torch.testing.assert_close(model(**ours).logits, model(**stock).logits, **EXACT)


@pytest.mark.parametrize("context", ["kept", "full"])
def test_the_model_takes_a_gated_tower(context):
    """In place of its own: the model pools the dense layout itself."""
    model, frames = llava(), frames_of() * 0.2
    ids = torch.cat([BEFORE, torch.full((T * 9 + 1,), PAD), AFTER])[None]
    inputs = {"input_ids": ids, "pixel_values_videos": frames[None]}
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    logits, words = model(**inputs).logits, model.generate(**inputs, **options)
    tower = model.model.vision_tower
    model.model.vision_tower = patchgate.gated(tower, mean=0.5, std=0.5, context=context)
    torch.testing.assert_close(model(**inputs).logits, logits, **EXACT)
    assert torch.equal(model.generate(**inputs, **options), words)


def test_an_adapter_on_the_projector_is_in_the_result():
    model, frames = llava(), frames_of()
    tokens = tokens_of(model, frames, torch.ones(T, SIDE, SIDE, dtype=torch.bool))
    plain = llava_onevision_inputs(model, PROMPT, tokens)["mm_encoder_outputs"]["video"]
    projector = model.model.multi_modal_projector
    projector.linear_1 = Lora(projector.linear_1)
    ours = llava_onevision_inputs(model, PROMPT, tokens)
    assert not torch.allclose(
        ours["mm_encoder_outputs"]["video"].pooler_output, plain.pooler_output
    )
    stock = {"input_ids": ours["input_ids"], "pixel_values_videos": frames[None]}
    torch.testing.assert_close(model(**ours).logits, model(**stock).logits, **EXACT)


def test_it_pools_sources_and_packs_what_is_new():
    """The dense layout pools every frame; only pooled cells with a kept one in them stay."""
    model, mask = llava(), kept_mask(T, (SIDE, SIDE), 3)
    tokens = tokens_of(model, frames_of(), mask)
    packed, dense = (
        llava_onevision_inputs(model, PROMPT, tokens, layout=way) for way in ("packed", "dense")
    )
    every = model.model.multi_modal_projector(tokens.dense().flatten(1, 2))
    pooled = model.model.apply_pooling(every)  # [T, 9, E]
    output = dense["mm_encoder_outputs"]["video"].pooler_output[0]
    torch.testing.assert_close(output[:-1], pooled.flatten(0, 1), **EXACT)
    # 5 cells become 3: pooled cell i lies at 5 / 3 * (i + 0.5) - 0.5, between two of these.
    near = {0: [0, 1], 1: [2], 2: [3, 4]}
    new = torch.stack(
        [mask[:, near[i]][:, :, near[j]].flatten(1).any(1) for i in range(3) for j in range(3)], 1
    )
    keep = torch.cat([torch.tensor([True] * 3), new.flatten(), torch.tensor([True] * 3)])
    assert not keep.all()
    assert torch.equal(packed["input_ids"], dense["input_ids"][:, keep])
    assert torch.equal(packed["position_ids"], dense["position_ids"][:, keep])
    few = packed["mm_encoder_outputs"]["video"].pooler_output[0]
    assert torch.equal(few, output[keep[3:-2]])
    assert torch.isfinite(model(**packed).logits).all()
    compact = llava_onevision_inputs(model, PROMPT, tokens, positions="compact")
    assert compact["position_ids"].tolist() == [list(range(int(keep.sum())))]


def test_tokens_of_another_grid_are_refused():
    mask = kept_mask(T, GRID)
    other = video_tokens(mask, torch.zeros(int(mask.sum()), 7), FPS)
    with pytest.raises(ValueError, match="frames of 5 x 5 cells, got 3 x 5"):
        llava_onevision_inputs(llava(), PROMPT, other)
    mask = kept_mask(T, (SIDE, SIDE))
    other = video_tokens(mask, torch.zeros(int(mask.sum()), 7), FPS)
    with pytest.raises(ValueError, match="features of 24 numbers, got 7"):
        llava_onevision_inputs(llava(), PROMPT, other)
