"""Towers whose weights are elsewhere (offloaded, sharded, on several devices), and whose code is.

Letters: D features.
"""

import sys
import types

import adapter_cases as cases
import pytest
import torch
from adapter_cases import TOWERS, Lora, gated, inputs, output
from gated_cases import tower
from torch import nn

from patchgate.encoders.weights import check_weights

some = pytest.mark.parametrize("name", ["siglip", "dinov2", "qwen25", "videomae"])


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


# Offloaded: weights on the meta device, brought when their module is called.


class AlignDevicesHook:
    """As accelerate's of the same name."""

    def __init__(self, offload):
        self.offload = offload


def placed(module, offload):
    """As accelerate places a module: by another forward."""
    before, weights = module.forward, dict(module.named_parameters(recurse=False))
    if offload:
        for name, weight in weights.items():
            meta = nn.Parameter(weight.to("meta"), requires_grad=False)
            module.register_parameter(name, meta)

    def forward(*args, **kwargs):
        for name, weight in weights.items():
            module.register_parameter(name, weight)
        try:
            return before(*args, **kwargs)
        finally:
            for name, weight in weights.items() if offload else ():
                meta = nn.Parameter(weight.to("meta"), requires_grad=False)
                module.register_parameter(name, meta)

    module.forward = forward
    module._hf_hook = AlignDevicesHook(offload)


@some
def test_of_an_offloaded_tower_it_is_said(name):
    model, x = TOWERS[name](), inputs(name)
    sparse = gated(model)
    for module in list(model.modules()):
        if not list(module.children()):
            placed(module, True)
    for module in (model, *model.children()):
        placed(module, False)
    for call in (lambda: gated(model), lambda: output(sparse, x)):
        with pytest.raises(ValueError, match="on the meta device: offloaded"):
            call()


@some
def test_a_tower_that_stays_loaded_works_with_a_device_map(name):
    """A model of which accelerate only brings the inputs to the weights."""
    model, x = TOWERS[name](), inputs(name)
    dense, sparse = output(model, x), gated(model)
    for module in model.modules():
        placed(module, False)
    for each in (sparse, gated(model)):
        assert not cases.differ(output(each, x), dense)


def test_with_other_weights_of_it_offloaded_it_is_said():
    model, x = tower("siglip"), inputs("siglip")
    sparse = gated(model)
    placed(model, False)
    placed(model.encoder.layers[1].mlp.fc1, True)
    for call in (lambda: gated(model), lambda: output(sparse, x)):
        with pytest.raises(ValueError, match="on the meta device: offloaded"):
            call()


def test_a_tower_that_was_never_loaded():
    with torch.device("meta"):
        model = tower("siglip")
    with pytest.raises(ValueError, match="or never loaded"):
        gated(model)


def test_moved_away_between_calls_is_refused():
    """As accelerate's model offloading does, by a forward of the whole tower."""
    model, x = tower("siglip"), inputs("siglip")
    sparse = gated(model)
    placed(model, False)
    model._hf_hook = types.SimpleNamespace()
    with pytest.raises(TypeError, match="set by accelerate"):
        output(sparse, x)


@pytest.mark.parametrize("how", ["cpu_offload", "disk_offload", "device_map", "hooks"])
def test_with_accelerate(how, tmp_path):
    accelerate = pytest.importorskip("accelerate")
    model, x = tower("siglip"), inputs("siglip")
    dense, sparse = output(model, x), gated(model)
    if how == "cpu_offload":
        accelerate.cpu_offload(model, "cpu")
    elif how == "disk_offload":
        accelerate.disk_offload(model, str(tmp_path), "cpu")
    elif how == "device_map":
        places = {"embeddings": "cpu", "encoder": "cpu", "post_layernorm": "disk", "head": "cpu"}
        accelerate.dispatch_model(model, places, "cpu", offload_dir=str(tmp_path))
    else:
        accelerate.dispatch_model(model, {"": "cpu"}, force_hooks=True)
    for call in (lambda: output(sparse, x), lambda: output(gated(model), x)):
        if how == "hooks":
            assert not cases.differ(call(), dense)
            continue
        with pytest.raises(ValueError, match="on the meta device: offloaded"):
            call()


# Sharded, and on several devices.


@pytest.fixture
def one_process():
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_gloo_available():
        pytest.skip("needs torch.distributed with gloo")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_a_sharded_tower_is_refused(one_process):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model, x = tower("siglip"), inputs("siglip")
    sparse, mesh = gated(model), init_device_mesh("cpu", (1,))
    for layer in model.encoder.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    for call in (lambda: gated(model), lambda: output(sparse, x)):
        with pytest.raises((TypeError, ValueError), match="tower: its weights are sharded"):
            call()


