"""What torch's profiler saw of a call: copies to the host, and the host's waits for a stream."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

_WAITS = {"cudaStreamSynchronize", "cudaEventSynchronize", "cuStreamSynchronize"}


class Trace(NamedTuple):
    to_host: list[int]  # bytes of each copy from the device
    waits: int
    kernels: int


def traced(call: Callable[[], Any]) -> Trace:
    """Runs it once, under the profiler. (The profiler itself waits for the whole device.)"""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        call()
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return summary(json.loads(path.read_text())["traceEvents"])


def summary(events: list[dict[str, Any]]) -> Trace:
    """Kernel times from a Chrome trace's events."""
    copies = [e for e in events if e.get("cat") == "gpu_memcpy" and "DtoH" in e["name"]]
    calls = [e for e in events if e.get("cat") in ("cuda_runtime", "cuda_driver")]
    return Trace(
        [int(e["args"]["bytes"]) for e in copies],
        sum(e["name"] in _WAITS for e in calls),
        sum(e.get("cat") == "kernel" for e in events),
    )
