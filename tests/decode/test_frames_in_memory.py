"""Frames that are in memory: from OpenCV, PIL, torchcodec and PyAV to a FrameBatch, and back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import clips
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import patchgate
from patchgate import FrameBatch
from patchgate.colour import rgb_to_ycbcr
from patchgate.decode import Colour
from patchgate.gather import rgb_frames

T, H, W = 4, 30, 44


def pictures(seed: int = 0) -> Tensor:
    """``[T, H, W, 3]`` uint8 RGB of every value."""
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (T, H, W, 3), generator=chance, dtype=torch.uint8)


def assert_planes(batch: FrameBatch, rgb: Tensor) -> None:
    """``rgb``: ``[T, H, W, 3]``."""
    expected = rgb_to_ycbcr(rgb.permute(0, 3, 1, 2))
    for plane, want in zip(batch.planes, expected.unbind(1), strict=True):
        assert torch.equal(plane, want)
    assert batch.colour == Colour("bt601", full_range=True)


FORMS: dict[str, Any] = {
    "torch, channels last": lambda x: x,
    "torch, channels first": lambda x: x.permute(0, 3, 1, 2),
    "torch, contiguous": lambda x: x.permute(0, 3, 1, 2).contiguous(),
    "numpy": lambda x: x.numpy(),
    "numpy, read-only": lambda x: np.frombuffer(x.numpy().tobytes(), np.uint8).reshape(x.shape),
    "numpy, every other row of a larger one": lambda x: x.repeat_interleave(2, 1).numpy()[:, ::2],
    "list of torch": list,
    "list of numpy": lambda x: [each.numpy() for each in x],
    "tuple of channels first": lambda x: tuple(each.permute(2, 0, 1) for each in x),
    "list of batches": lambda x: [x[:1], x[1:]],
    "list of PIL": lambda x: [Image.fromarray(each.numpy()) for each in x],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_rgb_is_one(form: str) -> None:
    assert_planes(FrameBatch.from_rgb(FORMS[form](pictures())), pictures())


@pytest.mark.parametrize("form", [name for name in FORMS if "PIL" not in name])
def test_bgr_is_rgb_with_its_channels_turned(form: str) -> None:
    turned = FORMS[form](pictures().flip(3))
    assert_planes(FrameBatch.from_bgr(turned), pictures())


@pytest.mark.parametrize("form", ["torch, channels last", "torch, channels first", "numpy"])
def test_one_picture_is_a_batch_of_one(form: str) -> None:
    one = FORMS[form](pictures()[:1])[0]
    assert_planes(FrameBatch.from_rgb(one), pictures()[:1])


def test_opencv_frames_have_their_colours() -> None:
    cv2 = pytest.importorskip("cv2")
    red = np.zeros((H, W, 3), np.uint8)
    cv2.rectangle(red, (0, 0), (W, H), (0, 0, 255), -1)  # OpenCV's red
    assert FrameBatch.from_bgr(red).rgb()[0, :, 5, 5].tolist() == [254, 0, 0]


def test_rgb_comes_back_to_within_two_levels() -> None:
    back = FrameBatch.from_rgb(pictures()).rgb()
    difference = back.permute(0, 2, 3, 1).int() - pictures().int()
    assert back.dtype == torch.uint8
    assert difference.abs().max() <= 2


@pytest.mark.parametrize("name", ["h264.mp4", "deep"])
def test_rgb_is_what_a_tower_sees(name: str) -> None:
    path = _deep() if name == "deep" else clips.clip(name)
    for batch in patchgate.open_video(path):
        assert torch.equal(batch.rgb(), rgb_frames(batch))
        assert batch.rgb().shape == (len(batch), 3, batch.height, batch.width)


def _deep() -> Any:
    return clips.write(clips.folder() / "deep.mkv", pixels="yuv420p10le", frames=3)


def test_memory_is_not_shared() -> None:
    given = pictures()
    batch = FrameBatch.from_rgb(given)
    before = batch.planes[0].clone()
    given.zero_()
    assert torch.equal(batch.planes[0], before)


# ---- times


def test_times_that_are_not_given_are_not_known() -> None:
    batch = FrameBatch.from_rgb(pictures())
    assert not batch.has_times
    assert batch.pts_seconds.isnan().all()
    assert batch.duration_seconds.isnan().all()
    assert "no times" in repr(batch)


@pytest.mark.parametrize("seconds", [[0, 0.5, 0.6, 2], np.array([0, 0.5, 0.6, 2], np.float32),
                                     torch.tensor([0, 0.5, 0.6, 2])], ids=type)  # fmt: skip
def test_durations_lead_to_the_next_frame(seconds: Any) -> None:
    batch = FrameBatch.from_rgb(pictures(), seconds)
    assert batch.has_times
    assert batch.pts_seconds.dtype == batch.duration_seconds.dtype == torch.float64
    torch.testing.assert_close(
        batch.duration_seconds, torch.tensor([0.5, 0.1, 1.4, 1.4]).double(), atol=1e-6, rtol=0
    )


def test_durations_may_be_given() -> None:
    batch = FrameBatch.from_bgr(pictures(), [0, 1, 2, 3], [0.5, 1, 1, 0])
    assert batch.duration_seconds.tolist() == [0.5, 1, 1, 0]
    one = FrameBatch.from_rgb(pictures()[0], 1.5, 0.25)
    assert (one.pts_seconds.item(), one.duration_seconds.item()) == (1.5, 0.25)
    assert FrameBatch.from_rgb(pictures()[0], 1.5).duration_seconds.isnan()


# ---- torchcodec, which is not needed for this


@dataclass
class Decoded:
    """The attributes of torchcodec's ``Frame`` and ``FrameBatch``."""

    data: Any
    pts_seconds: Any
    duration_seconds: Any


