"""What a vLLM configuration must be for the gate; it is checked once, where the server starts."""

import logging
from importlib.metadata import version
from typing import Any

from vllm.model_executor.models.config import MODELS_CONFIG_MAP, VerifyAndUpdateConfig

from patchgate.serving.settings import settings_of

LOG = logging.getLogger("vllm.plugins.patchgate")  # vLLM's own handler shows it
_VERSION = version("patchgate")


def check_config(vllm_config: Any) -> None:
    """Checks a configuration of vLLM.

    Raises:
        TypeError, ValueError: a setting of the gate is wrong, or vLLM is to do something that the
            gate cannot go with.
    """
    model = vllm_config.model_config
    settings = settings_of(model.hf_config)
    if settings is None:
        LOG.info("patchgate %s: config.patchgate has no settings: no video is gated", _VERSION)
        return
    media = model.get_multimodal_config()
    refused = {
        '--mm-encoder-tp-mode "data"': (
            media.mm_encoder_tp_mode == "data",
            "it shards whole frames over GPUs, past the gate; leave it out",
        ),
        "--tensor-parallel-size": (
            vllm_config.parallel_config.tensor_parallel_size > 1,
            "the gated tower runs on one GPU, and the tensor parallel tower of vLLM is split; use "
            "1, or --data-parallel-size",
        ),
        "--video-pruning-rate": (
            bool(media.is_multimodal_pruning_enabled()),
            "it prunes after the tower what the gate has chosen before it; use one of the two",
        ),
        "--enable-mm-embeds": (
            media.enable_mm_embeds,
            "embeddings that a request brings have no cells whose places would be known; leave it "
            "out",
        ),
        "--enable-tower-connector-lora": (
            bool(getattr(vllm_config.lora_config, "enable_tower_connector_lora", False)),
            "vLLM counts the tower's tokens for it from the whole grid; leave it out",
        ),
    }
    for name, (found, why) in refused.items():
        if found:
            raise ValueError(f"config.patchgate: {name} cannot go with the gate: {why}")
    if vllm_config.compilation_config.cudagraph_mm_encoder:
        LOG.warning(
            "patchgate: the encoder's CUDA graphs replay whole grids: they serve images only, "
            "videos run without"
        )
    LOG.info("patchgate %s: videos are gated: %s", _VERSION, settings)


def check_at_start(models: tuple[str, ...]) -> None:
    """Makes vLLM call ``check_config`` for models, after its own check where it has one."""
    for name in models:
        own = MODELS_CONFIG_MAP.get(name)
        if own is None or not issubclass(own, _Checked):
            MODELS_CONFIG_MAP[name] = _checked(own or VerifyAndUpdateConfig)


class _Checked(VerifyAndUpdateConfig):
    """Marks what ``_checked`` makes."""


def _checked(own: Any) -> Any:
    class Checked(_Checked, own):
        @staticmethod
        def verify_and_update_config(vllm_config: Any) -> None:
            own.verify_and_update_config(vllm_config)
            check_config(vllm_config)

        @staticmethod
        def verify_and_update_model_config(model_config: Any) -> None:
            own.verify_and_update_model_config(model_config)

    return Checked
