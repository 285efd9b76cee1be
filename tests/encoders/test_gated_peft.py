"""Adapters of the PEFT library, where it is installed."""

import adapter_cases as cases
import pytest
import torch
from adapter_cases import TOWERS, gated, inputs, output

peft = pytest.importorskip("peft")

TARGETS = {
    "siglip": ["q_proj", "v_proj", "fc1", "patch_embedding"],
    "clip": ["k_proj", "out_proj", "patch_embedding", "position_embedding"],
    "siglip2": ["q_proj", "out_proj", "patch_embedding"],
    "dinov2": ["q_proj", "query", "projection"],
    "vit": ["k_proj", "projection"],
    "internvl": ["q_proj", "projection_layer", "projection"],
    "idefics3": ["v_proj", "patch_embedding", "position_embedding"],
    "dinov3": ["v_proj", "patch_embeddings"],
    "qwen25": ["qkv", "proj"],  # "proj" is the patch embedding's, too
    "qwen3": ["qkv", "proj", "linear_fc1", "pos_embed"],
    "vjepa2": ["query", "proj"],
    "videomae": ["value", "projection"],
}


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def inject(model, config):
    torch.manual_seed(1)
    peft.inject_adapter_in_model(config, model)
    return model.double().eval()


def check(name, config):
    x = inputs(name)
    plain = output(TOWERS[name](), x)
    for before in (True, False):
        model = TOWERS[name]()
        sparse = None if before else gated(model)
        inject(model, config)
        dense = output(model, x)
        assert cases.differ(dense, plain)
        assert not cases.differ(output(sparse or gated(model), x), dense)


@pytest.mark.parametrize("name", list(TARGETS))
@pytest.mark.parametrize("options", [{}, {"use_dora": True}])
def test_lora(name, options):
    targets = TARGETS[name]
    if options:  # which embeddings and grouped layers lack
        targets = [each for each in targets if "pos" not in each]
    config = peft.LoraConfig(r=4, target_modules=targets, init_lora_weights=False, **options)
    check(name, config)


@pytest.mark.parametrize("kind", ["LoHaConfig", "LoKrConfig", "IA3Config"])
def test_other_kinds(kind):
    targets = ["q_proj", "patch_embedding"]
    more = {"IA3Config": {"feedforward_modules": [], "init_ia3_weights": False}}
    own = more.get(kind, {"r": 4, "init_weights": False})
    check("siglip", getattr(peft, kind)(target_modules=targets, **own))


def test_one_that_turns_pixels_beyond_the_patch_is_refused():
    options = {"oft_block_size": 4, "r": 0, "init_weights": False}
    check("siglip", peft.OFTConfig(target_modules=["q_proj"], **options))
    config = peft.OFTConfig(target_modules=["patch_embedding"], **options)
    with pytest.raises(ValueError, match="something else of a patch alone"):
        check("siglip", config)


@pytest.mark.parametrize("targets", [["attention"], ["out_proj"]])
def test_on_the_pooling_head(targets):
    """PEFT's adapter does nothing on a layer that torch calls by its weights: nor does it here."""
    config = peft.LoraConfig(r=4, target_modules=targets, init_lora_weights=False)
    check("siglip", config)


def test_modules_that_are_trained_whole():
    model, x = TOWERS["siglip"](), inputs("siglip")
    kept = ["patch_embedding", "layernorm", "mlp"]
    config = peft.LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=kept)
    whole = peft.get_peft_model(model, config).double().eval()
    for name, parameter in whole.named_parameters():
        if "modules_to_save" in name:
            parameter.mul_(1.2)
    dense = output(model, x)
    assert not cases.differ(output(gated(model), x), dense)
    with pytest.raises(TypeError, match=r"PeftModel has its.*: gated\(model\.base_model\.model, "):
        gated(whole)
    assert whole.base_model.model is model
    with whole.disable_adapter():
        assert cases.differ(output(model, x), dense)
        assert not cases.differ(output(gated(model), x), output(model, x))
