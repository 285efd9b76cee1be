"""prepare() beside the model's own processor, in a process that has torchvision or its stand-in.

Prints one JSON line a case: whether the ids are the same, the largest difference of logits, whether
``generate`` says the same.
"""

import json
import sys
from pathlib import Path
from typing import Any

import chat_cases as cases
import clips
import torch

import patchgate
from patchgate.language import prepare

FPS = 4.0
ANSWER = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None}


def frames(size: tuple[int, int], seed: int, count: int = 6) -> patchgate.FrameBatch:
    """Noise, of which every cell is new in every frame."""
    random = torch.Generator().manual_seed(seed)
    shown = torch.randint(0, 256, (count, 3, *size), generator=random, dtype=torch.uint8)
    return patchgate.FrameBatch.from_rgb(shown)


def whole(name: str) -> tuple[Any, Any]:
    """A model whose gated tower is the dense one where every cell is new, and its processor."""
    model, processor = cases.model(name), cases.processor(name)
    where = "vision_tower" if name == "llava" else "visual"
    layer = -2 if name == "llava" else None
    tower = patchgate.gated(
        getattr(model.model, where), processor, feature_layer=layer, threshold=0, tolerance=0
    )
    setattr(model.model, where, tower)
    return model, processor


def own_inputs(name: str, processor: Any, messages: Any, videos: list[Any], pictures: Any) -> Any:
    """What the processor makes of the same frames, of which the times are told, too.

    Args:
        videos: frames and their times.
    """
    batch = isinstance(messages[0], list)
    texts = [
        processor.apply_chat_template(each, tokenize=False, add_generation_prompt=True)
        for each in (messages if batch else [messages])
    ]
    told = [
        {"fps": 100.0, "total_num_frames": round(len(pts) * 100 / FPS), "duration": len(pts) / FPS,
         "frames_indices": [round(100 * each) for each in pts.tolist()]} for _, pts in videos
    ]  # fmt: skip
    more = {} if not pictures else {"images": pictures}
    made = processor(
        text=texts, videos=[list(rgb) for rgb, _ in videos], return_tensors="pt", padding=True,
        padding_side="left", do_sample_frames=False, video_metadata=told, **more,
    )  # fmt: skip
    return {key: value for key, value in made.items() if key != "video_metadata"}


def compared(name: str, case: str, messages: Any, videos: Any, pictures: Any = None) -> None:
    model, processor = whole(name)
    with torch.no_grad():
        ours = prepare(model, processor, messages, layout="dense")
        tower = "vision_tower" if name == "llava" else "visual"
        setattr(model.model, tower, getattr(model.model, tower).tower)
        own = own_inputs(name, processor, messages, videos, pictures)
        one, other = model(**ours).logits, model(**own).logits
        same = one.shape == other.shape
        shown = own["attention_mask"].bool()
        answers = [model.generate(**each, **ANSWER)[:, -3:] for each in (ours, own)]
        print(json.dumps({
            "name": name, "case": case,
            "ids": same and torch.equal(ours.input_ids, own["input_ids"]),
            "mask": same and torch.equal(ours.attention_mask, own["attention_mask"]),
            "error": float((one - other)[shown].abs().max()) if same else None,
            "answers": torch.equal(*answers),
        }), flush=True)  # fmt: skip


def main(folder: Path) -> None:
    photo = cases.photo(folder)
    for name in cases.NAMES:
        size = (40, 40) if name == "llava" else (48, 64)
        one, two = (frames(size, seed) for seed in (1, 2))
        first, second = ((each.rgb().numpy(), torch.arange(6) / FPS) for each in (one, two))
        a, b = cases.video(one, fps=FPS), cases.video(two, fps=FPS)
        system, asked = cases.say("Be short.", role="system"), cases.say(a, "What is it?")
        compared(name, "one video", [system, asked], [first])
        turns = [asked, cases.say("Noise.", role="assistant"), cases.say("Why?")]
        compared(name, "turns", turns, [first])
        long = cases.say(a, "And what is to be seen in it?")
        compared(name, "batch", [[asked], [cases.say(b, "x")], [long]], [first, second, first])
        pictures = [cases.image(photo), "or", a, "?"]
        compared(name, "image", [cases.say(*pictures)], [first], [[photo]])
        if name != "llava":  # it ends several videos with one mark, where prepare() has one each
            compared(name, "two videos", [cases.say(a, "or", b, "?")], [first, second])
        if name == "qwen3":  # 25 frames a second, of which four a second are unevenly spaced
            path = clips.clip("h264.mp4")
            with patchgate.open_video(path, fps=FPS) as opened:
                parts = [(batch.rgb(), batch.pts_seconds) for batch in opened]
            shown = tuple(torch.cat(each) for each in zip(*parts, strict=True))
            asked = cases.say(cases.video(str(path), fps=FPS), "?")
            compared(name, "file", [asked], [(shown[0].numpy(), shown[1])])
            small = cases.say(cases.video(frames((96, 128), 3, 80), fps=FPS), "?")
            rgb = small["content"][0]["video"].rgb().numpy()
            compared(name, "resized", [small], [(rgb, torch.arange(80) / FPS)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
