"""PixelSpec: what transformers' own processors make of the same frames, and what is refused."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from since import language_models as chat_models
from torch import Tensor

import patchgate
from patchgate.gather import PixelSpec, gather
from patchgate.gather.resize import (
    Keep,
    PatchBudget,
    PixelRange,
    ShortestEdge,
    SizeRule,
    Stretch,
    VideoPixelRange,
)

pytest.importorskip("transformers")
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
    smart_resize,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import (
    Siglip2ImageProcessorPil,
    get_image_size_for_max_num_patches,
)
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

PICTURES = [(270, 480), (333, 201), (480, 270), (64, 90), (224, 224)]
PROCESSORS: dict[str, tuple[Any, int | None]] = {
    "siglip": (SiglipImageProcessorPil(), 16),
    "siglip-384": (SiglipImageProcessorPil(size={"height": 384, "width": 384}), 14),
    "siglip-lanczos": (SiglipImageProcessorPil(resample=1), 32),
    "siglip-raw": (SiglipImageProcessorPil(do_rescale=False, do_normalize=False), 16),
    "clip": (CLIPImageProcessorPil(), 14),
    "clip-small": (CLIPImageProcessorPil(size={"shortest_edge": 180}), 32),  # crops past the edge
    "dinov2": (BitImageProcessorPil(size={"shortest_edge": 256}), 14),
    "vit": (ViTImageProcessorPil(), 16),
    "gemma3": (Gemma3ImageProcessorPil(size={"height": 56, "width": 56}), 14),
    "internvl": (GotOcr2ImageProcessorPil(size={"height": 112, "width": 84}), 14),
    "qwen2.5-vl": (Qwen2VLImageProcessorPil(max_pixels=300 * 300), None),
    "qwen2.5-vl-up": (Qwen2VLImageProcessorPil(min_pixels=400 * 400), None),
    "siglip2": (Siglip2ImageProcessorPil(), None),
}


def smooth_and_noise(height: int, width: int) -> Tensor:
    """Two RGB frames ``[2, 3, H, W]``."""
    noise = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    coarse = noise[:, ::16, ::16].float()[None]
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return torch.stack([noise, smooth[0].to(torch.uint8)])


def conv_rows(pixels: Tensor, patch: int) -> Tensor:
    """``[T, 3, H, W]`` as the rows a patch convolution multiplies, ``[T * h * w, 3 * P * P]``."""
    columns = torch.nn.functional.unfold(pixels, patch, stride=patch)  # [T, 3 * P * P, h * w]
    return columns.mT.flatten(0, 1)


def processor_rows(processor: Any, frames: Tensor, spec: PixelSpec) -> Tensor:
    pixels = processor(list(frames.numpy()), return_tensors="pt")["pixel_values"]
    if pixels.ndim == 4:
        return conv_rows(pixels.float(), spec.patch)
    if pixels.ndim == 2:
        return pixels
    h, w = spec.cells(*frames.shape[2:])
    return pixels[:, : h * w].flatten(0, 1)  # without the padding to max_num_patches


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("picture", PICTURES)
def test_equals_the_processor(name: str, picture: tuple[int, int]) -> None:
    """Asked for: at most 1 of 255 in u8. Pillow's own integers give all of it exactly."""
    processor, patch = PROCESSORS[name]
    spec = PixelSpec.from_processor(processor, patch)
    frames = smooth_and_noise(*picture)
    theirs = processor_rows(processor, frames, spec)
    h, w = spec.cells(*picture)
    # An image is one tubelet to Qwen's processor: its only frame twice.
    clips = frames.split(1) if spec.temporal_patch == 2 else [frames]
    ours = torch.cat([gather(clip, torch.arange(len(clip) * h * w), spec) for clip in clips])
    assert torch.equal(ours, theirs)


SIDES = st.integers(28, 3000)


