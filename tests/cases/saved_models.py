"""Tiny models as save_pretrained writes them, and the library's gated towers of the same."""

import functools
from pathlib import Path
from typing import Any

import clips
import pytest
import torch

import patchgate

transformers = pytest.importorskip("transformers")

SIDE = 32
_TEXT = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3, "vocab_size": 50,
         "intermediate_size": 20}  # fmt: skip
_VISION = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": SIDE,
           "patch_size": 8}  # fmt: skip
_NUMBERS = {"image_mean": [0.5, 0.4, 0.45], "image_std": [0.5, 0.3, 0.35]}
_SQUARE = {"height": SIDE, "width": SIDE}


def processor(name: str) -> Any:
    if name == "clip":
        return transformers.CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=_SQUARE)
    if name == "siglip":
        return transformers.SiglipImageProcessorPil(size=_SQUARE, **_NUMBERS)
    return transformers.BitImageProcessorPil(size=_SQUARE, do_center_crop=False, **_NUMBERS)


def model(name: str) -> Any:
    """Whole models where a checkpoint has them: with their text part."""
    torch.manual_seed(7)
    if name == "dinov2":
        return transformers.Dinov2Model(transformers.Dinov2Config(**_VISION)).eval()
    vision = {**_VISION, "intermediate_size": 40}
    if name == "clip":
        config = transformers.CLIPConfig(text_config=_TEXT, vision_config=vision)
        return transformers.CLIPModel(config).eval()
    config = transformers.SiglipConfig(text_config=_TEXT, vision_config=vision)
    return transformers.SiglipModel(config).eval()


@functools.cache
def saved(name: str) -> Path:
    """The folder of a model and its processor."""
    folder = clips.folder() / f"model-{name}"
    model(name).save_pretrained(folder)
    processor(name).save_pretrained(folder)
    return folder


def gated(name: str, dtype: torch.dtype = torch.float32, **settings: Any) -> patchgate.GatedTower:
    """What the command line should make of that folder."""
    tower = model(name)
    tower = getattr(tower, "vision_model", tower).to(dtype)
    found = patchgate.gated(tower, processor(name), **settings)
    assert isinstance(found, patchgate.GatedTower)
    return found