def test_torchcodecs_batches_and_frames() -> None:
    seconds, lasting = torch.arange(4).double() / 25, torch.full((4,), 0.04).double()
    data = pictures().permute(0, 3, 1, 2)
    batch = FrameBatch.from_torchcodec(Decoded(data, seconds, lasting))
    assert_planes(batch, pictures())
    assert torch.equal(batch.pts_seconds, seconds)
    assert torch.equal(batch.duration_seconds, lasting)
    one = FrameBatch.from_torchcodec(Decoded(data[2], 0.08, 0.04))
    assert_planes(one, pictures()[2:3])
    assert (one.pts_seconds.item(), one.duration_seconds.item()) == (0.08, 0.04)
    with pytest.raises(TypeError, match="got Tensor without pts_seconds, duration_seconds"):
        FrameBatch.from_torchcodec(data)


# ---- PyAV


@pytest.mark.parametrize("name", ["h264.mp4", "vfr.mp4", "late.mkv", "mpeg4.avi"])
def test_frames_of_pyav_are_those_of_open_video(name: str) -> None:
    path = clips.clip(name)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    batch = FrameBatch.from_av(frames)
    parts = list(patchgate.open_video(path, chunk=80))
    want = parts[0]
    assert len(parts) == 1
    for plane, expected in zip(batch.planes, want.planes, strict=True):
        assert torch.equal(plane, expected)
    assert batch.colour == want.colour
    assert torch.equal(batch.pts_seconds, want.pts_seconds)
    torch.testing.assert_close(batch.duration_seconds, want.duration_seconds)
    assert torch.equal(batch.key_frame, want.key_frame)
    one = FrameBatch.from_av(frames[3])
    assert torch.equal(one.planes[0], want.planes[0][3:4])
    assert one.pts_seconds == want.pts_seconds[3]


def test_frames_of_pyav_are_turned(tmp_path: Path) -> None:
    path = clips.write(tmp_path / "turned.mp4", frames=3, rotation=(90, True, False))
    with av.open(str(path)) as container:
        batch = FrameBatch.from_av(container.decode(video=0))
    (want,) = patchgate.open_video(path)
    for plane, expected in zip(batch.planes, want.planes, strict=True):
        assert plane.shape == expected.shape
        assert torch.equal(plane, expected)


