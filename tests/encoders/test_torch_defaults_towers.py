"""What the user's program has told torch changes nothing in towers and language models either."""

from collections.abc import Callable
from typing import Any

import gated_cases as images
import gated_families as families
import language_cases as language
import pytest
import qwen_cases
import test_gated_video_towers as videos
import torch
from since import language_models
from token_cases import kept_mask, video_tokens
from torch_settings import SETTINGS, assert_same, leaves

from patchgate.language import llava_onevision_inputs, qwen3_vl_inputs, qwen25_vl_inputs
from patchgate.language.onevision import patch_positions

Job = Callable[[], Any]

PROMPT = torch.tensor([5, 6, language.BEGIN, language.PAD, language.END, 8])


def image_tower(name: str) -> Job:
    model = images.tower(name, torch.float32)
    pixels = images.normalised(images.flicker(5), torch.float32)
    settings = {"tolerance": 0.02, "refresh": 3}
    return lambda: leaves(families.output_of(families.gated(model, **settings)(pixels)))


def family(name: str) -> Job:
    case = families.CASES[name]()
    inputs = case.inputs(case.flicker(4))
    return lambda: leaves(case.gated(inputs, tolerance=0.02))


def fixed() -> Job:
    model = images.tower("siglip", torch.float32)
    pixels = images.normalised(images.flicker(4), torch.float32)
    settings = {"capacity": 40, "layer_capacity": 60, "tolerance": 0.02}
    return lambda: leaves(families.output_of(families.gated(model, **settings)(pixels)))


def qwen_tower(name: str) -> Job:
    model, rows = qwen_cases.tower(name), qwen_cases.patches(4)
    thw, grid = qwen_cases.grid_thw(4), qwen_cases.GRID
    mask = kept_mask(4, grid)
    index = mask.flatten().nonzero().flatten() % (grid[0] * grid[1])

    def call() -> Any:
        opened, _ = qwen_cases.FAMILIES[name](model).opened(rows, {"grid_thw": thw})
        kept = rows.unflatten(0, (-1, qwen_cases.M**2))[mask.flatten()].flatten(0, 1)
        return leaves(qwen_cases.encode(opened, kept, index, mask.flatten(1).sum(1)))

    return call


def video_tower(name: str) -> Job:
    model = videos.tower_of(name)
    clip = videos.normalised(videos.flicker())[None]
    return lambda: leaves(videos.gated(model)(clip).last_hidden_state)


def prompt(name: str) -> Job:
    model = language.qwen(name)
    mask = kept_mask(4, (3, 5))
    width = model.config.vision_config.out_hidden_size
    width *= 3 if name == "qwen3" else 1  # and its two deepstack layers
    random = torch.Generator().manual_seed(0)
    tokens = video_tokens(mask, torch.randn(int(mask.sum()), width, generator=random).double(), 3.0)
    if name == "qwen3":
        letters = language.Letters()
        return lambda: leaves(dict(qwen3_vl_inputs(model, PROMPT, tokens, letters)))
    return lambda: leaves(dict(qwen25_vl_inputs(model, PROMPT, tokens)))


def pooled() -> Job:
    model, mask = language.llava(), kept_mask(4, (5, 5))
    random = torch.Generator().manual_seed(0)
    tokens = video_tokens(mask, torch.randn(int(mask.sum()), 24, generator=random).double(), 3.0)
    return lambda: leaves(dict(llava_onevision_inputs(model, PROMPT, tokens)))


def positions() -> Job:
    tokens = video_tokens(kept_mask(4, (4, 4)), torch.zeros(0, 1), 3.0)
    return lambda: leaves(patch_positions(tokens, merge=2, frames=64))


JOBS: dict[str, Callable[[], Job]] = {
    **{name: lambda name=name: image_tower(name) for name in images.FAMILIES},
    **{name: lambda name=name: family(name) for name in families.CASES},
    "of fixed capacity": fixed,
    **{f"{name} tower": lambda name=name: qwen_tower(name) for name in qwen_cases.FAMILIES},
    **{name: lambda name=name: video_tower(name) for name in ("vjepa2", "videomae")},
    **{f"{name} prompt": lambda name=name: prompt(name) for name in qwen_cases.FAMILIES},
    "llava prompt": pooled,
    "positions": positions,
}


@pytest.mark.parametrize(
    "job",
    [pytest.param(name, marks=language_models if name.endswith("prompt") else ()) for name in JOBS],
)
def test_no_tower_depends_on_what_torch_was_told(job: str) -> None:
    run = JOBS[job]()
    want = run()
    for name, setting in SETTINGS.items():
        with setting():
            got = run()
        try:
            assert_same(got, want)
        except AssertionError as error:
            raise AssertionError(f"with {name}") from error
