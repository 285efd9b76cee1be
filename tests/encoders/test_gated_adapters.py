"""Whatever is put around a module of a tower is in the result of the gated tower, or refused."""

import adapter_cases as cases
import pytest
import torch
from adapter_cases import EXACT, TOWERS, Lora, gated, inputs, output
from since import since

WAYS = [cases.wrap, cases.hook, cases.pre_hook, cases.own_forward, cases.reparametrise]
every = pytest.mark.parametrize("name", list(TOWERS))

# Of each family, modules that an adapter is usually put around.
_DINOV2_QUERY = f"encoder.layer.0.attention.{'q_proj' if since('5.18') else 'attention.query'}"
ADAPTED = {
    "siglip": ["embeddings.patch_embedding", "encoder.layers.0.self_attn.q_proj",
               "encoder.layers.0.self_attn.out_proj", "encoder.layers.0.mlp.fc1", "head.mlp.fc2"],
    "clip": ["embeddings.patch_embedding", "encoder.layers.0.self_attn.v_proj"],
    "siglip2": ["embeddings.patch_embedding", "encoder.layers.0.self_attn.k_proj"],
    "dinov2": ["embeddings.patch_embeddings.projection", _DINOV2_QUERY],
    "dinov3": ["embeddings.patch_embeddings", "model.layer.0.attention.o_proj"],
    "vit": ["embeddings.patch_embeddings.projection", "layers.0.attention.q_proj", "pooler.dense"],
    "internvl": ["embeddings.patch_embeddings.projection", "encoder.layer.0.attention.k_proj",
                 "encoder.layer.0.attention.projection_layer"],
    "idefics3": ["embeddings.patch_embedding", "encoder.layers.0.self_attn.v_proj"],
    "qwen25": ["patch_embed.proj", "blocks.0.attn.qkv", "blocks.0.attn.proj", "merger.mlp.0"],
    "qwen3": ["patch_embed.proj", "blocks.0.attn.qkv", "deepstack_merger_list.0.linear_fc1"],
    "vjepa2": ["embeddings.patch_embeddings.proj", "layer.0.attention.query"],
    "videomae": ["embeddings.patch_embeddings.projection",
                 "encoder.layer.0.attention.attention.query"],
    "timm": ["patch_embed.proj", "blocks.0.attn.qkv", "head"],
    "timm, eva": ["patch_embed.proj", "blocks.0.attn.q_proj", "blocks.0.attn.proj", "head"],
    "timm, map": ["patch_embed.proj", "attn_pool.kv"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@every
@pytest.mark.parametrize("way", WAYS)
def test_around_any_module_it_is_in_the_result_or_refused(name, way):
    model, x = TOWERS[name](), inputs(name)
    sparse, plain = gated(model), output(model, x)
    same, refused = [], []
    for path in cases.places(model):
        if way is cases.wrap and not path:
            continue
        undo = way(model, path)
        try:
            dense = output(model, x)
        except Exception:  # the tower itself does not work with it
            undo()
            continue
        try:
            ours = output(sparse, x)
        except (TypeError, ValueError):
            with pytest.raises((TypeError, ValueError), match=r"^tower: "):
                output(sparse, x)
            with pytest.raises((TypeError, ValueError), match=r"^tower: "):
                gated(model)  # and so is a tower that had it before
            refused.append(path)
        else:
            assert not cases.differ(ours, dense), path
            if cases.differ(dense, plain):
                same.append(path)
        undo()
    assert not cases.differ(output(sparse, x), plain)
    assert len(same) >= 8
    if way is cases.reparametrise:
        assert not refused
    else:
        assert refused
        assert not any(path.endswith("proj") for path in refused)


@every
def test_low_rank_adapters_are_in_the_result(name):
    x = inputs(name)
    plain = output(TOWERS[name](), x)
    for before in (True, False):
        model = TOWERS[name]()
        sparse = None if before else gated(model)
        for path in ADAPTED[name]:
            cases.put(model, path, Lora(model.get_submodule(path)))
        dense = output(model, x)
        assert cases.differ(dense, plain)
        for ours, theirs in zip(output(sparse or gated(model), x), dense, strict=True):
            torch.testing.assert_close(ours, theirs, **EXACT)
        for path in ADAPTED[name]:
            cases.put(model, path, model.get_submodule(path).base)
        assert not cases.differ(output(sparse or gated(model), x), plain)


@every
def test_gradients_of_adapters_are_those_of_the_dense_tower(name):
    model, x = TOWERS[name](), inputs(name)
    for path in ADAPTED[name]:
        cases.put(model, path, Lora(model.get_submodule(path)))
    model.requires_grad_(False)
    own = [p for key, p in model.named_parameters() if ".down." in key or ".up." in key]
    assert len(own) == 2 * len(ADAPTED[name])
    gradients = []
    for call in (model, gated(model)):
        with torch.enable_grad():
            for parameter in own:
                parameter.requires_grad_(True)
            total = sum(out.pow(2).sum() for out in output(call, x))
            gradients.append(torch.autograd.grad(total, own))
    for ours, theirs in zip(gradients[1], gradients[0], strict=True):
        assert theirs.abs().max() > 0
        # Qwen's towers turn queries and keys in float32, whatever their dtype.
        rtol = 1e-3 if name.startswith("qwen") else 1e-8
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("siglip", "encoder.layers.0", "its encoder.layers.0 is a Wrapped of adapter_cases"),
        ("siglip", "encoder.layers.0.self_attn", "but through q_proj, k_proj, v_proj, out_proj"),
        ("dinov2", "embeddings.dropout", "its embeddings.dropout is a Wrapped"),
        ("qwen25", "rotary_pos_emb", "its rotary_pos_emb is a Wrapped"),
        ("vjepa2", "embeddings", "through patch_embeddings"),
    ],
)
def test_a_refusal_says_where_and_what_to_do(name, path, message):
    model = TOWERS[name]()
    cases.wrap(model, path)
    with pytest.raises(TypeError, match=message) as told:
        gated(model)
    assert "would be left out of the result" in str(told.value)


@pytest.mark.parametrize("name", ["siglip", "qwen3", "videomae"])
@pytest.mark.parametrize("way", [cases.hook, cases.pre_hook, cases.own_forward])
def test_on_the_tower_itself_it_is_refused_and_on_the_gated_one_not(name, way):
    model, x = TOWERS[name](), inputs(name)
    sparse = gated(model)
    plain = output(sparse, x)
    way(sparse, "")
    assert cases.differ(output(sparse, x), plain)
    way(model, "")
    with pytest.raises(TypeError, match=r"Put it there, or on the gated tower, or remove it"):
        output(sparse, x)


@pytest.mark.parametrize("name", ["siglip", "clip"])
def test_every_way_into_a_gated_tower_refuses(name):
    model, x = TOWERS[name](), inputs(name)
    sparse, stream = gated(model), gated(model).stream()
    stream(**x)
    cases.hook(model, "encoder.layers.0")
    rows, ends = torch.zeros(16, 192).double(), torch.tensor([0, 16])
    source = torch.arange(16).view(1, 4, 4)
    for call in (
        lambda: sparse.tokens(x["pixel_values"], pts_seconds=torch.arange(2.0)),
        lambda: sparse.encode(rows, torch.arange(16), ends, source),
        lambda: stream(**x),
        lambda: gated(model, capacity=32),
        lambda: gated(model, feature_layer=-2),
    ):
        with pytest.raises(TypeError, match=r"its encoder\.layers\.0 has a hook"):
            call()
