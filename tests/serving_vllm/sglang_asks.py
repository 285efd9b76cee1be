"""Asks SGLang's processors: ``sglang_asks.py REQUESTS.pt ANSWERS.pt``, in a process of its own.

SGLang's engine needs a GPU. What runs here is SGLang's own code around its processors, and that
which puts their rows into the embeddings of a prompt; the language model is left out.
"""

import asyncio
import json
import sys
from types import SimpleNamespace
from typing import Any

import torch

PACKAGE = "patchgate.serving.sglang"


def processor(folder: str, gated: bool, settings: Any, media: Any) -> Any:
    """Makes a processor as SGLang's tokenizer process does."""
    from sglang.srt import runtime_context
    from sglang.srt.configs.model_config import ModelConfig
    from sglang.srt.managers import multimodal_processor as registry
    from sglang.srt.managers.tokenizer_manager import get_processor_wrapper
    from sglang.srt.server_args import ServerArgs
    from sglang.srt.utils import configure_logger

    more = {} if settings is None else {"patchgate": settings}
    args = ServerArgs(
        model_path=folder, device="cpu", json_model_override_args=json.dumps(more),
        mm_process_config=media,
    )  # fmt: skip
    runtime_context.publish(args, role="tokenizer")
    configure_logger(args)
    config = ModelConfig.from_server_args(args)
    registry.PROCESSOR_MAPPING.clear()
    registry.import_processors("sglang.srt.multimodal.processors")
    if gated:
        registry.import_processors(PACKAGE, overwrite=True)
    return registry.get_mm_processor(
        config.hf_config, args, get_processor_wrapper(), "default", model_config=config
    )


def said(own: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Returns what a processor makes of a request, as plain tensors and lists."""
    videos, images = request.get("videos"), request.get("images")
    asked = SimpleNamespace(video_data=videos, audio_data=None, rid="x")
    try:
        found = asyncio.run(own.process_mm_data_async(images, request["text"], asked))
    except Exception as error:  # the processor must go on: what is asked next shows it
        return {"error": f"{type(error).__name__}: {error}"}
    items = [
        {
            "kind": item.modality.name, "offsets": item.offsets, "pad": item.pad_value,
            "padding": [item.padding_sequence(b - a + 1) for a, b in item.offsets]
            if item.pad_value is not None else None,
            "rows": item.precomputed_embeddings, "pixels": item.feature,
        }
        for item in found.mm_items
    ]  # fmt: skip
    return {
        "class": f"{type(own).__module__}.{type(own).__name__}", "ids": list(found.input_ids),
        "padded": found.padded_input_ids, "positions": found.mrope_positions,
        "delta": int(found.mrope_position_delta), "items": items,
        "embedded": embedded(found) if request.get("embed") else None,
        "own positions": dense_positions(own, found, request["dense"]) if "dense" in request
        else None,
    }  # fmt: skip


def dense_positions(own: Any, found: Any, given: dict[str, Any]) -> tuple[torch.Tensor, int]:
    """Returns SGLang's own positions of the same ids, of which none may be left out."""
    from sglang.srt.layers.rotary_embedding import MRotaryEmbedding

    places, delta = MRotaryEmbedding.get_rope_index(
        spatial_merge_size=own.spatial_merge_size, image_token_id=own.mm_tokens.image_token_id,
        video_token_id=own.mm_tokens.video_token_id, model_type=own.model_type,
        vision_start_token_id=own.vision_start_token_id,
        tokens_per_second=own._tokens_per_second, input_ids=torch.tensor([found.input_ids]),
        image_grid_thw=None, video_grid_thw=torch.tensor([given["grid"]]),
        second_per_grid_ts=given["steps"],
    )  # fmt: skip
    return places.squeeze(1), int(delta)


def embedded(found: Any) -> dict[str, torch.Tensor]:
    """Lets SGLang put a prompt's rows into its embeddings, which are zero elsewhere."""
    from sglang.srt.managers.mm_utils import embed_mm_inputs
    from sglang.srt.managers.schedule_batch import Modality, MultimodalInputs

    given = MultimodalInputs.from_processor_output(found)
    width = given.mm_items[0].precomputed_embeddings.shape[1]
    model = Model(width)
    rows, more = embed_mm_inputs(
        mm_inputs_list=[given], extend_prefix_lens=[0], extend_seq_lens=[len(found.input_ids)],
        input_ids=torch.tensor(given.padded_input_ids or found.padded_input_ids),
        input_embedding=model.embedding, multimodal_model=model,
        use_deepstack={Modality.VIDEO: model.taps > 0},
    )  # fmt: skip
    return {"rows": rows, **more}


class Model(torch.nn.Module):
    """What SGLang's function needs of a model: the width of its rows, and how they are split."""

    hidden = 128  # of the tiny models

    def __init__(self, width: int) -> None:
        super().__init__()
        self.taps = width // self.hidden - 1
        self.deepstack_visual_indexes = list(range(self.taps))
        self.embedding = torch.nn.Embedding(320, self.hidden)
        self.embedding.weight.data.zero_()

    def get_video_feature(self, items: Any) -> Any:
        raise AssertionError("SGLang must not compute what the request brings")

    def separate_deepstack_embeds(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return rows[:, : self.hidden], rows[:, self.hidden :]


def main(asked: str, answers: str) -> None:
    found = {}
    for name, job in torch.load(asked, weights_only=False).items():
        try:
            own = processor(job["model"], job["gated"], job["settings"], job["media"])
        except Exception as error:  # a configuration that is refused
            found[name] = {"error": f"{type(error).__name__}: {error}"}
            continue
        found[name] = {key: said(own, request) for key, request in job["requests"].items()}
        own.shutdown()
    torch.save(found, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
