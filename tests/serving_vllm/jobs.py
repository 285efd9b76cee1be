"""The engines of these tests: one process with the plugin, one without."""

from pathlib import Path
from typing import Any

from asked import CHUNKS

SINGLE = ["still", "some", "all new", "rest", "image", "image and video", "video and image",
          "two videos"]  # fmt: skip
BLOCK = 32  # tokens that the prefix cache keeps together
# What vLLM makes of a video that grows, with its own pruning after the tower.
PRUNED: dict[str, dict[str, Any]] = {
    "whole": {},
    "EVS": {"video_pruning_rate": 0.5},
    "VidCom2": {"video_pruning_rate": 0.5, "video_pruning_method": "vidcom2"},
}
KEPT = {"context": "kept"}
EXACT = {"tolerance": 0, "threshold": 0}
FULL = {"tolerance": 0.05}
MEMORY = {**FULL, "memory": 2}


def stock(models: dict[str, Path]) -> list[dict[str, Any]]:
    """vLLM as it is: ``VLLM_PLUGINS=""``."""
    grown = [[f"grown {n}"] for n in range(1, CHUNKS + 1)]
    return [
        *(_job(f"stock {family}", family, models, {}, [SINGLE]) for family in models),
        *(
            _job(f"grown, {name}", "qwen3", models, {"block_size": BLOCK, **how}, grown)
            for name, how in PRUNED.items()
        ),
    ]


def gated(models: dict[str, Path]) -> list[dict[str, Any]]:
    """With the plugin."""

    def engine(settings: Any, **more: Any) -> dict[str, Any]:
        return {"hf_overrides": {"patchgate": settings}, **more}

    jobs = [
        _job("kept qwen3", "qwen3", models, engine(KEPT), [[*SINGLE, "times"]]),
        _job("full qwen3", "qwen3", models, engine(FULL), [[*SINGLE, "times"]]),
        _job("all qwen3", "qwen3", models, engine({"max_age": 1}), [SINGLE]),
        _job("off qwen3", "qwen3", models, {}, [SINGLE, ["times"]]),
        _job("kept qwen25", "qwen25", models, engine(KEPT), [[*SINGLE, "times"]]),
        _job("full qwen25", "qwen25", models, engine(FULL), [[*SINGLE, "times"]]),
        _job("all qwen25", "qwen25", models, engine({"max_age": 1}), [SINGLE]),
        # Chunks of a prompt, the processor's cache and the prefixes' cache (the second round).
        _job("chunks qwen3", "qwen3", models,
             engine(FULL, max_num_batched_tokens=48, enable_chunked_prefill=True,
                    mm_processor_cache_gb=1), [SINGLE, SINGLE]),
        _job("floats qwen3", "qwen3", models, engine(FULL, mm_device_do_normalize=False),
             [["some", "times"]]),
        _job("one frame", "qwen3", models, engine({**KEPT, "max_tokens": 14}),
             [["one frame"], ["no frames"], ["own settings"], ["wrong times"], ["some"],
              ["all new"], ["times"]]),
        _job("streams qwen3", "qwen3", models,
             engine({**KEPT, "max_streams": 1}, block_size=BLOCK),
             [*([f"chunks {n}"] for n in range(1, CHUNKS + 1)), ["other stream"], ["same name"],
              ["late chunk"], [f"chunks {CHUNKS}"]]),
        _job("streams in full context", "qwen3", models, engine(FULL),
             [["chunks 1"], ["some"]]),
        _job("exact qwen3", "qwen3", models, engine(EXACT), ["repeats", "own_tower"]),
        _job("exact qwen25", "qwen25", models, engine(EXACT), ["repeats", "own_tower"]),
        _job("memory qwen3", "qwen3", models, engine(MEMORY), [["back", "some"]]),
        _job("wrong name", "qwen3", models, engine({"thresold": 1}), []),
        _job("data parallel", "qwen3", models, engine({}, mm_encoder_tp_mode="data"), []),
        _job("pruned twice", "qwen3", models, engine({}, video_pruning_rate=0.5), []),
    ]  # fmt: skip
    return jobs


def _job(
    name: str,
    family: str,
    models: dict[str, Path],
    engine: dict[str, Any],
    rounds: list[Any],
) -> dict[str, Any]:
    return {
        "name": name, "family": family, "model": str(models[family]), "engine": engine,
        "rounds": rounds,
    }  # fmt: skip
