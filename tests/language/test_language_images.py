"""Images and videos in one prompt: the models' own positions and answers.

Letters: T tubelets, N cells of a frame, n tokens of an image.
"""

from functools import cache

import pytest
import torch
from language_cases import BEGIN, END, IMAGE, PAD, Letters, llava, qwen, qwen3_prompt
from qwen_cases import FAMILIES, GRID, WIDTH, M, grid_thw, own_call, patches
from since import language_models
from token_cases import kept_mask, video_tokens

import patchgate
from patchgate.language import llava_onevision_inputs, qwen3_vl_inputs, qwen25_vl_inputs

pytestmark = language_models
EXACT = {"rtol": 0, "atol": 1e-10}
T, N, FPS = 3, GRID[0] * GRID[1], 3.0
SIDES = [(3, 5), (2, 2), (4, 1)]  # cells of the images
PIXELS = {"mean": 0.5, "std": 0.5}

both = pytest.mark.parametrize("name", list(FAMILIES))
# "i" an image, "v" a video, any other letter a word.
ORDERS = ["iv", "vi", "avib", "iavbi", "ivivi", "vaiiv", "aiibv", "vbv"]


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@cache
def shared(name):
    """A model that no test changes."""
    return qwen(name)


def pictures(count):
    """What an image processor makes of images of several sizes."""
    random, sides = torch.Generator().manual_seed(5), SIDES[:count]
    rows = sum(h * w for h, w in sides) * M * M
    values = torch.rand(rows, WIDTH, generator=random, dtype=torch.float64) - 0.5
    return {
        "pixel_values": values,
        "image_grid_thw": torch.tensor([[1, h * M, w * M] for h, w in sides]),
    }


def vision(ids):
    return [BEGIN, *ids, END]


def prompt(order, expanded=False):
    """One placeholder for each video; for each image one, or one for each of its tokens."""
    ids, sides = [], iter(SIDES)
    for each in order:
        if each == "i":
            h, w = next(sides)
            ids += vision([IMAGE] * (h * w if expanded else 1))
        else:
            ids += vision([PAD]) if each == "v" else [ord(each)]
    return torch.tensor(ids)


def stock_inputs(name, order, videos):
    """What the model's own processor gives it for the whole videos and the images."""
    ids, sides = [], iter(SIDES)
    for each in order:
        if each == "i":
            h, w = next(sides)
            ids += vision([IMAGE] * (h * w))
        elif each != "v":
            ids += [ord(each)]
        elif name == "qwen3":
            none, seconds = (
                torch.tensor([], dtype=torch.int64),
                [(t + 0.25) / FPS for t in range(T)],
            )
            ids += qwen3_prompt(none, none, seconds, N)[0].tolist()
        else:
            ids += vision([PAD] * (T * N))
    ids = torch.tensor(ids, dtype=torch.int64)[None]
    count = order.count("i")
    own = {} if name == "qwen3" else {"second_per_grid_ts": torch.tensor([1 / FPS] * len(videos))}
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values_videos": torch.cat(videos),
        "video_grid_thw": grid_thw(*[T] * len(videos)),
        "mm_token_type_ids": (ids == IMAGE).int() + (ids == PAD).int() * 2,
        **(pictures(count) if count else {}),
        **own,
    }


def clips(order):
    return [patches(T, seed=i).clamp(-1, 1) / 2 for i in range(order.count("v"))]


def tokens_of(name, model, rows, mask):
    output = own_call(model.model.visual, rows, grid_thw(T), mask.flatten(1))
    parts = [output.pooler_output, *getattr(output, "deepstack_features", [])]
    return video_tokens(mask, torch.cat(parts, 1), FPS)


def inputs_of(name, model, order, masks=None, expanded=False, **options):
    every = torch.ones(T, *GRID, dtype=torch.bool)
    rows = clips(order)
    masks = masks or [every] * len(rows)
    tokens = [tokens_of(name, model, *each) for each in zip(rows, masks, strict=True)]
    images = pictures(order.count("i")) if "i" in order else None
    options = {"layout": "dense", "images": images, **options}
    ids = prompt(order, expanded)
    if name == "qwen3":
        return qwen3_vl_inputs(model, ids, tokens, Letters(), **options)
    return qwen25_vl_inputs(model, ids, tokens, **options)


def own_positions(model, stock):
    names = ("image_grid_thw", "video_grid_thw", "second_per_grid_ts")
    more = {name: stock[name] for name in names if name in stock}
    return model.model.get_rope_index(stock["input_ids"], stock["mm_token_type_ids"], **more)[0]


