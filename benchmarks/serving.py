"""Time to first token of vLLM with the gate: python benchmarks/serving.py [--quick]

Run it with .venv-vllm (make test-serving makes it). The figures land in results/serving.json.

A Qwen3-VL of random weights whose tower has 300 million parameters, float32, on the CPU. Every
engine is a process of its own; all are asked in turn, each first once in a while, with caches off,
so that a slow moment hits all alike. "vLLM, again" is a second process of the same, which shows by
how much two processes differ anyway. "still": 40 frames of the signing clip that ships, whose
camera stands still, 224 x 224 pixels, as 10 seconds. "all new": as many frames of noise, of which
nothing can be saved. "EVS" is vLLM's own pruning after the tower, at as many tokens of "still" as
the gate keeps. "tower" is vLLM's call for all features of a prompt, "cpu" and "tower cpu" are the
seconds of all cores, which other programs disturb less, of the whole request and of that call.
"saved of saved" is the share of the tower's time that is saved over the share of its rows that is.

vLLM 0.32 does not run EVS on a CPU without help: ``CPUModelRunner.load_model`` leaves out what
``GPUModelRunner.load_model`` notes (``is_multimodal_pruning_enabled``), so ``evs_on_cpu`` notes it.
And its EVS takes a mark of vision that stands before a video for the mark of its first frame, so
the prompt has none there; each frame has its own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import harness
import numpy as np
import table

from patchgate.serving.frames import read_frames

sys.path.insert(0, str(harness.ROOT / "tests" / "serving_vllm"))

FRAMES, SIDE, FPS = 40, 224, 4.0
TOWER = {
    "depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16,
    "deepstack_visual_indexes": [5, 11, 17], "num_position_embeddings": 2304,
}  # fmt: skip
QUICK = {**TOWER, "depth": 4, "hidden_size": 64, "intermediate_size": 96, "num_heads": 4,
         "deepstack_visual_indexes": [1, 2]}  # fmt: skip
GATED: dict[str, dict[str, Any]] = {
    "patchgate, kept": {"context": "kept"},
    "patchgate, residual": {"tolerance": "inf"},
}
PROMPT = "<|im_start|>user\n<|video_pad|>What?<|im_end|>\n"
# What vLLM needs here, unless the caller says otherwise.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(os.cpu_count()),
}  # fmt: skip


def videos() -> dict[str, np.ndarray]:
    """Clips ``[T, SIDE, SIDE, 3]`` uint8 by name."""
    from PIL import Image

    rgb = read_frames((harness.SHIPPED / "asl_book.mkv").read_bytes()).rgb
    chosen = rgb[np.linspace(0, len(rgb) - 1, FRAMES).round().astype(int)]
    still = np.stack([np.asarray(Image.fromarray(each).resize((SIDE, SIDE))) for each in chosen])
    random = np.random.default_rng(0)
    return {"still": still, "all new": random.integers(0, 256, still.shape, dtype=np.uint8)}


class Engine:
    """An engine in a process of its own."""

    def __init__(self, model: str, options: dict[str, Any], plugin: bool) -> None:
        plugins = {} if plugin else {"VLLM_PLUGINS": ""}
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--engine", json.dumps({"model": model, **options})],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**ENVIRONMENT, **os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "0", **plugins},
        )  # fmt: skip
        self._said()

    def ask(self, name: str) -> dict[str, float]:
        """Asks about a video, and returns seconds and counts."""
        assert self._process.stdin is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        return self._said()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()

    def _said(self) -> Any:
        """Reads the next line that is ours: vLLM writes to the same stream."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("ANSWER "):
                return json.loads(line.removeprefix("ANSWER "))
        raise RuntimeError(f"an engine ended with status {self._process.wait()}")


