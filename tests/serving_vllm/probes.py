"""What is asked of a model inside an engine.

Letters: T tubelets, N cells of a frame, m merge side.
"""

from typing import Any

import torch

from patchgate.serving.gating import gate_video
from patchgate.serving.vllm.model import GatedInput, encode

T, HEIGHT, WIDTH = 6, 6, 8  # tubelets, patches


def own_tower(model: Any) -> dict[str, int]:
    """Counts the calls of vLLM's own tower for a clip that is all new, and for one that is not."""
    numbers = model.visual.patch_embed.proj.weight[0].numel()  # of a patch
    random = torch.Generator().manual_seed(5)
    new = torch.randint(0, 256, (T * HEIGHT * WIDTH, numbers), generator=random, dtype=torch.uint8)
    still = new[: HEIGHT * WIDTH].repeat(T, 1)
    calls: list[str] = []
    found = {}
    hook = model.visual.register_forward_hook(lambda *_: calls.append(""))
    for name, rows in {"all new": new, "still": still}.items():
        calls.clear()
        video = gate_video(rows, (T, HEIGHT, WIDTH), model._settings)
        parsed = {"type": "pixel_values_videos", "pixel_values_videos": video.rows,
                  "video_grid_thw": torch.tensor([[T, HEIGHT, WIDTH]])}  # fmt: skip
        with torch.inference_mode():
            features = model._process_video_input(GatedInput(parsed, video.cells, video.source))
        assert [len(each) for each in features] == [video.tokens]
        found[name] = len(calls)
    hook.remove()
    return found


def repeats(model: Any) -> dict[str, float]:
    """Compares the gated tower with vLLM's own on a clip of exact repeats.

    Every second tubelet one cell is new, for good; all others repeat.

    Returns:
        The largest difference of kept cells' features, the largest feature, and the kept share.
    """
    numbers = model.visual.patch_embed.proj.weight[0].numel()  # of a patch
    random = torch.Generator().manual_seed(4)
    cells = HEIGHT * WIDTH // 4
    frame = torch.randint(0, 256, (cells, 4, numbers), generator=random, dtype=torch.uint8)
    frames = []
    for t in range(T):
        if t % 2:
            new = torch.randint(0, 256, (4, numbers), generator=random, dtype=torch.uint8)
            frame = frame.index_copy(0, torch.tensor([t]), new[None])
        frames.append(frame)
    rows = torch.stack(frames).flatten(0, 2)  # [T * N * m * m, C * f * P * P]
    grid = torch.tensor([[T, HEIGHT, WIDTH]])
    video = gate_video(rows, (T, HEIGHT, WIDTH), model._settings)
    parsed = {"video_grid_thw": grid, "pixel_values_videos": video.rows}
    given = GatedInput(parsed, video.cells, video.source)
    with torch.inference_mode():
        [own] = encode(model.family(model.visual), given, model._settings)
        dense = model.visual(rows, grid_thw=grid.tolist())
    kept = dense[(video.cells & 3) == 2]
    return {
        "difference": float((own - kept).abs().max()),
        "largest": float(kept.abs().max()),
        "share": video.tokens / len(video.cells),
    }