@both
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("expanded", [False, True])
def test_positions_are_the_models_own(name, order, expanded):
    model = shared(name)
    ours = inputs_of(name, model, order, expanded=expanded)
    stock = stock_inputs(name, order, clips(order))
    assert torch.equal(ours["input_ids"], stock["input_ids"])
    assert torch.equal(ours["position_ids"], own_positions(model, stock))


@both
@pytest.mark.parametrize("order", ["iv", "avibi", "vaiiv"])
def test_answers_are_the_models_own(name, order):
    model = shared(name)
    ours, stock = inputs_of(name, model, order), stock_inputs(name, order, clips(order))
    torch.testing.assert_close(model(**ours).logits, model(**stock).logits, **EXACT)
    options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None}
    assert torch.equal(model.generate(**ours, **options), model.generate(**stock, **options))


@both
def test_packed_cells_stand_where_they_do_in_the_dense_prompt(name):
    model, order, mask = shared(name), "iavbi", kept_mask(T, GRID)
    mask[1, 0, 0] = True  # no frame without a cell, for which no words would be left
    packed = inputs_of(name, model, order, [mask], layout="packed")
    stock = stock_inputs(name, order, clips(order))
    keep = stock["input_ids"][0] != PAD
    keep[~keep] = mask.flatten()
    assert torch.equal(packed["input_ids"], stock["input_ids"][:, keep])
    assert torch.equal(packed["position_ids"], own_positions(model, stock)[:, :, keep])
    assert torch.isfinite(model(**packed).logits).all()


@both
@pytest.mark.parametrize("settings", [{}, {"context": "kept"}])
def test_images_of_a_model_with_a_gated_tower_are_dense(name, settings):
    """They are of several sizes, and none is a frame after another."""
    model, order = qwen(name), "ivii"
    plain = inputs_of(name, model, order)["mm_encoder_outputs"]["image"]
    dense, model.model.visual = (
        model.model.visual,
        patchgate.gated(model.model.visual, **PIXELS, threshold=255, **settings),
    )
    rows = clips(order)[0]
    seconds = torch.arange(T) / FPS
    tokens = model.model.visual.tokens(rows, grid_thw=grid_thw(T), pts_seconds=seconds)
    tower, names = model.model.visual, list(model.state_dict())
    more = (Letters(),) if name == "qwen3" else ()
    call = qwen3_vl_inputs if name == "qwen3" else qwen25_vl_inputs
    ours = call(model, prompt(order), tokens, *more, images=pictures(3))
    assert model.model.visual is tower
    assert tower.tower is dense
    assert list(model.state_dict()) == names
    for one, other in zip(
        ours["mm_encoder_outputs"]["image"].pooler_output, plain.pooler_output, strict=True
    ):
        assert torch.equal(one, other)
    assert torch.isfinite(model(**ours).logits).all()


def change(images, **to):
    return {**images, **to}


@both
@pytest.mark.parametrize(
    ("ids", "images", "error", "message"),
    [
        (prompt("iv", True), None, ValueError, "got 15 placeholders of images .* and no images"),
        (prompt("iv"), None, ValueError, "got 1 placeholders of images .* pass images="),
        (prompt("iiv"), pictures(3), ValueError, "each of 3 images, or .* 23 tokens, got 2"),
        (prompt("v"), pictures(1), ValueError, "each of 1 images, or .* 15 tokens, got 0"),
        (
            torch.cat([prompt("iv", True)[:-5], torch.tensor([IMAGE, 7, IMAGE, PAD])]),
            pictures(2),
            ValueError,
            "each of 2 images, or .* 19 tokens, got 16",
        ),
        (
            torch.tensor([IMAGE] * 14 + [7] + [IMAGE] + [PAD]),
            pictures(1),
            ValueError,
            "the 15 placeholders of image 0 side by side",
        ),
        (prompt("iv"), [pictures(1)], TypeError, "image processor returns .* got list"),
        (prompt("iv"), {"pixel_values": torch.zeros(1)}, ValueError, "no Tensor image_grid_thw"),
        (
            prompt("iv"),
            change(pictures(1), image_grid_thw=torch.tensor([[1, 3, 20]])),
            ValueError,
            "does not describe 60 patches in whole cells of 2 x 2",
        ),
        (
            prompt("iv"),
            change(pictures(1), image_grid_thw=torch.tensor([[1, 6, 12]])),
            ValueError,
            "does not describe 60 patches",
        ),
        (
            prompt("iv"),
            change(pictures(1), image_grid_thw=torch.tensor([1, 6, 10])),
            ValueError,
            r"integers \[images, 3\], got \[3\]",
        ),
    ],
)
def test_images_that_do_not_fit_are_refused(name, ids, images, error, message):
    model = shared(name)
    mask = torch.ones(T, *GRID, dtype=torch.bool)
    tokens = tokens_of(name, model, clips("v")[0], mask)
    more = (Letters(),) if name == "qwen3" else ()
    call = qwen3_vl_inputs if name == "qwen3" else qwen25_vl_inputs
    with pytest.raises(error, match=message):
        call(model, ids, tokens, *more, images=images)