def test_rgb_frames_of_pyav_are_converted() -> None:
    picture = np.full((H, W, 3), (200, 30, 90), np.uint8)
    batch = FrameBatch.from_av(av.VideoFrame.from_ndarray(picture, "rgb24"))
    assert not batch.has_times
    assert (batch.rgb()[0, :, 3, 3].int() - torch.tensor([200, 30, 90])).abs().max() <= 3


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        ([], ValueError, "from_av: expected at least one frame, got none"),
        (["frame"], TypeError, "from_av: expected frames of PyAV, got str"),
        (np.zeros((1, 4, 4, 3), np.uint8), TypeError, "expected frames of PyAV, got ndarray"),
        (None, TypeError, "expected frames of PyAV, got NoneType"),
        ([av.VideoFrame(16, 16, "yuv420p"), av.VideoFrame(16, 32, "yuv420p")], ValueError,
         "expected frames of one size and format.*make a batch of each"),
    ],
)  # fmt: skip
def test_what_is_no_frame_of_pyav_is_refused(frames: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        FrameBatch.from_av(frames)


# ---- what does not fit

BYTES = torch.zeros((2, H, W, 3), dtype=torch.uint8)
REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "floats in 0..1": (BYTES.float(), TypeError,
        r"from_rgb: expected uint8 in 0\.\.255, got torch\.float32; pictures in 0\.\.1 become that "
        r"by \(frames \* 255\)\.round\(\)\.to\(torch\.uint8\); pixel_values .* gated"),
    "numpy floats": (np.zeros((1, 4, 5, 3)), TypeError, r"got float64; .*\.astype\('uint8'\)"),
    "int64": (BYTES.long(), TypeError, r"got torch\.int64; bring the values to 0\.\.255"),
    "a path": ("talk.mp4", TypeError, r"expected pictures \[T, H, W, 3\] or .*, got str"),
    "none": (None, TypeError, "got NoneType"),
    "an empty list": ([], ValueError, "got an empty list"),
    "numbers": ([1, 2], TypeError, "from_rgb: frame 0: expected pictures .* got int"),
    "grey": (BYTES[..., 0], ValueError, r"got \[2, 30, 44\]; grey pictures .*np\.stack"),
    "grey with a channel": (BYTES[..., :1], ValueError, "grey pictures need their channel three"),
    "alpha": (BYTES.new_zeros(2, H, W, 4), ValueError, r"leave alpha out: frames\[\.\.\., :3\]"),
    "one number": (BYTES[0, 0, 0, 0], ValueError, r"got \[\]"),
    "streams": (BYTES[None], ValueError, r"got \[1, 2, 30, 44, 3\]"),
    "no pixels": (BYTES[:, :0], ValueError, r"expected pictures with pixels, got \[2, 0, 44, 3\]"),
    "either order": (BYTES[:, :3, :3], ValueError, r"\[2, 3, 3, 3\], which may be either"),
    "sizes": ([BYTES[0], BYTES[0, 2:]], ValueError, r"of one size .*\[30, 44\].*frame 1, \[28, 44"),
    "meta": (BYTES.to("meta"), TypeError, "got torch.strided on meta"),
    "sparse": (BYTES.to_sparse(), TypeError, "got torch.sparse_coo"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused(name: str) -> None:
    frames, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        FrameBatch.from_rgb(frames)


def test_an_image_of_pil_is_not_bgr() -> None:
    with pytest.raises(TypeError, match="images of PIL are RGB; give them to FrameBatch"):
        FrameBatch.from_bgr(Image.new("RGB", (W, H)))


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        (([0, 1],), ValueError, r"pts_seconds: expected one for each of 4 frames, got \[2\]"),
        (([3, 2, 1, 0],), ValueError, "pts_seconds: expected times that do not fall"),
        (([0, 1, 2, float("nan")],), ValueError, "pts_seconds: expected finite seconds"),
        (("soon",), TypeError, "pts_seconds: expected seconds .*, got 'soon'"),
        (([True] * 4,), TypeError, "pts_seconds: expected seconds, got torch.bool"),
        (([0, 1, 2, 3], [1, 1, 1, -1]), ValueError, "duration_seconds: expected 0 or more, got -1"),
        ((None, [1, 1, 1, 1]), ValueError, "duration_seconds has no meaning without pts_seconds"),
    ],
)
def test_times_that_do_not_fit_are_refused(times: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        FrameBatch.from_rgb(pictures(), *times)


def test_no_frames_are_a_batch_of_none() -> None:
    batch = FrameBatch.from_rgb(pictures()[:0])
    assert len(batch) == 0
    assert batch.has_times
    assert batch.rgb().shape == (0, 3, H, W)
