"""From chat messages, or the tokens of a video, to the call of a vision-language model.

``prepare`` takes messages as people write them. The other functions are for those who hold
``VideoTokens``: each takes a prompt with one placeholder for each video. All return the arguments
of ``model(..)`` and ``model.generate(..)``. ``mm_encoder_outputs`` contains what the tower would
have computed. ``position_ids`` say where each token stands; without them the models run, too, and
give wrong answers without an error.

positions.py  the positions of packed tokens: those of Qwen (m-RoPE) in time, down and across
prompt.py     builds a prompt: ids, and the position of each
qwen.py       Qwen2.5-VL and Qwen3-VL; llava.py LLaVA-OneVision
onevision.py  packed tokens for OneVision-Encoder and LLaVA-OneVision-2
images.py     images beside the videos of a prompt
chat.py       prepare(): chat messages in, the arguments of ``generate`` out. In its order:
messages.py   what a conversation shows and says; models.py the models and their processors
clips.py      the videos as tokens: which frames are looked at; sizes.py how large they become
pictures.py   the images
budget.py     fewer tokens; batch.py joins the prompts of a batch
"""

from patchgate.language.chat import prepare
from patchgate.language.llava import llava_onevision_inputs
from patchgate.language.prompt import Layout, Positions
from patchgate.language.qwen import qwen3_vl_inputs, qwen25_vl_inputs

__all__ = [
    "Layout",
    "Positions",
    "llava_onevision_inputs",
    "prepare",
    "qwen3_vl_inputs",
    "qwen25_vl_inputs",
]
