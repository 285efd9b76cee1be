"""From the tokens of a video to the call of a vision-language model of transformers.

Each function takes a prompt with one placeholder for each video, and returns the arguments of
``model(..)`` and ``model.generate(..)``. What the tower would have computed is handed over as
``mm_encoder_outputs``; ``position_ids`` say where each token stands, without which the models run
too, and are silently wrong.
"""

from patchgate.language.llava import llava_onevision_inputs
from patchgate.language.prompt import Layout, Positions
from patchgate.language.qwen import qwen3_vl_inputs, qwen25_vl_inputs

__all__ = [
    "Layout",
    "Positions",
    "llava_onevision_inputs",
    "qwen3_vl_inputs",
    "qwen25_vl_inputs",
]
