"""From video tokens to Qwen's language models, against the models' own way there."""

import pytest
import torch
from language_cases import BEGIN, END, PAD, Letters, qwen, qwen3_prompt
from qwen_cases import FAMILIES, GRID, M, encode, grid_thw, own_call, patches
from since import language_models
from token_cases import kept_mask, video_tokens

import patchgate
from patchgate.language import qwen3_vl_inputs, qwen25_vl_inputs

pytestmark = language_models
EXACT = {"rtol": 0, "atol": 1e-10}
N, T = GRID[0] * GRID[1], 4
BEFORE, AFTER = torch.tensor([5, 6, 7]), torch.tensor([8, 9])
FPS = 3.0  # tubelets a second: middles are seldom round
PROMPT = torch.cat([BEFORE, torch.tensor([BEGIN, PAD, END]), AFTER])


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def encoded(name, model, rows, mask):
    """Tokens of the cells of a mask ``[T, h, w]``, by the model's own tower."""
    family, frames = FAMILIES[name](model.model.visual).opened(rows, {"grid_thw": grid_thw(T)})
    index = mask.flatten().nonzero().flatten()
    kept = mask.flatten(1).sum(1)
    features, _ = encode(family, family.rows(frames, index), index % N, kept)
    return video_tokens(mask, features, FPS, start=1.0)


def inputs_of(name, model, tokens, prompt=PROMPT, **options):
    if name == "qwen3":
        return qwen3_vl_inputs(model, prompt, tokens, Letters(), **options)
    return qwen25_vl_inputs(model, prompt, tokens, **options)


def stock_inputs(name, rows):
    """What the model's processor gives it for the whole video."""
    seconds = [1 + (t + 0.25) / FPS for t in range(T)]
    if name == "qwen3":
        ids = qwen3_prompt(BEFORE, AFTER, seconds, N)
    else:
        video = torch.tensor([BEGIN, *[PAD] * (T * N), END])
        ids = torch.cat([BEFORE, video, AFTER])[None]
    more = {} if name == "qwen3" else {"second_per_grid_ts": torch.tensor([1 / FPS])}
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values_videos": rows,
        "video_grid_thw": grid_thw(T),
        "mm_token_type_ids": (ids == PAD).int() * 2,
        **more,
    }


both = pytest.mark.parametrize("name", list(FAMILIES))
layouts = pytest.mark.parametrize("layout", ["packed", "dense"])


@both
@layouts
def test_everything_kept_is_the_stock_model(name, layout):
    model, rows = qwen(name), patches(T)
    tokens = encoded(name, model, rows, torch.ones(T, *GRID, dtype=torch.bool))
    ours, stock = inputs_of(name, model, tokens, layout=layout), stock_inputs(name, rows)
    assert torch.equal(ours["input_ids"], stock["input_ids"])
    logits = model(**ours).logits
    torch.testing.assert_close(logits, model(**stock).logits, **EXACT)
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    assert torch.equal(model.generate(**ours, **options), model.generate(**stock, **options))


@both
def test_error_in_float32_is_that_of_the_stock_model(name):
    """At most twice the stock model's own error, against float64."""
    rows, every = patches(T), torch.ones(T, *GRID, dtype=torch.bool)
    exact = qwen(name)(**stock_inputs(name, rows)).logits
    model = qwen(name, torch.float32)
    ours = inputs_of(name, model, encoded(name, model, rows.float(), every))
    stock = stock_inputs(name, rows.float())
    errors = [(model(**inputs).logits - exact).abs().max() for inputs in (ours, stock)]
    assert errors[0] <= 2 * errors[1]


def dropped(name, model, mask):
    """Ids and positions of the dense prompt that are those of kept cells, or text around them."""
    stock = stock_inputs(name, None)
    ids = stock["input_ids"][0]
    more = {key: stock[key] for key in ("second_per_grid_ts",) if key in stock}
    positions, _ = model.model.get_rope_index(
        stock["input_ids"], stock["mm_token_type_ids"], video_grid_thw=grid_thw(T), **more
    )
    keep = torch.ones(len(ids), dtype=torch.bool)
    keep[ids == PAD] = mask.flatten()
    if name == "qwen3":  # a frame of which nothing is left is not announced
        ends = (ids == END).nonzero().flatten()
        for t in range(T):
            if not mask[t].any():
                begin = int(ends[t - 1]) + 1 if t else len(BEFORE)
                keep[begin : int(ends[t]) + 1] = False
    return ids[keep][None], positions[:, :, keep]


