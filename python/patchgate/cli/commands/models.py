"""The models that ``--grid`` names, and the sizes that ``bench --tower`` knows, as plain data."""

from typing import Any, NamedTuple

from patchgate._check.text import nearest_first

OWN = "own"


class Model(NamedTuple):
    """How a model's processor brings a frame to cells, and how many tokens fit into the model.

    Numbers are those of the checkpoints that the name stands for, with their processors' defaults.
    """

    what: str  # in words
    patch: int  # side in pixels
    merge: int = 1  # patches per side of a cell
    temporal_patch: int = 1  # frames of a tubelet
    size: int | None = None  # side of the input in pixels; None: Qwen's rule, by the video's size
    fit: str = "stretch"
    context: int | None = None  # tokens (max_position_embeddings); None: no language model
    stride: int = 1  # by which the language model's tokens are pooled cells


MODELS: dict[str, Model] = {
    "qwen3-vl": Model("Qwen3-VL", 16, 2, 2, context=262_144),
    "qwen2.5-vl": Model("Qwen2.5-VL", 14, 2, 2, context=128_000),
    "llava-onevision": Model("LLaVA-OneVision 7B", 14, size=378, context=32_768, stride=2),
    "siglip": Model("SigLIP and SigLIP2 so400m/14 at 384", 14, size=378),
    "siglip-base": Model("SigLIP and SigLIP2 base/16 at 224", 16, size=224),
    "clip": Model("CLIP L/14 at 224", 14, size=224, fit="crop"),
    "clip-336": Model("CLIP L/14 at 336", 14, size=336, fit="crop"),
    "dinov3": Model("DINOv3 ViT/16 at 224", 16, size=224),
}

TOWERS: dict[str, dict[str, Any]] = {  # what differs from SigLIP base/16-224
    "siglip-base": {"image_size": 224, "patch_size": 16},
    "siglip-so400m": {
        "image_size": 384, "patch_size": 14, "hidden_size": 1152, "intermediate_size": 4304,
        "num_hidden_layers": 27, "num_attention_heads": 16,
    },
}  # fmt: skip


def model_of(name: str) -> Model | None:
    """Returns the model of this name; None for "own", the grid of ``--size``, ``--patch``, ....

    Raises:
        ValueError: there is no such model.
    """
    if name == OWN:
        return None
    if name not in MODELS:
        listed = ", ".join(nearest_first(name, [*MODELS, OWN]))
        raise ValueError(f"--grid: expected one of {listed}; got {name!r}")
    return MODELS[name]