# LLaVA-OneVision, whose positions count one by one.

SIDE = 5  # cells
SIZES = [[40, 80], [40, 40], [80, 40]]  # pixels of the images


def llava_case(order):
    model = llava()
    model.config.image_grid_pinpoints = [[40, 40], [40, 80], [80, 40]]
    random = torch.Generator().manual_seed(2)
    frames = [
        torch.rand(T, 3, 40, 40, generator=random, dtype=torch.float64) - 0.5
        for _ in range(order.count("v"))
    ]
    count = order.count("i")
    images = {
        "pixel_values": torch.rand(count, 3, 3, 40, 40, generator=random, dtype=torch.float64)
        - 0.5,
        "image_sizes": torch.tensor(SIZES[:count]),
    }
    return model, frames, images


def llava_tokens(model, clip):
    """Every cell of every frame."""
    states = model.model.vision_tower(clip, output_hidden_states=True).hidden_states[-2]
    every = torch.ones(T, SIDE, SIDE, dtype=torch.bool)
    return video_tokens(every, states.flatten(0, 1), FPS)


def llava_prompt(model, order, images, expanded):
    """With the placeholders of images expanded, and those of videos, too, or one for each."""
    lengths = []
    if images:
        features = model.model.get_image_features(**images, return_dict=True).pooler_output
        lengths = [len(each) for each in features]
    ids, left = [], iter(lengths)
    for each in order:
        if each == "i":
            ids += [IMAGE] * (next(left) if expanded else 1)
        elif each == "v":
            ids += [PAD] * (T * 9 + 1 if expanded == "all" else 1)
        else:
            ids += [ord(each)]
    return torch.tensor(ids)


@pytest.mark.parametrize(
    ("order", "expanded"),
    [("aivb", False), ("vai", "images"), ("iavbi", False), ("vaibv", "images"), ("aiicvb", False)],
)
def test_llava_is_the_stock_model(order, expanded):
    model, frames, images = llava_case(order)
    states = [
        model.model.vision_tower(x, output_hidden_states=True).hidden_states[-2] for x in frames
    ]
    every = torch.ones(T, SIDE, SIDE, dtype=torch.bool)
    tokens = [video_tokens(every, x.flatten(0, 1), FPS) for x in states]
    ids = llava_prompt(model, order, images, expanded)
    ours = llava_onevision_inputs(model, ids, tokens, images=images)
    stock = {
        "input_ids": llava_prompt(model, order, images, "all")[None],
        "pixel_values_videos": torch.stack(frames),
        **images,
    }
    assert torch.equal(ours["input_ids"], stock["input_ids"])
    assert torch.equal(ours["position_ids"][0], torch.arange(len(ours["input_ids"][0])))
    if len(frames) == 1:  # the stock model ends several videos with one mark
        torch.testing.assert_close(model(**ours).logits, model(**stock).logits, **EXACT)
        options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None}
        assert torch.equal(model.generate(**ours, **options), model.generate(**stock, **options))


def test_llava_with_a_gated_tower_that_ends_early():
    order = "iavi"
    model, frames, images = llava_case(order)
    plain = model.model.get_image_features(**images, return_dict=True).pooler_output
    tokens = llava_tokens(model, frames[0])
    layer, tower = model.config.vision_feature_layer, model.model.vision_tower
    model.model.vision_tower = patchgate.gated(tower, **PIXELS, feature_layer=layer, threshold=255)
    ids = torch.tensor([IMAGE, 7, PAD, IMAGE])
    ours = llava_onevision_inputs(model, ids, tokens, images=images)
    for one, other in zip(ours["mm_encoder_outputs"]["image"].pooler_output, plain, strict=True):
        assert torch.equal(one, other)


def test_llava_refuses_placeholders_without_images():
    model, frames, _ = llava_case("iv")
    tokens = llava_tokens(model, frames[0])
    with pytest.raises(ValueError, match="got 1 placeholders of images"):
        llava_onevision_inputs(model, torch.tensor([IMAGE, 7, PAD]), tokens)
    with pytest.raises(ValueError, match="no Tensor image_sizes"):
        llava_onevision_inputs(
            model, torch.tensor([IMAGE, 7, PAD]), tokens, images={"pixel_values": frames[0]}
        )