@pytest.mark.parametrize("original", [True, False])
def test_a_tower_of_the_older_fsdp_is_refused(one_process, original):
    from torch.distributed.fsdp import FullyShardedDataParallel

    def sharded(module):
        options = {"device_id": torch.device("cpu"), "use_orig_params": original}
        return FullyShardedDataParallel(module, **options)

    model, x = tower("siglip"), inputs("siglip")
    sparse = gated(model)
    model.encoder.layers[1] = sharded(model.encoder.layers[1])
    for call in (lambda: gated(model), lambda: output(sparse, x)):
        with pytest.raises(ValueError, match=r"weights are sharded .*\(ignored_modules=\)"):
            call()
    whole = sharded(tower("siglip"))
    for each in (whole, whole.module):
        with pytest.raises(ValueError, match="tower: its weights are sharded"):
            gated(each)


class Elsewhere(nn.Module):
    def __init__(self, **devices):
        super().__init__()
        self.devices = devices

    def parameters(self, recurse=True):
        for name in self.devices.values():
            yield types.SimpleNamespace(is_meta=False, device=torch.device(name))


def test_a_tower_on_several_devices_is_refused():
    model = Elsewhere(one="cuda:0", two="cuda:1")
    with pytest.raises(ValueError, match=r"one device, got cuda:0, cuda:1; load the whole tower"):
        check_weights(model, "")


# Dtypes.


def test_adapters_of_another_dtype_are_no_mixture():
    """As PEFT keeps them: float32 beside bfloat16."""
    model, x = tower("siglip").bfloat16(), inputs("siglip")
    x = {name: value.bfloat16() for name, value in x.items()}
    paths = ["embeddings.patch_embedding", "encoder.layers.0.self_attn.q_proj"]
    for path in paths:
        cases.put(model, path, Lora(model.get_submodule(path), dtype=torch.float32))
    dense, sparse = output(model, x), gated(model)
    for one, other in zip(output(sparse, x), dense, strict=True):
        assert one.dtype == torch.bfloat16
        assert (one - other).norm() < 0.05 * other.norm()
    model.encoder.layers[0].layer_norm1.float()
    with pytest.raises(ValueError, match=r"got torch\.bfloat16, torch\.float32"):
        gated(model)


# Whose code it is.


def test_hooks_that_record_hidden_states_are_no_matter():
    """transformers leaves them on its modules after the first call that asked for any."""
    model, x = tower("siglip"), inputs("siglip")
    model(**x, output_hidden_states=True)
    assert any(module._forward_hooks for module in model.encoder.layers)
    sparse = gated(model)
    ours = sparse(**x, output_hidden_states=True).hidden_states
    theirs = model(**x, output_hidden_states=True).hidden_states
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_a_class_with_another_forward_is_refused(monkeypatch):
    model, x = tower("siglip"), inputs("siglip")
    sparse, kind = gated(model), type(model.encoder.layers[0].self_attn)
    before = kind.forward

    def other(self, *args, **kwargs):
        return before(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(kind, "forward", other)
        for call in (lambda: gated(model), lambda: output(sparse, x)):
            with pytest.raises(TypeError, match="a SiglipAttention of test_gated_placed"):
                call()
    output(sparse, x)


def test_a_subclass_with_another_forward_is_refused_and_one_without_is_not():
    model, x = tower("siglip"), inputs("siglip")
    dense, kind = output(model, x), type(model)

    class Same(kind):
        pass

    class Other(kind):
        def forward(self, pixel_values, **options):
            return super().forward(pixel_values * 2, **options)

    model.__class__ = Same
    assert not cases.differ(output(gated(model), x), dense)
    model.__class__ = Other
    with pytest.raises(TypeError, match="its Other is an Other of test_gated_placed"):
        gated(model)


def test_a_copy_of_the_code_in_another_package_is_the_tower():
    """As models with code of their own have it."""
    source = sys.modules[type(tower("siglip")).__module__]
    copied = types.ModuleType("of_a_hub.modeling_siglip")
    copied.__package__, copied.__file__ = source.__package__, source.__file__
    with open(source.__file__) as file:
        code = compile(file.read(), source.__file__, "exec")
    sys.modules[copied.__name__] = copied
    try:
        exec(code, vars(copied))
        like = tower("siglip")
        model = copied.SiglipVisionModel(like.config).double().eval()
        model.load_state_dict(like.state_dict())
        x = inputs("siglip")
        assert type(model.encoder.layers[0]).__module__ == copied.__name__
        assert not cases.differ(output(gated(model), x), output(like, x))
        cases.wrap(model, "encoder.layers.0")
        with pytest.raises(TypeError, match="is a Wrapped of adapter_cases"):
            gated(model)
    finally:
        del sys.modules[copied.__name__]


def test_a_tower_within_one_of_its_name():
    """As some versions of transformers have it."""
    inner, x = tower("siglip"), inputs("siglip")

    def forward(self, pixel_values, **options):
        return self.vision_model(pixel_values, **options)

    model = type("SiglipVisionModel", (nn.Module,), {"forward": forward})()
    model.vision_model, model.config = inner, inner.config
    sparse = gated(model.eval())
    assert not cases.differ(output(sparse, x), output(inner, x))
    cases.hook(model, "")
    for call in (lambda: gated(model), lambda: output(sparse, x)):
        with pytest.raises(TypeError, match="its SiglipVisionModel has a hook"):
            call()
