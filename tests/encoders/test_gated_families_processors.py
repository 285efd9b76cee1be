"""The processors of DINOv2, DINOv3, SigLIP2, ViT and InternVL, and towers fitted to them."""

import json

import pytest
import torch
from family_models import dinov2, dinov3, idefics3, internvl, siglip2, vit
from token_cases import path

import patchgate
from patchgate.gather import PixelSpec, gather, rgb_frames
from patchgate.gather.resize import PatchBudget, Stretch

pytest.importorskip("transformers")
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

# As the published preprocessor_config.json: the class itself needs torchvision.
DINOV3 = {
    "image_processor_type": "DINOv3ViTImageProcessorFast",
    "do_center_crop": None,
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "rescale_factor": 1 / 255,
    "size": {"height": 48, "width": 32},
}


def bit(**changes) -> BitImageProcessorPil:
    crop = {"height": 40, "width": 48}
    return BitImageProcessorPil(**{"size": {"shortest_edge": 52}, "crop_size": crop, **changes})


def test_dinov3_resizes_floats_and_is_met_within_a_level():
    spec = PixelSpec.from_processor(DINOV3, patch=8)
    assert spec.size == Stretch(48, 32)
    frames = torch.randint(0, 256, (3, 3, 100, 70), dtype=torch.uint8)
    resized = torch.nn.functional.interpolate(
        frames / 255, (48, 32), mode="bilinear", antialias=True
    )
    mean, std = (torch.tensor(DINOV3[name])[:, None, None] for name in ("image_mean", "image_std"))
    expected = torch.nn.functional.unfold((resized - mean) / std, 8, stride=8).mT.flatten(0, 1)
    rows = gather(frames, torch.arange(len(expected)), spec)
    levels = (rows - expected).unflatten(1, (3, 64)).abs().amax((0, 2)) * std.flatten() * 255
    assert (levels < 1).all()


@pytest.mark.parametrize(
    ("processor", "patch"), [(bit(), 8), (Siglip2ImageProcessorPil(max_num_patches=9), None)]
)
def test_a_description_is_the_processor_it_describes(processor, patch):
    written = json.loads(processor.to_json_string())
    expected = PixelSpec.from_processor(processor, patch)
    assert PixelSpec.from_processor(written, patch) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resample": 3}, "resample=3 is not supported"),
        ({"image_processor_type": None}, "expected a dictionary with image_processor_type"),
        ({"image_processor_type": "Dinov4"}, "Dinov4 is none of .*DINOv3ViTImageProcessor"),
        ({"size": {"longest_edge": 3}}, "is not supported"),
    ],
)
def test_descriptions_that_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        PixelSpec.from_processor({**DINOV3, **changes}, patch=8)


@pytest.mark.parametrize("name", ["do_resize", "resample", "rescale_factor", "image_std"])
def test_a_description_that_leaves_something_to_the_class_is_refused(name):
    left = {key: value for key, value in DINOV3.items() if key != name}
    with pytest.raises(ValueError, match=f"DINOv3ViTImageProcessorFast lacks .*{name}"):
        PixelSpec.from_processor(left, patch=8)
    crops = {**DINOV3, "image_processor_type": "BitImageProcessor"}
    del crops["do_center_crop"]
    with pytest.raises(ValueError, match="lacks do_center_crop"):
        PixelSpec.from_processor(crops, patch=8)


def test_timms_data_configuration_says_what_to_do():
    config = {"input_size": (3, 224, 224), "crop_pct": 0.9, "mean": (0.5,) * 3}
    with pytest.raises(ValueError, match="timm's data configuration, give mean= and std="):
        PixelSpec.from_processor(config, patch=16)


def test_a_tower_is_fitted_to_the_pictures_of_its_processor():
    sparse = patchgate.gated(dinov2(), bit())  # trained with 32 x 32
    assert sparse.gate_settings.size == (40, 48)
    assert patchgate.gated(dinov3(), DINOV3).gate_settings.size == (48, 32)
    with pytest.raises(ValueError, match=r"hold no whole patch of 8 pixels"):
        patchgate.gated(dinov2(), bit(crop_size={"height": 7, "width": 9}))
    with pytest.raises(ValueError, match=r"expected patches of .* got .*channels_last=True"):
        patchgate.gated(dinov2(), Siglip2ImageProcessorPil(patch_size=8))
    with pytest.raises(ValueError, match=r"expected patches of .* got .*channels_last=False"):
        patchgate.gated(siglip2(), bit())


def test_siglip2_has_as_many_patches_as_its_processor_allows():
    sparse = patchgate.gated(siglip2(), Siglip2ImageProcessorPil(patch_size=8, max_num_patches=30))
    assert sparse.pixel_spec.size == PatchBudget(30)
    assert sparse.pixel_spec.channels_last
    assert sparse.gate_settings.size is None
    assert patchgate.gated(siglip2(), mean=0.5, std=0.5).pixel_spec.size == PatchBudget(16)


def test_the_gate_sees_what_siglip2s_processor_was_given():
    processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=30)
    frames = torch.randint(0, 256, (1, 3, 32, 56), dtype=torch.uint8).expand(4, -1, -1, -1).clone()
    frames[2:, :, 8:16, 16:24] += 99
    inputs = processor(list(frames.numpy()), return_tensors="pt")
    assert inputs["spatial_shapes"].tolist() == [[4, 7]] * 4  # 28 patches, and 2 of padding
    sparse = patchgate.gated(siglip2().float(), processor)
    with torch.no_grad():
        out = sparse(**inputs)
    assert out.last_hidden_state.shape == (4, 30, 24)
    assert sparse.last_work.kept == 29


@pytest.mark.parametrize(
    ("make", "processor"),
    [
        (dinov2, bit()),
        (vit, ViTImageProcessorPil(size={"height": 32, "width": 32})),
        (internvl, GotOcr2ImageProcessorPil(size={"height": 40, "width": 48})),
        (idefics3, SiglipImageProcessorPil(size={"height": 32, "width": 48})),
    ],
    ids=["dinov2", "vit", "internvl", "idefics3"],
)
def test_tokens_of_a_file_are_those_of_the_dense_tower(make, processor):
    model = make().float()
    tower = patchgate.gated(model, processor, threshold=6)
    tokens = patchgate.tokenize(path(), tower, gate=patchgate.Gate(patch=8, max_age=1))
    assert bool(tokens.is_key.all())
    with patchgate.open_video(path()) as video:
        frames = torch.cat([rgb_frames(batch) for batch in video])
    pictures = [frame.permute(1, 2, 0).numpy() for frame in frames]
    pixels = processor(pictures, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = model(pixels).last_hidden_state
    expected = expected if make is idefics3 else expected[:, 1:]
    torch.testing.assert_close(tokens.dense().flatten(1, 2), expected, atol=1e-4, rtol=1e-4)


def test_a_tower_of_one_size_says_which():
    processor = ViTImageProcessorPil()
    with pytest.raises(ValueError, match="pictures of 224 x 224, the tower takes 32 x 32"):
        patchgate.gated(vit(), processor)
    assert patchgate.gated(internvl(), processor).gate_settings.size == (224, 224)
