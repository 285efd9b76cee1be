# python examples/chat_with_video.py MODEL VIDEO QUESTION: Qwen3-VL, Qwen2.5-VL or LLaVA-OneVision.
import sys

from transformers import AutoModelForImageTextToText, AutoProcessor

import patchgate

folder, video, question = sys.argv[1:]
model, processor = (k.from_pretrained(folder) for k in (AutoModelForImageTextToText, AutoProcessor))
said = [{"type": "video", "video": video}, {"type": "text", "text": question}]
inputs = patchgate.language.prepare(model, processor, [{"role": "user", "content": said}])
answer = model.generate(**inputs, max_new_tokens=128)[:, inputs.input_ids.shape[1] :]
print(*processor.batch_decode(answer, skip_special_tokens=True))
