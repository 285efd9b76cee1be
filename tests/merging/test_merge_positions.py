"""Where and when merged tokens stand, and what a language model is given of them."""

import pytest
import torch
from language_cases import PAD, Letters, qwen
from merge_cases import random_tokens
from since import language_models
from token_cases import kept_mask, video_tokens

from patchgate import VideoTokens, merge
from patchgate.language import qwen3_vl_inputs, qwen25_vl_inputs
from patchgate.language.positions import token_places, token_seconds

places = pytest.mark.parametrize("place", ["first", "mean"])


def cells_of(tokens: VideoTokens, k: int) -> torch.Tensor:
    return (tokens.source == k).nonzero()


@pytest.mark.parametrize("tokens", [random_tokens(), random_tokens().slice(0.35, 0.95)])
def test_places_and_times_are_those_of_the_cells_stood_for(tokens: VideoTokens) -> None:
    merged = merge(tokens, threshold=1.0, spatial=True)
    first, mean = (token_places(merged, place) for place in ("first", "mean"))
    seconds = token_seconds(merged)
    assert torch.equal(
        merged.size, torch.tensor([len(cells_of(merged, k)) for k in range(len(merged))])
    )
    for k in range(len(merged)):
        cells = cells_of(merged, k)
        frame, cell = int(first[0][k]), first[1][k].tolist()
        assert frame == int(cells[0, 0])
        assert int(merged.source[frame, *cell]) == k
        centre = cells.double().mean(0).round().long()
        assert [int(mean[0][k]), *mean[1][k].tolist()] == centre.tolist()
        times = merged.pts_seconds[cells[:, 0]]
        end = merged.shown_until()[cells[-1, 0]]
        torch.testing.assert_close(seconds[k], torch.stack([times[0], times.mean(), end]))
    own = merged.frame >= 0
    assert torch.equal(first[0][own], merged.frame[own])
    assert torch.equal(first[1][own], merged.cell[own])


def test_tokens_that_were_never_merged_have_places_and_times_too() -> None:
    tokens = random_tokens()
    frame, cell = token_places(tokens)
    assert torch.equal(frame, tokens.frame)
    assert torch.equal(cell, tokens.cell)
    seconds = token_seconds(tokens)
    assert torch.equal(seconds[:, 0], tokens.pts_seconds[tokens.frame])
    with pytest.raises(ValueError, match="place: expected one of 'first', 'mean', got 'last'"):
        token_places(tokens, "last")


def qwen_tokens(name: str) -> tuple[torch.nn.Module, VideoTokens]:
    model = qwen(name, torch.float32)
    vision = model.config.vision_config
    taps = len(vision.deepstack_visual_indexes) if name == "qwen3" else 0
    kept = kept_mask(12, (4, 5))
    width = (1 + taps) * vision.out_hidden_size
    return model, video_tokens(kept, torch.randn(int(kept.sum()), width), fps=10.0)


def inputs_of(name: str, model, video: VideoTokens, place: str):
    prompt = torch.tensor([5, 6, PAD, 7])
    if name == "qwen3":
        return qwen3_vl_inputs(model, prompt, video, Letters(), place=place)
    return qwen25_vl_inputs(model, prompt, video, place=place)


@language_models
@places
@pytest.mark.parametrize("name", ["qwen3", "qwen25"])
@pytest.mark.parametrize("budget", [40, 9])
def test_the_prompt_holds_the_budget(name: str, place: str, budget: int) -> None:
    """Also where tokens of the first frame were merged, or a slice begins with earlier ones."""
    model, tokens = qwen_tokens(name)
    merged = merge(tokens, budget=budget, similar=True)
    for video in (merged, merged.slice(0.45, 0.95)):
        inputs = inputs_of(name, model, video, place)
        assert int((inputs["input_ids"] == PAD).sum()) == len(video)
        encoded = inputs["mm_encoder_outputs"]["video"].pooler_output[0]
        width = encoded.shape[1]
        order = torch.tensor(
            [(video.features[:, :width] == row).all(1).nonzero().item() for row in encoded]
        )
        assert torch.equal(order.sort().values, torch.arange(len(video)))  # each once
        frame, cell = token_places(video, place)
        reading = (frame * 4 + cell[:, 0]) * 5 + cell[:, 1]
        assert bool((reading[order].diff() >= 0).all())
        at = inputs["position_ids"][:, 0, inputs["input_ids"][0] == PAD]
        if name == "qwen25":  # one run: down and across are those of the cells
            assert torch.equal((at - at[:, :1])[1:], (cell[order] - cell[order[:1]]).T)
        with torch.no_grad():
            assert bool(model(**inputs).logits.isfinite().all())


@language_models
@places
def test_a_slice_of_merged_tokens_in_which_nothing_happens_holds_them_once(place: str) -> None:
    model, _ = qwen_tokens("qwen25")
    kept = torch.zeros(8, 4, 5, dtype=torch.bool)
    kept[0] = True
    tokens = video_tokens(kept, torch.randn(20, model.config.vision_config.out_hidden_size), 10.0)
    still = merge(tokens, budget=3).slice(0.35, 0.75)
    inputs = inputs_of("qwen25", model, still, place)
    assert int((inputs["input_ids"] == PAD).sum()) == len(still) == 3


@language_models
def test_the_dense_layout_gives_every_cell_back() -> None:
    model, tokens = qwen_tokens("qwen25")
    merged = merge(tokens, budget=30)
    inputs = qwen25_vl_inputs(model, torch.tensor([5, PAD]), merged, layout="dense")
    encoded = inputs["mm_encoder_outputs"]["video"].pooler_output[0]
    assert torch.equal(encoded, merged.dense().flatten(0, 2))