@given(SIDES, SIDES, st.integers(1, 6000), st.integers(6000, 2_000_000))
def test_pixel_range(height: int, width: int, least: int, most: int) -> None:
    assert PixelRange(least, most).target(height, width, 28) == smart_resize(
        height, width, 28, least, most
    )


@given(SIDES, SIDES, st.integers(1, 1024), st.sampled_from([14, 16]))
def test_patch_budget(height: int, width: int, patches: int, patch: int) -> None:
    expected = get_image_size_for_max_num_patches(height, width, patch, patches)
    assert PatchBudget(patches).target(height, width, patch) == expected


@given(SIDES, SIDES, st.integers(16, 512))
def test_shortest_edge(height: int, width: int, edge: int) -> None:
    from transformers.image_transforms import get_resize_output_image_size

    image = SimpleNamespace(shape=(3, height, width), ndim=3)
    expected = get_resize_output_image_size(image, edge, False, input_data_format="channels_first")
    assert ShortestEdge(edge).target(height, width, 14) == expected


def test_reads_a_processor() -> None:
    spec = PixelSpec.from_processor(CLIPImageProcessorPil(), patch=14)
    assert spec.size == ShortestEdge(224)
    assert spec.crop == (224, 224)
    assert spec.cells(1080, 1920) == (16, 16)
    # Its size is said: before transformers 5.18 processors changed each other's.
    size = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280}
    spec = PixelSpec.from_processor(Qwen2VLImageProcessorPil(size=size))
    assert (spec.patch, spec.merge, spec.temporal_patch, spec.channels_last) == (14, 2, 2, False)
    assert spec.cells(1080, 1920) == (26, 47)
    assert PixelSpec.from_processor(SiglipImageProcessorPil(do_resize=False), 16).size == Keep()


def test_a_convolution_leaves_the_rest() -> None:
    spec = PixelSpec(384, 0.5, 0.5, 14)  # type: ignore[arg-type]
    assert spec.size == Stretch(384, 384)
    assert spec.cells(1080, 1920) == (27, 27)
    down, _ = spec.place(1080, 1920)
    assert down == (384, 0, 378)


def test_finds_the_inner_processor() -> None:
    inner = SiglipImageProcessorPil()
    expected = PixelSpec.from_processor(inner, 16)
    assert PixelSpec.from_processor(SimpleNamespace(image_processor=inner), 16) == expected
    both = SimpleNamespace(image_processor=CLIPImageProcessorPil(), video_processor=inner)
    assert PixelSpec.from_processor(both, 16) == expected


class Qwen2VLVideoProcessor:
    """Its attributes: the real one needs torchvision."""

    do_resize = do_rescale = do_normalize = True
    size = {"shortest_edge": 128 * 28 * 28, "longest_edge": 768 * 28 * 28}  # noqa: RUF012
    resample = SimpleNamespace(value="bicubic")  # as torchvision's InterpolationMode
    image_mean = image_std = (0.5, 0.5, 0.5)
    rescale_factor = 1 / 255
    patch_size, merge_size, temporal_patch_size = 14, 2, 2
    cap_pixels_per_frame: bool | None = None


def test_video_processor() -> None:
    spec = PixelSpec.from_processor(Qwen2VLVideoProcessor())
    assert spec.size == PixelRange(128 * 28 * 28, 768 * 28 * 28)
    capped = Qwen2VLVideoProcessor()
    capped.cap_pixels_per_frame = True
    with pytest.raises(ValueError, match="cap_pixels_per_frame=True is not supported without max"):
        PixelSpec.from_processor(capped)
    capped.max_video_tokens = 128_000  # type: ignore[attr-defined]
    rule = PixelSpec.from_processor(capped).size
    assert isinstance(rule, VideoPixelRange)
    assert not rule.per_video
    assert rule.cap == 128_000


