"""What a request to SGLang brings of a video, where there is no SGLang.

Letters: T tubelets, h w cells.
"""

import subprocess
import sys

import pytest
import torch

import patchgate
from patchgate.serving.sglang.video import Video, video_data

T, H, W = 3, 2, 3


def tokens(frame, cell, kind):
    """Tokens of a clip of 3 tubelets and 2 x 3 cells, half a second each."""
    frame, cell = torch.tensor(frame), torch.tensor(cell)
    counts = torch.bincount(frame.clamp(min=0), minlength=T)
    return patchgate.VideoTokens(
        features=torch.arange(len(frame) * 4.0).view(-1, 4), frame=frame, cell=cell,
        span=torch.ones(len(frame), dtype=torch.int64),
        pts_seconds=torch.arange(T, dtype=torch.float64) / 2,
        duration_seconds=torch.full((T,), 0.5, dtype=torch.float64),
        cu_seqlens=torch.cat([torch.zeros(1), counts.cumsum(0)]).int(),
        source=torch.zeros(T, H, W, dtype=torch.int64), kind=kind,
        motion=torch.zeros(T, H, W, 2, dtype=torch.int8), layout=None,
    )  # fmt: skip


@pytest.fixture
def clip():
    kind = torch.zeros(T, H, W, dtype=torch.uint8)
    kind[0], kind[2, 1, 2] = 2, 2
    cells = [[y, x] for y in range(H) for x in range(W)]
    return tokens([0] * 6 + [2], [*cells, [1, 2]], kind)


def test_nothing_imports_sglang_before_it_loads_the_processor():
    code = "import sys, patchgate.serving.sglang.video as v; assert 'sglang' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_tokens_go_to_sglang_and_back(clip):
    item = video_data(clip)
    assert item["format"] == "precomputed_embedding"
    video = Video.of_item(item)
    assert torch.equal(video.features, clip.features)
    assert torch.equal(video.mask, clip.kind == 2)
    assert video.begins == [0, 0.5, 1]
    assert video.middles == [0.125, 0.625, 1.125]  # of two frames of a quarter of a second


def test_merged_tokens_have_no_place(clip):
    clip.frame[3] = -1
    with pytest.raises(ValueError, match="got merged ones"):
        video_data(clip)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda i: i.pop("patchgate"), ValueError, "expected what patchgate.serving.sglang"),
        (lambda i: i["patchgate"].pop("mask"), ValueError, "expected what patchgate.serving"),
        (lambda i: i.update(feature=[[1.0]]), TypeError, "expected tensors of features and mask"),
        (lambda i: i.update(feature=i["feature"][1:]), ValueError, "one feature for each kept"),
        (lambda i: i["patchgate"].update(begins=[0.0]), ValueError, "the times of its 3 tubelets"),
        (lambda i: i["patchgate"].update(begins=[2, 1, 0]), ValueError, "times that do not go"),
        (lambda i: i["patchgate"].update(middles="now"), TypeError, "expected a list of seconds"),
    ],
)
def test_what_is_no_such_entry(clip, change, kind, words):
    item = video_data(clip)
    change(item)
    with pytest.raises(kind) as error:
        Video.of_item(item)
    assert words in str(error.value)
