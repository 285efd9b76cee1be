"""Time to first token where little can be saved: python benchmarks/serving_overhead.py [--quick]

Run it with .venv-vllm (make test-serving makes it). The figures land in
results/serving_overhead.json.

The model is that of serving.py. One engine in one process is asked in turn with the gate switched
off, which is vLLM's own code for everything, and with each way of gating: two processes differ by
several percent for as long as they live (where their weights lie), more than what is looked for.
16 frames of noise, 224 x 224 pixels. "all new": nothing can be saved. "most new": 12 of the 49
cells of a frame stay as they are, so that no frame counts as a scene cut and the gated tower
computes the others, with "rows" of all of vLLM's. Ratios are medians of paired runs to vLLM's own,
"cpu" those of the seconds of all cores, "tower" those of the calls for features alone.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import harness
import numpy as np
import table
from serving import ENVIRONMENT, FPS, GATED, PROMPT, QUICK, SIDE, TOWER, watch

FRAMES, ROUNDS = 16, 5
STILL = 12  # cells of "most new" that stay as they are
CELL = 32  # pixels
OFF = "vLLM"


def videos() -> dict[str, np.ndarray]:
    """Clips ``[T, SIDE, SIDE, 3]`` uint8 by name."""
    random = np.random.default_rng(0)
    new = random.integers(0, 256, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
    most = new.copy()
    for cell in range(STILL):
        row, column = (CELL * each for each in divmod(cell, SIDE // CELL))
        at = slice(row, row + CELL), slice(column, column + CELL)
        most[:, *at] = new[0][at]
    return {"all new": new, "most new": most}


def engine(model: str) -> tuple[Any, Callable[[Any], None], list[tuple[float, float]]]:
    """Makes an engine in this process.

    Returns:
        The engine; a function that switches its gate to settings by name, or off (None); and the
        list to which the seconds of each call for features are added.
    """
    from vllm import LLM

    from patchgate.serving.settings import ServingSettings
    from patchgate.serving.vllm.processor import GatedProcessing

    llm = LLM(
        model=model, dtype="float32", enforce_eager=True, skip_mm_profiling=True,
        max_model_len=4096, max_num_batched_tokens=4096, max_num_seqs=1, mm_processor_cache_gb=0,
        enable_prefix_caching=False, hf_overrides={"patchgate": {}},
    )  # fmt: skip
    spent: list[tuple[float, float]] = []
    [geometry] = llm.apply_model(lambda own: own._settings.geometry)
    llm.apply_model(lambda own: watch(own, spent))

    def switch(given: Any) -> None:
        now = None if given is None else ServingSettings.read(given, geometry)
        GatedProcessing.settings = property(lambda _: now)
        llm.apply_model(lambda own: setattr(own, "_settings", now))

    return llm, switch, spent


def measured(model: str, rounds: int) -> list[dict[str, Any]]:
    """Asks about all videos, in all ways in turn, and returns rows."""
    from vllm import SamplingParams

    llm, switch, spent = engine(model)
    ways = {OFF: None, **GATED}
    one = SamplingParams(temperature=0, max_tokens=1)
    about = {"total_num_frames": FRAMES, "fps": FPS, "duration": FRAMES / FPS,
             "video_backend": "test", "frames_indices": list(range(FRAMES)),
             "do_sample_frames": False}  # fmt: skip
    pad = llm.get_tokenizer().convert_tokens_to_ids("<|video_pad|>")

    def ask(video: np.ndarray, way: Any) -> dict[str, float]:
        switch(way)
        spent.clear()
        request = {"prompt": PROMPT, "multi_modal_data": {"video": [(video, about)]}}
        start, used = time.perf_counter(), time.process_time()
        [output] = llm.generate([request], one, use_tqdm=False)
        seconds, cpu = time.perf_counter() - start, time.process_time() - used
        tower = sum(each for each, _ in spent)
        tokens = list(output.prompt_token_ids).count(pad)
        return {"seconds": seconds, "cpu": cpu, "tower": tower, "tokens": tokens}

    found = []
    for name, video in videos().items():
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for number in range(-1, rounds):  # the first one warms
            order = [*ways][number % len(ways) :] + [*ways][: number % len(ways)]
            for way in order:
                answer = ask(video, ways[way])
                if number >= 0:
                    runs[way].append(answer)
        found += [row(f"{name}: {way}", own, runs[OFF]) for way, own in runs.items()]
    return found


def row(what: str, own: list[dict[str, float]], theirs: list[dict[str, float]]) -> dict[str, Any]:
    """Medians of one way, and of its ratios to vLLM's own."""
    ratios = {
        f"{name}_ratio": round(
            median(a[name] / b[name] for a, b in zip(own, theirs, strict=True)), 3
        )
        for name in ("seconds", "cpu", "tower")
    }
    seconds = round(median(each["seconds"] for each in own), 3)
    rows = round(own[0]["tokens"] / theirs[0]["tokens"], 3)
    return {"what": what, "seconds": seconds, **ratios, "rows": rows}


def main() -> None:
    quick = "--quick" in sys.argv
    for name, value in {**ENVIRONMENT, "VLLM_LOGGING_LEVEL": "ERROR"}.items():
        os.environ.setdefault(name, value)
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    import tiny

    with tempfile.TemporaryDirectory() as folder:
        model = tiny.write("qwen3", Path(folder) / "model", **(QUICK if quick else TOWER))
        found = measured(str(model), 1 if quick else ROUNDS)
    table.show(found)
    if not quick:
        harness.save("serving_overhead", found)


if __name__ == "__main__":
    main()