def test_qwen2_vl_with_a_cap() -> None:
    """The arithmetic of its ``resize``, and the real ``smart_resize``."""
    least, most = 128 * 28 * 28, 768 * 28 * 28
    rule = VideoPixelRange(least, most, per_video=False, cap=128_000)
    for frames in (2, 400, 800, 5000):
        share = int(128_000 * 28 * 28 * 0.9) * 2 // frames
        bound = max(min(most, share), int(least * 1.05))
        for height, width in PICTURES:
            expected = smart_resize(height, width, 28, least, bound)
            assert rule.of_frames(frames).target(height, width, 28) == expected


@given(st.integers(20, 3000), st.integers(20, 3000), st.integers(2, 800), st.booleans())
def test_qwen3_vl_resizes_by_the_number_of_frames(
    height: int, width: int, frames: int, capped: bool
) -> None:
    """As its own ``smart_resize`` does, with the bounds of its ``resize``."""
    module = pytest.importorskip("transformers.models.qwen3_vl.video_processing_qwen3_vl")
    least, most = 4096, 25_165_824  # of the published preprocessor_config.json
    bound = most
    if capped:
        bound = max(min(768 * 32 * 32, most // frames), int(least * 1.05)) * frames
    rule = VideoPixelRange(least, most, cap=768 if capped else None, most_frames=768)
    expected = module.smart_resize(min(frames, 768), height, width, 2, 32, least, bound)
    if frames <= 768 or not capped:
        assert rule.of_frames(frames).target(height, width, 32) == expected


def test_a_long_video_has_the_size_of_the_longest_that_the_processor_takes() -> None:
    rule = VideoPixelRange(4096, 25_165_824, most_frames=768)
    assert rule.of_frames(100_000).target(1080, 1920, 32) == rule.of_frames(768).target(
        1080, 1920, 32
    )
    assert rule.of_frames(1) == VideoPixelRange(4096, 25_165_824, most_frames=768, frames=1)
    assert rule.of_frames(1).target(64, 96, 32) == rule.of_frames(2).target(64, 96, 32)


def test_a_rule_that_does_not_know_the_number_of_frames_says_how_to_tell_it() -> None:
    with pytest.raises(ValueError, match=r"PixelSpec.from_processor\(processor, frames=..\)"):
        VideoPixelRange(1, 100).target(10, 10, 2)
    with pytest.raises(ValueError, match="frames: expected at least 1, got 0"):
        VideoPixelRange(1, 100).of_frames(0)
    with pytest.raises(ValueError, match="aspect ratio of more than 200"):
        VideoPixelRange(1, 100).of_frames(2).target(1, 201, 1)


@chat_models
def test_chat_processors_are_read_as_they_are() -> None:
    import chat_cases

    three = PixelSpec.from_processor(chat_cases.processor("qwen3"), frames=8)
    own = {"per_video": True, "most_frames": 768, "frames": 8}
    assert three.size == VideoPixelRange(2 * 8 * 8, 48 * 64 * 24, **own)  # type: ignore[arg-type]
    assert (three.patch, three.merge, three.temporal_patch, three.filter) == (4, 2, 2, "bicubic")
    assert PixelSpec.from_processor(chat_cases.processor("qwen25")).size == PixelRange(64, 3072)
    llava = PixelSpec.from_processor(chat_cases.processor("llava"), patch=8)
    assert llava.size == Stretch(40, 40)
    assert llava.mean == (0.5, 0.4, 0.45)


class OtherProcessor(SiglipImageProcessorPil):
    pass


@pytest.mark.parametrize(
    ("processor", "sides", "message"),
    [
        (SiglipImageProcessorPil(), {}, "does not know the tower's patch side"),
        (OtherProcessor(), {"patch": 16}, "OtherProcessor is none of SiglipImageProcessor, "),
        (object(), {"patch": 16}, "object is none of"),
        (SiglipImageProcessorPil(do_pad=True), {"patch": 16}, "do_pad=True is not supported"),
        (SiglipImageProcessorPil(resample=0), {"patch": 16}, "resample=0 is not supported"),
        (SiglipImageProcessorPil(size={"max_height": 9, "max_width": 9}), {"patch": 3},
         r"size=\{'max_height': 9, 'max_width': 9\} is not supported"),
        (CLIPImageProcessorPil(size={"shortest_edge": 9, "longest_edge": 12}), {"patch": 3},
         "is not supported"),
        (SiglipImageProcessorPil(do_center_crop=True), {"patch": 16}, "has no crop_size"),
        (Qwen2VLImageProcessorPil(), {"patch": 16}, "patch: the processor says 14, got 16"),
        (SiglipImageProcessorPil(image_std=[0.5, 0.0, 0.5]), {"patch": 16}, "more than 0"),
        (SiglipImageProcessorPil(image_mean=[0.5, 0.5]), {"patch": 16}, "three channels"),
    ],
)  # fmt: skip
def test_refuses(processor: Any, sides: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PixelSpec.from_processor(processor, **sides)


def test_refuses_frames_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"become 100 x 100 pixels, .* whole cells of 28 pixels"):
        PixelSpec(100, 0.5, 0.5, 14, merge=2).place(30, 40)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="become 9 x 9 pixels"):
        PixelSpec(9, 0.5, 0.5, 14).place(30, 40)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="aspect ratio of more than 200"):
        PixelRange(1, 100).target(1, 201, 28)
    with pytest.raises(ValueError, match="filter: expected one of 'bicubic', 'bilinear'"):
        PixelSpec(28, 0.5, 0.5, 14, filter="nearest")  # type: ignore[arg-type]


