"""The gate inside serving engines: videos are gated before an engine's tower sees them.

settings.py   the settings of ``config.patchgate``, checked once
budget.py     the most tokens of a video, and the threshold with which it stays within them
gating.py     a processor's patch rows, of which only those for the tower are kept
positions.py  where kept cells stand in a prompt (m-RoPE)
times.py      what a request says of a video beside its frames: true times, the stream's name
streams.py    live streams, whose chunks come in request after request
prompt.py     the ids of prompts whose videos show kept cells only
encoding.py   encodes the kept cells of a video
frames.py     reads the frames of a video: any rate, every frame, true times
vllm/         the plugin of vLLM; it imports vLLM only when vLLM loads it
sglang/       the processor for SGLang, which imports SGLang only when that loads it
"""
