"""Loads the vision tower of a model alone, beside SGLang's own, which lies in another process."""

import logging
from typing import Any

import torch

from patchgate.encoders.families import tower_of
from patchgate.encoders.tower import Tower

# Where checkpoints have the tower: older ones of Qwen2.5-VL begin with its name.
_KEYS = {r"^(model\.)?visual\.": ""}


def load_tower(folder: str, config: Any, device: str | torch.device) -> Tower:
    """Loads the tower's weights, and no others.

    Args:
        folder: the model's folder or name.
        config: the model's configuration.
        device: where the weights are put, in the dtype in which they were saved.

    Raises:
        ValueError: the checkpoint has no such tower.
    """
    from transformers import Qwen3VLVisionModel
    from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl

    kinds: dict[str, Any] = {
        "qwen3_vl": Qwen3VLVisionModel,
        "qwen2_5_vl": modeling_qwen2_5_vl.Qwen2_5_VisionTransformerPretrainedModel,
    }
    told_of = logging.getLogger("transformers")
    level = told_of.level
    told_of.setLevel(logging.ERROR)  # it warns of every weight that is not the tower's
    try:
        model, told = kinds[config.model_type].from_pretrained(
            folder, config=config.vision_config, dtype="auto", key_mapping=_KEYS,
            output_loading_info=True,
        )  # fmt: skip
    finally:
        told_of.setLevel(level)
    if told["missing_keys"]:
        missing = sorted(told["missing_keys"])
        raise ValueError(
            f"config.patchgate: {folder} lacks weights of the vision tower: "
            f"{', '.join(missing[:3])}; the gate needs the model's own checkpoint (safetensors)"
        )
    found = tower_of(model.eval().requires_grad_(False).to(device))
    found.check_dtype()
    return found
