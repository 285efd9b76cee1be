"""A patch embedding that is not a plain convolution: called on single patches, or refused."""

import copy
import pickle

import adapter_cases as cases
import pytest
import torch
from adapter_cases import EXACT, TOWERS, Lora, gated, inputs, output
from gated_cases import tower
from torch import nn

PATH = "embeddings.patch_embedding"


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


class Replaced(nn.Module):
    """Any module in the place of the convolution."""

    def __init__(self, inner, after):
        super().__init__()
        self.inner, self.after = inner, after

    @property
    def weight(self):
        return self.inner.weight

    def forward(self, x):
        return self.after(self.inner(x))


def centred(out):
    """Beside each patch all others of the picture."""
    return out - out.mean((2, 3), keepdim=True)


def replaced(model, after):
    cases.put(model, PATH, Replaced(model.get_submodule(PATH), after))
    return model


@pytest.mark.parametrize(
    "after", [centred, nn.GroupNorm(1, 24).double(), nn.Conv2d(24, 24, 3, padding=1).double()]
)
def test_one_that_looks_beyond_the_patch_is_refused(after):
    with pytest.raises(ValueError, match="something else of a patch alone"):
        gated(replaced(tower("siglip"), after))
    model, x = tower("siglip"), inputs("siglip")
    sparse = gated(model)
    output(sparse, x)
    replaced(model, after)
    with pytest.raises(ValueError, match="something else of a patch alone"):
        output(sparse, x)


def test_one_that_does_not_is_not():
    model, x = tower("siglip"), inputs("siglip")
    norm = nn.BatchNorm2d(24).double().eval()
    norm.running_mean.copy_(torch.arange(24) / 10)
    replaced(model, nn.Sequential(norm, nn.GELU()))
    assert not cases.differ(output(gated(model), x), output(model, x))


def test_a_hook_that_looks_beyond_the_patch_is_refused():
    model, x = tower("clip"), inputs("clip")
    sparse = gated(model)
    model.get_submodule(PATH).register_forward_hook(lambda _module, _args, out: centred(out))
    with pytest.raises(ValueError, match="something else of a patch alone"):
        output(sparse, x)


def test_a_hook_that_only_looks_is_called_with_the_patches():
    model, x, seen = tower("siglip"), inputs("siglip"), []
    sparse = gated(model)
    plain = output(sparse, x)
    model.get_submodule(PATH).register_forward_hook(lambda *given: seen.append(given[2].shape))
    for _ in range(2):
        assert not cases.differ(output(sparse, x), plain)
    once = [(4, 24, 1, 1), (1, 24, 2, 2)]  # tried out when it was new
    assert [tuple(shape) for shape in seen] == [*once, (32, 24, 1, 1), (32, 24, 1, 1)]


@pytest.mark.parametrize(
    ("after", "came"),
    [
        (lambda out: out[:, :20], r"returns \[4, 20, 1, 1\] for 4 patches, expected 4 rows of 24"),
        (lambda out: (out,), "returns tuple for 4 patches"),
        (lambda out: nn.functional.pad(out, (1, 1)), r"returns \[4, 24, 1, 3\]"),
    ],
)
def test_one_with_other_outputs_is_refused(after, came):
    with pytest.raises(ValueError, match=came):
        gated(replaced(tower("siglip"), after))


class Quantised(nn.Linear):
    """As those of libraries are: the same module, of whole numbers."""

    def __init__(self, linear):
        super().__init__(linear.in_features, linear.out_features)
        levels = (linear.weight * 50).round().to(torch.int8)
        self.weight = nn.Parameter(levels, requires_grad=False)
        self.bias = linear.bias

    def forward(self, x):
        return nn.functional.linear(x, self.weight.to(x.dtype) / 50, self.bias)


@pytest.mark.parametrize("name", ["siglip", "clip", "qwen25", "dinov2"])
def test_quantised_projections_are_in_the_result(name):
    model, x = TOWERS[name](), inputs(name)
    sparse = gated(model)
    output(sparse, x)
    work = sparse.last_work
    for path, module in list(model.named_modules()):
        if type(module) is nn.Linear and "layer" in path + path.replace("blocks", "layer"):
            cases.put(model, path, Quantised(module))
    for each in (sparse, gated(model)):
        assert not cases.differ(output(each, x), output(model, x))
        assert each.last_work == work


