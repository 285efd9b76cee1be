"""A plugin of vLLM: the gate before the tower of Qwen3-VL and Qwen2.5-VL (docs/serving.md).

vLLM loads ``register`` by its entry point, in each of its processes. Nothing here imports vLLM
before that; the other files import it as soon as they are imported.

start.py      what a configuration must be; it is checked once, where the server starts
processor.py  gates videos in the processor, and writes prompts and fields of kept cells
model.py      positions and features of kept cells in the models
qwen3.py, qwen25.py   the two models, as vLLM registers them
tower.py      the families of gated towers over vLLM's own modules
metrics.py    what was kept, in the log and as Prometheus counters beside vLLM's own
loader.py     a video loader: every frame, or any rate, with true times
"""

import logging
import os
from importlib import import_module
from importlib.metadata import version

__all__ = [
    "MODELS",
    "SUPPORTED",
    "register",
    "supported",
]

SUPPORTED = ("0.32",)  # versions of vLLM with which .ci/parts/serving.sh passes
MODELS = {
    "Qwen3VLForConditionalGeneration": "patchgate.serving.vllm.qwen3:GatedQwen3VL",
    "Qwen2_5_VLForConditionalGeneration": "patchgate.serving.vllm.qwen25:GatedQwen25VL",
}


def register() -> None:
    """Registers the models, the check of configurations and the video loader with vLLM.

    vLLM may call it more than once. Without ``config.patchgate`` the models do what vLLM's own do.

    Raises:
        ImportError: this version of vLLM is not supported, and ``VLLM_PLUGINS`` names patchgate. If
            it does not, a warning says so and nothing is registered.
    """
    import vllm

    if not supported(vllm.__version__):
        message = (
            f"patchgate {version('patchgate')} supports vLLM {', '.join(SUPPORTED)}, this is "
            f"{vllm.__version__}: videos are not gated; pip install 'vllm=={SUPPORTED[-1]}.*'"
        )
        if "patchgate" in os.environ.get("VLLM_PLUGINS", "").split(","):
            raise ImportError(message)
        logging.getLogger("vllm.plugins.patchgate").warning(message)
        return
    registry = vllm.ModelRegistry
    for name, place in MODELS.items():
        registry.register_model(name, place)
    import_module("patchgate.serving.vllm.start").check_at_start(tuple(MODELS))
    import_module("patchgate.serving.vllm.loader")  # registers itself


def supported(release: str) -> bool:
    """Whether a version of vLLM is one of ``SUPPORTED``."""
    return release.split("+")[0].split(".")[:2] in [each.split(".") for each in SUPPORTED]
