"""Models and wrappers that have a vision tower inside: the error names the attribute, and it works.

Letters: T frames.
"""

import re

import pytest
import torch
from adapter_cases import differ, gated, inputs, output
from gated_cases import tower, transformers
from torch import nn

import patchgate

TEXT = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 32,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}  # fmt: skip
SQUARE = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
          "num_attention_heads": 3, "image_size": 32, "patch_size": 8}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def whole(family: str) -> nn.Module:
    """SigLIP or CLIP with its text model."""
    kind, config = (
        (transformers.SiglipModel, transformers.SiglipConfig)
        if family == "siglip"
        else (transformers.CLIPModel, transformers.CLIPConfig)
    )
    return kind(config(vision_config=SQUARE, text_config=TEXT))


def paligemma() -> nn.Module:
    siglip = {**SQUARE, "model_type": "siglip_vision_model", "vision_use_head": False}
    config = transformers.PaliGemmaConfig(
        vision_config=siglip,
        text_config={**TEXT, "model_type": "gemma"},
        image_token_index=31,
        projection_dim=16,
    )
    return transformers.PaliGemmaForConditionalGeneration(config)


def gemma3() -> nn.Module:
    siglip = {**SQUARE, "vision_use_head": False}
    config = transformers.Gemma3Config(
        vision_config=siglip,
        text_config=TEXT,
        image_token_id=31,
        boi_token_id=30,
        eoi_token_id=29,
        mm_tokens_per_image=4,
    )
    return transformers.Gemma3ForConditionalGeneration(config)


def internvl() -> nn.Module:
    config = transformers.InternVLConfig(
        vision_config=SQUARE, text_config={**TEXT, "model_type": "llama"}, image_token_id=31
    )
    return transformers.InternVLForConditionalGeneration(config)


def smolvlm(kind: str = "SmolVLM") -> nn.Module:
    config = getattr(transformers, f"{kind}Config")(
        vision_config=SQUARE, text_config={**TEXT, "model_type": "llama"}, image_token_id=31
    )
    return getattr(transformers, f"{kind}ForConditionalGeneration")(config)


def idefics3() -> nn.Module:
    return smolvlm("Idefics3")


def named(model: nn.Module) -> nn.Module:
    """The tower at the attribute that the error names."""
    with pytest.raises(TypeError, match="has its vision tower inside; pass that: gated") as told:
        patchgate.gated(model, mean=0.5, std=0.5)
    [path] = re.findall(r"gated\((model[\w.\[\]]+), \.\.\.\)", str(told.value))
    return eval(path, {"model": model})


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: whole("siglip"), "vision_model"),
        (lambda: whole("clip"), "vision_model"),
        (paligemma, "model.vision_tower"),
        (gemma3, "model.vision_tower"),
        (internvl, "model.vision_tower"),
        (smolvlm, "model.vision_model"),
        (idefics3, "model.vision_model"),
    ],
)
def test_the_tower_inside_is_named_and_works_in_its_place(make, path):
    """The larger model's own features of pictures are the same with the gated tower in it."""
    torch.manual_seed(0)
    model = make().double().eval()
    inner = named(model)
    assert inner is model.get_submodule(path)
    x = inputs("siglip")["pixel_values"]
    if path.startswith("model.vision_model"):
        x = x[None]  # images of one prompt
    dense = model.get_image_features(x).pooler_output
    owner, _, name = path.rpartition(".")
    sparse = gated(inner)
    setattr(model.get_submodule(owner), name, sparse)
    ours = model.get_image_features(x).pooler_output
    for one, other in zip(ours, dense, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
    assert sparse.last_work.kept == sparse.last_work.cells == 32


@pytest.mark.parametrize(
    ("wrapper", "more"),
    [
        (nn.DataParallel, "a gated tower of its own"),
        (lambda model: torch.compile(model, backend="eager"), r"torch.compile\(\) the gated tower"),
        (lambda model: nn.ModuleDict({"towers": nn.ModuleList([model])}), "pass that"),
    ],
)
def test_the_tower_in_a_wrapper_is_named(wrapper, more):
    model = tower("siglip")
    outer = wrapper(model)
    assert named(outer) is model
    with pytest.raises(TypeError, match=more):
        gated(outer)
    assert not differ(
        output(gated(named(outer)), inputs("siglip")), output(model, inputs("siglip"))
    )


def test_the_tower_in_a_peft_model_is_named():
    peft = pytest.importorskip("peft")
    model = tower("siglip")
    config = peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
    outer = peft.get_peft_model(model, config)
    model.double()
    assert named(outer) is model
    of_two = peft.get_peft_model(whole("clip"), config)
    assert named(of_two) is of_two.base_model.model.vision_model
    x = inputs("siglip")
    assert not differ(output(gated(model), x), output(model, x))


def test_several_towers_are_all_named():
    model = nn.ModuleDict({name: tower(name) for name in ("siglip", "clip")})
    with pytest.raises(TypeError, match=r"gated\(model\.siglip, \.\.\.\), gated\(model\.clip, "):
        gated(model)
    model = nn.ModuleList([tower("clip") for _ in range(5)])
    with pytest.raises(TypeError, match=r"gated\(model\[2\], \.\.\.\) and 2 more"):
        gated(model)


def test_what_has_no_tower_inside_is_told_what_is_supported():
    with pytest.raises(
        TypeError, match=r"Sequential is not supported; .*InternVL.*add-a-tower\.md"
    ):
        gated(nn.Sequential(nn.Linear(2, 2)))