def test_a_quantised_patch_embedding_is_refused():
    model = TOWERS["siglip2"]()
    cases.put(model, PATH, Quantised(model.get_submodule(PATH)))
    with pytest.raises(TypeError, match=r"a Quantised with weights of torch\.int8"):
        gated(model)
    model = tower("siglip")
    cases.put(model, PATH, nn.Identity())
    with pytest.raises(TypeError, match=r"an Identity with no weights"):
        gated(model)


@pytest.mark.parametrize(
    "name", ["siglip", "clip", "dinov2", "dinov3", "vit", "internvl", "idefics3", "qwen25", "timm"]
)
def test_of_some_kept_cells_too(name):
    """Frames of which few cells are new, moved ones included, and a stream of them."""
    model, x = TOWERS[name](), inputs(name)
    outer = {"dinov2": "embeddings.patch_embeddings.projection", "timm": "patch_embed.proj",
             "vit": "embeddings.patch_embeddings.projection",
             "internvl": "embeddings.patch_embeddings.projection",
             "dinov3": "embeddings.patch_embeddings", "qwen25": "patch_embed.proj"}  # fmt: skip
    path = outer.get(name, PATH)
    cases.put(model, path, Lora(model.get_submodule(path)))
    key, pixels = next(iter(x.items()))
    if name == "qwen25":
        still = pixels[: len(pixels) // 2]
        changed = still.clone()
        changed[4:8] = -changed[4:8]
        x[key] = torch.cat([still, changed])
    else:
        x[key] = pixels[:1].repeat(2, 1, 1, 1)
        x[key][1, :, 8:16, 8:16] *= -1
    sparse = gated(model, search_radius=0)
    dense = output(model, x)
    for ours, theirs in zip(output(sparse, x), dense, strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)
    assert sparse.last_work.kept_share < 0.6


@pytest.mark.parametrize("name", ["siglip", "dinov2", "qwen25"])
def test_inputs_that_require_gradients(name):
    """What transformers does for adapters and checkpointing: a hook on the input embedding."""
    model, x = TOWERS[name](), inputs(name)
    model.requires_grad_(False)
    model.enable_input_require_grads()
    with torch.enable_grad():
        ours, theirs = output(gated(model), x), output(model, x)
        assert all(out.requires_grad for out in (*ours, *theirs))
    assert not cases.differ(ours, theirs)


@pytest.mark.parametrize("head", [False, True])
def test_with_a_capacity_and_compiled(head):
    model, x = tower("siglip"), inputs("siglip")
    cases.put(model, PATH, Lora(model.get_submodule(PATH)))
    if head:
        cases.wrap(model, "head.attention")
    fixed = gated(model, capacity=32)
    dense = output(model, x)
    assert not cases.differ(output(fixed, x), dense)
    torch._dynamo.reset()
    graph = torch.compile(fixed, fullgraph=True, dynamic=False, backend="eager")
    assert not cases.differ(output(graph, x), dense)
    cases.hook(model, "encoder.layers.1")
    torch._dynamo.reset()
    graph = torch.compile(fixed, fullgraph=True, dynamic=False, backend="eager")
    with pytest.raises(Exception, match=r"its encoder\.layers\.1 has a hook"):
        output(graph, x)


def test_a_copy_and_a_pickle_have_their_own():
    model, x = tower("siglip"), inputs("siglip")
    cases.put(model, PATH, Lora(model.get_submodule(PATH)))
    sparse = gated(model)
    dense = output(sparse, x)
    for other in (copy.deepcopy(sparse), pickle.loads(pickle.dumps(sparse))):
        assert not cases.differ(output(other, x), dense)
        other.tower.get_submodule(PATH).up.weight.data.zero_()
        assert cases.differ(output(other, x), dense)
    assert not cases.differ(output(sparse, x), dense)


def test_a_compiled_layer_is_the_layer():
    model, x = TOWERS["dinov2"](), inputs("dinov2")
    dense = output(model, x)
    model.encoder.layer[1] = torch.compile(model.encoder.layer[1], backend="eager")
    assert not cases.differ(output(gated(model), x), dense)
    cases.hook(model, "encoder.layer.1._orig_mod")
    with pytest.raises(TypeError, match=r"its encoder\.layer\.1 has a hook"):
        gated(model)