@both
def test_kept_cells_stand_where_they_do_in_the_dense_prompt(name):
    model, rows, mask = qwen(name), patches(T), kept_mask(T, GRID)
    assert not mask[T // 2].any()
    ours = inputs_of(name, model, encoded(name, model, rows, mask))
    ids, positions = dropped(name, model, mask)
    assert torch.equal(ours["input_ids"], ids)
    assert torch.equal(ours["position_ids"], positions)
    own = own_call(model.model.visual, rows, grid_thw(T), mask.flatten(1))
    own.pooler_output = (own.pooler_output,)
    if name == "qwen3":
        own.deepstack_features = [(each,) for each in own.deepstack_features]
    expected = model(input_ids=ids, position_ids=positions, mm_encoder_outputs={"video": own})
    torch.testing.assert_close(model(**ours).logits, expected.logits, **EXACT)


@both
def test_generation_goes_on_as_without_a_cache(name):
    """Later steps take their positions from where the prompt ended."""
    model, mask = qwen(name), kept_mask(T, GRID)
    ours = inputs_of(name, model, encoded(name, model, patches(T), mask))
    new = model.generate(**ours, max_new_tokens=5, do_sample=False, eos_token_id=None)
    for step in range(5):
        longer = new[:, : ours["input_ids"].shape[1] + step]
        more = ours["position_ids"][..., -1:] + torch.arange(1, step + 1)
        positions = torch.cat([ours["position_ids"], more], -1)
        logits = model(
            input_ids=longer,
            position_ids=positions,
            mm_encoder_outputs=ours["mm_encoder_outputs"],
        ).logits
        assert int(logits[0, -1].argmax()) == int(new[0, longer.shape[1]])


@both
def test_the_dense_layout_shows_sources(name):
    model, rows, mask = qwen(name), patches(T), kept_mask(T, GRID)
    tokens = encoded(name, model, rows, mask)
    ours = inputs_of(name, model, tokens, layout="dense")
    stock = stock_inputs(name, rows)
    assert torch.equal(ours["input_ids"], stock["input_ids"])
    output = ours["mm_encoder_outputs"]["video"].pooler_output[0].view(T, *GRID, -1)
    kept = own_call(model.model.visual, rows, grid_thw(T), mask.flatten(1)).pooler_output
    torch.testing.assert_close(output[mask], kept, **EXACT)
    for t, y, x in (~mask).nonzero().tolist():  # as in the frame before
        assert torch.equal(output[t, y, x], output[t - 1, y, x])


@both
def test_two_videos_in_one_prompt(name):
    """A second video stands where the first ended, and is otherwise as alone."""
    model = qwen(name)
    videos = [encoded(name, model, patches(T, seed=i), kept_mask(T, GRID, i)) for i in range(2)]
    joint = inputs_of(name, model, videos, torch.cat([PROMPT, PROMPT]))
    apart = [inputs_of(name, model, video) for video in videos]
    assert torch.equal(joint["input_ids"], torch.cat([each["input_ids"] for each in apart], 1))
    first, second = (each["position_ids"] for each in apart)
    # In a prompt, text after a video of k frames goes on by the greater side of its grid.
    shift = first[0, 0, -1] + 1
    assert torch.equal(joint["position_ids"], torch.cat([first, second + shift], 2))
    one, two = (each["mm_encoder_outputs"]["video"].pooler_output[0] for each in apart)
    assert torch.equal(
        torch.cat(joint["mm_encoder_outputs"]["video"].pooler_output), torch.cat([one, two])
    )
    assert torch.isfinite(model(**joint).logits).all()


def test_compact_positions_leave_no_gap():
    model, mask = qwen("qwen3"), kept_mask(T, GRID)
    tokens = encoded("qwen3", model, patches(T), mask)
    dense, compact = (
        qwen3_vl_inputs(model, PROMPT, tokens, Letters(), positions=way)
        for way in ("dense", "compact")
    )
    assert torch.equal(dense["input_ids"], compact["input_ids"])
    gap = dense["position_ids"] - compact["position_ids"]
    words = len("<2.1 seconds>") + 2 + max(GRID)
    assert gap.unique().tolist() == [0, words]
    assert (gap[0, 0].diff() != 0).sum() == 1


def test_times_are_said_to_as_many_decimals():
    model = qwen("qwen3")
    tokens = encoded("qwen3", model, patches(T), kept_mask(T, GRID))
    for decimals, times in [(1, ["1.1", "1.4", "2.1"]), (3, ["1.083", "1.417", "2.083"])]:
        ids = qwen3_vl_inputs(model, PROMPT, tokens, Letters(), decimals=decimals)["input_ids"]
        text = "".join(chr(i) for i in ids[0].tolist() if 32 <= i < 127)
        assert text == "".join(f"<{time} seconds>" for time in times)


def test_a_time_just_before_zero_is_zero():
    model = qwen("qwen3")
    tokens = encoded("qwen3", model, patches(T), kept_mask(T, GRID))
    tokens.pts_seconds -= 1.1
    ids = qwen3_vl_inputs(model, PROMPT, tokens, Letters())["input_ids"][0].tolist()
    assert "".join(chr(i) for i in ids if 32 <= i < 127).startswith("<0.0 seconds>")


@both
@layouts
def test_generate_from_the_tokens_of_a_call(name, layout):
    """Still cells that a tolerance computes anew are tokens too, and the model gets them."""
    model, rows = qwen(name), patches(1, seed=2).clamp(-1, 1) / 2
    rows = rows.repeat(T, 1)
    rows[-M * M :] = -rows[-M * M :]  # the last cell of the last frame
    tower = patchgate.gated(
        model.model.visual, mean=(0.5,) * 3, std=(0.5,) * 3, threshold=0, tolerance=0.0
    )
    tokens = tower.tokens(rows, grid_thw=grid_thw(T), pts_seconds=torch.arange(T) / FPS)
    assert tokens.cu_seqlens.diff().tolist() == [N, 0, 0, N]
    ours = inputs_of(name, model, tokens, layout=layout)
    shown = {"packed": 2 * N, "dense": T * N}[layout]
    assert int((ours["input_ids"] == PAD).sum()) == shown
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    length = len(ours["input_ids"][0])
    assert model.generate(**ours, **options).shape == (1, length + 6)


def test_a_slice_begins_with_its_whole_first_frame():
    model, mask = qwen("qwen3"), kept_mask(T, GRID)
    whole = encoded("qwen3", model, patches(T), mask)
    part = whole.slice(float(whole.pts_seconds[1]), float(whole.pts_seconds[3]) + 1)
    ids = qwen3_vl_inputs(model, PROMPT, part, Letters())
    output = ids["mm_encoder_outputs"]["video"].pooler_output[0]
    width = output.shape[1]
    assert len(output) == N + int(mask[2:].sum())
    assert torch.equal(output[:N], whole.dense()[1].flatten(0, 1)[:, :width])


def test_a_placeholder_alone_is_one_between_marks():
    model = qwen("qwen3")
    tokens = encoded("qwen3", model, patches(T), kept_mask(T, GRID))
    alone = torch.cat([BEFORE, torch.tensor([PAD]), AFTER])
    ours = [inputs_of("qwen3", model, tokens, prompt) for prompt in (PROMPT, alone, alone[None])]
    for other in ours[1:]:
        assert torch.equal(ours[0]["input_ids"], other["input_ids"])


# What does not fit.


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prompt": torch.cat([BEFORE, AFTER])}, ValueError, "each of the 1 videos, got 0"),
        ({"prompt": torch.cat([PROMPT, PROMPT])}, ValueError, "each of the 1 videos, got 2"),
        ({"prompt": PROMPT.expand(2, -1)}, ValueError, r"expected \[L\] or \[1, L\], got \[2, 8\]"),
        ({"prompt": PROMPT.tolist()}, TypeError, "expected a Tensor of integers"),
        ({"tokens": ["talk.mp4"]}, TypeError, "expected VideoTokens, got str"),
        ({"layout": "flat"}, ValueError, "layout: expected one of 'packed', 'dense'"),
    ],
)
@both
def test_prompts_that_do_not_fit_are_refused(name, change, error, message):
    model = qwen(name)
    tokens = encoded(name, model, patches(T), kept_mask(T, GRID))
    with pytest.raises(error, match=message):
        inputs_of(name, model, **{"tokens": tokens, **change})


@both
def test_a_model_that_would_pass_over_the_video_is_refused(name):
    """As those of transformers 5.17 do."""

    class Old:
        def __init__(self):
            model = qwen(name)
            self.config, self.device = model.config, model.device

        def forward(self, input_ids, position_ids=None, **kwargs):
            raise AssertionError

    tokens = encoded(name, qwen(name), patches(T), kept_mask(T, GRID))
    with pytest.raises(ValueError, match="an Old takes no mm_encoder_outputs"):
        inputs_of(name, Old(), tokens)


def test_tokens_that_are_not_of_the_models_tower_are_refused():
    from patchgate.tokens import TokenLayout

    mask = kept_mask(T, GRID)
    other = video_tokens(mask, torch.zeros(int(mask.sum()), 7), FPS)
    with pytest.raises(ValueError, match="features of 72 numbers, got 7"):
        inputs_of("qwen3", qwen("qwen3"), other)
    with pytest.raises(ValueError, match="features of 24 numbers, got 7"):
        inputs_of("qwen25", qwen("qwen25"), other)
    other.layout = TokenLayout(cell=8, planes=3)
    with pytest.raises(ValueError, match="these tokens hold pixels"):
        inputs_of("qwen3", qwen("qwen3"), other)
