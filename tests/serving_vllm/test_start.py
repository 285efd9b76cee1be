"""What a configuration of vLLM must not have beside the gate, one by one."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from patchgate.serving.vllm import start
from patchgate.serving.vllm.model import GatedModel

VISION = SimpleNamespace(patch_size=16, spatial_merge_size=2, temporal_patch_size=2)


def config(
    settings: Any = None, parallel: int = 1, lora: Any = None, graphs: bool = False, **media
):
    """What ``check_config`` reads of a ``VllmConfig``."""
    usual = {
        "mm_encoder_tp_mode": "weights", "enable_mm_embeds": False, "video_pruning_rate": None,
        **media,
    }  # fmt: skip
    parts = SimpleNamespace(
        **usual, is_multimodal_pruning_enabled=lambda: bool(usual["video_pruning_rate"])
    )
    hf_config = SimpleNamespace(vision_config=VISION, patchgate=settings)
    return SimpleNamespace(
        model_config=SimpleNamespace(hf_config=hf_config, get_multimodal_config=lambda: parts),
        parallel_config=SimpleNamespace(tensor_parallel_size=parallel),
        lora_config=lora,
        compilation_config=SimpleNamespace(cudagraph_mm_encoder=graphs),
    )


REFUSED = {
    '--mm-encoder-tp-mode "data"': {"mm_encoder_tp_mode": "data"},
    "--tensor-parallel-size": {"parallel": 2},
    "--video-pruning-rate": {"video_pruning_rate": 0.5},
    "--enable-mm-embeds": {"enable_mm_embeds": True},
    "--enable-tower-connector-lora": {"lora": SimpleNamespace(enable_tower_connector_lora=True)},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_go_with_the_gate_is_refused_in_words(name):
    with pytest.raises(ValueError, match="cannot go with the gate: ") as error:
        start.check_config(config({}, **REFUSED[name]))
    assert str(error.value).startswith(f"config.patchgate: {name} cannot")
    start.check_config(config(None, **REFUSED[name]))  # without the gate it is vLLM's own


def test_what_can(caplog):
    caplog.set_level(logging.INFO, start.LOG.name)
    start.check_config(config({"threshold": 3}, graphs=True))
    assert "videos are gated: threshold=3.0" in caplog.text
    assert "CUDA graphs replay whole grids: they serve images only" in caplog.text


@pytest.mark.parametrize(("settings", "left"), [({}, ["image"]), (None, ["image", "video"])])
def test_graphs_of_the_encoder_are_for_images(settings, left):
    class Stock:
        """vLLM's own model, without its modules."""

        def __init__(self, vllm_config, prefix=""):
            pass

        def get_encoder_cudagraph_config(self):
            return SimpleNamespace(modalities=["image", "video"])

    class Gated(GatedModel, Stock):
        pass

    model = Gated(vllm_config=config(settings))
    assert model.get_encoder_cudagraph_config().modalities == left