def test_transformers_is_not_imported() -> None:
    code = "import sys, patchgate.gather; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "processor",
    [
        Gemma3ImageProcessorPil(do_pan_and_scan=True),
        GotOcr2ImageProcessorPil(crop_to_patches=True),
    ],
)
def test_one_that_makes_several_pictures_of_a_frame_is_refused(processor: Any) -> None:
    with pytest.raises(ValueError, match="makes several pictures of one; switch it off for video"):
        PixelSpec.from_processor(processor, 14)


@pytest.mark.parametrize("name", ["SmolVLMVideoProcessor", "Idefics3ImageProcessorPil"])
def test_one_that_resizes_twice_is_refused(name: str) -> None:
    processor = type(name, (SimpleNamespace,), {})(do_resize=True)
    with pytest.raises(ValueError, match=r"resizes each frame twice.*give mean= and std=; .*lanc"):
        PixelSpec.from_processor(processor, 14)


def test_the_video_processor_of_internvl() -> None:
    """It needs torchvision to be made, and resizes as its image processor does."""
    image = GotOcr2ImageProcessorPil()
    settings = {name: getattr(image, name) for name in ("size", "resample", "rescale_factor",
        "image_mean", "image_std", "do_resize", "do_rescale", "do_normalize")}  # fmt: skip
    video = type("InternVLVideoProcessor", (SimpleNamespace,), {})(**settings)
    whole = SimpleNamespace(video_processor=video, image_processor=None)
    spec = PixelSpec.from_processor(whole, 14)
    assert (spec.size, spec.filter) == (Stretch(384, 384), "bicubic")
    assert spec.mean == PixelSpec.from_processor(image, 14).mean


def test_docs_towers_describes_a_pixel_spec() -> None:
    """Its code runs; what it describes is what DINOv2's processor does; its table has all rules."""
    page = (Path(__file__).parents[2] / "docs" / "towers.md").read_text()
    section = page.split("## What a processor does")[1].split("\n## ")[0]
    [block] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    known: dict[str, Any] = {}
    exec(compile(block, "towers.md", "exec"), known)
    assert known["spec"].cells(720, 1280) == (16, 16)
    processor = BitImageProcessorPil(
        size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224},
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    )  # fmt: skip
    read = PixelSpec.from_processor(processor, patch=14)
    assert replace(read, first_pass="horizontal") == known["spec"]
    rules = {each.__name__ for each in get_args(SizeRule)}
    assert set(re.findall(r"^\| `(\w+)\(", section, re.MULTILINE)) == rules
    assert rules <= set(patchgate.gather.__all__)
