"""A multimodal processor for SGLang: the gate before the tower of Qwen3-VL and Qwen2.5-VL.

SGLang loads it where the environment names this package (docs/serving.md)::

    SGLANG_EXTERNAL_MM_PROCESSOR_PACKAGE=patchgate.serving.sglang

Nothing here imports SGLang before SGLang does; the other files import it as they are imported.

video.py      a video's kept features with their places: from frames, or from ``VideoTokens``
tower.py      loads the vision tower of a model alone, beside SGLang's own
processor.py  the processor, which gives SGLang kept rows, their positions and padded ids
"""

__all__ = ["SUPPORTED"]

SUPPORTED = ("0.5.23",)  # versions of SGLang with which .ci/parts/serving.sh passes