def engine(options: dict[str, Any]) -> None:
    """Runs an engine: a name comes on each line, and figures go out."""
    from vllm import LLM, SamplingParams

    llm = LLM(
        dtype="float32", enforce_eager=True, skip_mm_profiling=True, max_model_len=4096,
        max_num_batched_tokens=4096, max_num_seqs=1, mm_processor_cache_gb=0,
        enable_prefix_caching=False, **options,
    )  # fmt: skip
    spent: list[tuple[float, float]] = []
    llm.apply_model(lambda model: watch(model, spent))
    if "video_pruning_rate" in options:
        llm.collective_rpc(evs_on_cpu)
    known, one = videos(), SamplingParams(temperature=0, max_tokens=1)
    about = {"total_num_frames": FRAMES, "fps": FPS, "duration": FRAMES / FPS,
             "video_backend": "test", "frames_indices": list(range(FRAMES)),
             "do_sample_frames": False}  # fmt: skip
    print("ANSWER {}", flush=True)
    for line in sys.stdin:
        spent.clear()
        request = {"prompt": PROMPT, "multi_modal_data": {"video": [(known[line.strip()], about)]}}
        start, used = time.perf_counter(), time.process_time()
        [output] = llm.generate([request], one, use_tqdm=False)
        found = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - used}
        ids = list(output.prompt_token_ids)
        pad = llm.get_tokenizer().convert_tokens_to_ids("<|video_pad|>")
        tower, cpu = (sum(each) for each in zip(*spent, strict=True))
        found |= {"tower": tower, "tower_cpu": cpu, "prompt": len(ids)}
        print("ANSWER", json.dumps({**found, "tokens": ids.count(pad)}), flush=True)


def evs_on_cpu(worker: Any) -> None:
    """Notes that EVS is on, as vLLM does on a GPU."""
    worker.model_runner.is_multimodal_pruning_enabled = True


def watch(model: Any, spent: list[tuple[float, float]]) -> None:
    """Notes the seconds of each call for features, on the clock and of all cores."""
    own = model.embed_multimodal

    def timed(**given: Any) -> Any:
        start, cpu = time.perf_counter(), time.process_time()
        found = own(**given)
        spent.append((time.perf_counter() - start, time.process_time() - cpu))
        return found

    model.embed_multimodal = timed


def measured(model: str, rounds: int) -> dict[str, Any]:
    """Asks all engines in turn."""
    engines = {name: Engine(model, {}, False) for name in ("vLLM", "vLLM, again")}
    for name, settings in GATED.items():
        engines[name] = Engine(model, {"hf_overrides": {"patchgate": settings}}, True)
    runs: dict[str, dict[str, list[dict[str, float]]]] = {}
    every, kept = (engines[name].ask("still")["tokens"] for name in ("vLLM", *list(GATED)[:1]))
    rate = 1 - (kept + 0.5) / every  # vLLM rounds down
    engines["vLLM, EVS"] = Engine(model, {"video_pruning_rate": rate}, False)
    for video in ("still", "all new"):
        for each in engines.values():
            each.ask(video)  # warm
        runs[video] = {name: [] for name in engines}
        for number in range(rounds):
            order = [*engines][number % len(engines) :] + [*engines][: number % len(engines)]
            for name in order:
                runs[video][name].append(engines[name].ask(video))
    for each in engines.values():
        each.close()
    return runs


def summary(runs: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of medians, and of ratios of paired runs to vLLM's own."""
    found: list[dict[str, Any]] = []
    for video, engines in runs.items():
        stock = engines["vLLM"]
        for name, asked in engines.items():
            pairs = list(zip(asked, stock, strict=True))
            tower = median(own["tower"] / theirs["tower"] for own, theirs in pairs)
            # EVS prunes after the tower, which has all rows.
            rows = 1.0 if "EVS" in name else asked[0]["tokens"] / stock[0]["tokens"]
            row = {
                "seconds": median(each["seconds"] for each in asked),
                "ratio": median(own["seconds"] / theirs["seconds"] for own, theirs in pairs),
                "tower_seconds": median(each["tower"] for each in asked),
                "tower_ratio": tower,
                **{
                    f"{each}_ratio": median(own[each] / theirs[each] for own, theirs in pairs)
                    for each in ("cpu", "tower_cpu")
                },
                "saved_of_saved": (1 - tower) / (1 - rows) if rows < 1 else "",
            }
            figures = {key: value and round(value, 3) for key, value in row.items()}
            counts = {"prompt_tokens": asked[0]["prompt"], "video_tokens": asked[0]["tokens"]}
            found.append({"what": f"{video}: {name}", **figures, **counts})
    return found


def main() -> None:
    import tiny

    quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory() as folder:
        model = tiny.write("qwen3", Path(folder) / "model", **(QUICK if quick else TOWER))
        found = summary(measured(str(model), rounds=1 if quick else len(GATED) + 3))
    table.show(found)
    if not quick:
        harness.save("serving", found)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--engine"]:
        engine(json.loads(sys.argv[2]))
    else:
        main()
