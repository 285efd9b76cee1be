"""Runs engines one after the other in a process: ``ask.py JOBS.json ANSWERS.json``.

Each job has a ``name``, ``family``, ``model`` (a folder), ``engine`` (arguments of ``LLM``), and
``rounds``: lists of names in ``asked.requests``, each of which is one call of ``generate``, or
names of functions in ``probes``, which are called with the model. Answers are written after every
job.
"""

import json
import sys
from pathlib import Path
from typing import Any

ENGINE = {
    "dtype": "float32", "enforce_eager": True, "skip_mm_profiling": True, "max_model_len": 2048,
    "max_num_seqs": 4, "seed": 0, "limit_mm_per_prompt": {"image": 2, "video": 4},
}  # fmt: skip


def answers(outputs: list[Any]) -> list[dict[str, Any]]:
    found = []
    for output in outputs:
        chosen = output.outputs[0]
        scores = [
            step[token].logprob
            for token, step in zip(chosen.token_ids, chosen.logprobs, strict=True)
        ]
        found.append(
            {
                "prompt": list(output.prompt_token_ids),
                "tokens": list(chosen.token_ids),
                "logprobs": scores,
                "cached": output.num_cached_tokens,
            }
        )
    return found


def prunes_on_cpu(worker: Any) -> None:
    """Notes that vLLM prunes videos, as ``GPUModelRunner.load_model`` does.

    ``CPUModelRunner.load_model`` does not, and then vLLM 0.32 fails at the first video.
    """
    worker.model_runner.is_multimodal_pruning_enabled = True


def run(job: dict[str, Any]) -> list[list[Any]]:
    """Returns the answers of each round; in the place of a round that is refused, the error."""
    import probes
    from asked import requests
    from vllm import LLM, SamplingParams
    from vllm.distributed import cleanup_dist_env_and_memory

    llm = LLM(model=job["model"], **{**ENGINE, **job["engine"]})
    known = requests(job["family"])
    if "video_pruning_rate" in job["engine"]:
        llm.collective_rpc(prunes_on_cpu)
    how = SamplingParams(temperature=0, max_tokens=8, logprobs=1, ignore_eos=True)
    found: list[list[Any]] = []
    for names in job["rounds"]:
        try:
            if isinstance(names, str):
                found.append(llm.apply_model(getattr(probes, names)))
                continue
            outputs = llm.generate([known[name] for name in names], how, use_tqdm=False)
            found.append(answers(outputs))
        except Exception as error:  # the engine must go on: what is asked next shows it
            found.append([{"error": f"{type(error).__name__}: {error}"}])
    if hasattr(llm.llm_engine.engine_core, "shutdown"):
        llm.llm_engine.engine_core.shutdown()
    del llm
    cleanup_dist_env_and_memory()
    return found


def main(jobs: list[dict[str, Any]], path: Path) -> None:
    found: dict[str, Any] = {}
    for job in jobs:
        try:
            found[job["name"]] = run(job)
        except Exception as error:  # a configuration that is refused
            found[job["name"]] = {"error": f"{type(error).__name__}: {error}"}
        path.write_text(json.dumps(found))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
