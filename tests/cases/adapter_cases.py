"""Every family's tower with something around one of its modules: adapters, hooks, parametrizations.

Letters: T frames (or tubelets), K patches, D features.
"""

from collections.abc import Callable, Iterator
from typing import Any

import gated_families as families
import torch
from family_models import randomised
from gated_cases import tower as image_tower
from gated_cases import transformers
from qwen_cases import grid_thw
from qwen_cases import patches as qwen_patches
from qwen_cases import tower as qwen_tower
from torch import Tensor, nn
from torch.nn.utils import parametrize

import patchgate

PIXELS = {"mean": 0.5, "std": 0.5}
FACTOR = 1.25  # far from 1, near enough to keep numbers small
EXACT = {"rtol": 0, "atol": 1e-9}
_CLIPS = {"hidden_size": 36, "intermediate_size": 40, "num_hidden_layers": 2,
          "num_attention_heads": 3, "patch_size": 8, "tubelet_size": 2}  # fmt: skip
_JEPA = {"crop_size": 24, "frames_per_clip": 4, "mlp_ratio": 1.5, "pred_hidden_size": 12,
         "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}  # fmt: skip


def _video_tower(name: str) -> nn.Module:
    made = transformers
    if name == "vjepa2":
        return randomised(made.VJEPA2Model(made.VJEPA2Config(**_CLIPS, **_JEPA)).encoder)
    own = {"image_size": 24, "num_frames": 4, "use_mean_pooling": False}
    return randomised(made.VideoMAEModel(made.VideoMAEConfig(**_CLIPS, **own)))


TOWERS: dict[str, Callable[[], nn.Module]] = {
    "siglip": lambda: image_tower("siglip"),
    "clip": lambda: image_tower("clip"),
    "siglip2": families.siglip2,
    "dinov2": families.registers,
    "dinov3": families.dinov3,
    "vit": families.vit,
    "internvl": lambda: families.internvl(attention_bias=True, use_qk_norm=True),
    "idefics3": families.idefics3,
    "qwen25": lambda: qwen_tower("qwen25"),
    "qwen3": lambda: qwen_tower("qwen3"),
    "vjepa2": lambda: _video_tower("vjepa2"),
    "videomae": lambda: _video_tower("videomae"),
    "timm": lambda: families.timm_vit(
        reg_tokens=1, init_values=0.5, qk_norm=True, embed_norm_layer="layernorm"
    ),
    "timm, map": lambda: families.timm_vit(global_pool="map", class_token=False),
    "timm, eva": lambda: families.timm_eva(**families.EVA02, init_values=0.5),
}


def inputs(name: str) -> dict[str, Tensor]:
    """The arguments of a call: two frames (clips) with nothing in common."""
    random = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        levels = torch.randint(0, 256, shape, generator=random)
        return (levels.double() / 255 - 0.5) / 0.5

    if name.startswith("qwen"):
        rows = noise(*qwen_patches(2).shape)
        return {"hidden_states": rows, "grid_thw": grid_thw(2)}
    if name == "siglip2":
        shapes = torch.tensor([[3, 5]] * 2)
        mask = (torch.arange(16) < 15).int().expand(2, -1)
        rows = nn.functional.pad(noise(2, 15, 192), (0, 0, 0, 1))
        return {"pixel_values": rows, "pixel_attention_mask": mask, "spatial_shapes": shapes}
    if name in ("vjepa2", "videomae"):
        return {"pixel_values": noise(2, 4, 3, 24, 24)}
    return {"pixel_values": noise(2, 3, 32, 32)}


def gated(model: nn.Module, **settings: Any) -> Any:
    """Nothing is reused: what a call gives is the dense tower's."""
    exact = {"context": "kept"} if _is_space_time(model) else {"tolerance": 0}
    return patchgate.gated(model, **{**PIXELS, "threshold": 0, **exact, **settings})


def _is_space_time(model: nn.Module) -> bool:
    return type(model).__name__ in ("VJEPA2Encoder", "VideoMAEModel")


def output(model: Any, x: dict[str, Tensor]) -> list[Tensor]:
    """The tensors of a call."""
    (_, pixels), *options = x.items()
    out = model(pixels, **dict(options))
    if isinstance(out, Tensor):
        return [out]
    names = ("last_hidden_state", "pooler_output")
    found = [out[name] for name in names if out.get(name) is not None]
    return [*found, *(out.get("deepstack_features") or [])]


def differ(one: list[Tensor], other: list[Tensor]) -> bool:
    return any(not torch.allclose(a, b, **EXACT) for a, b in zip(one, other, strict=True))


def places(model: nn.Module) -> list[str]:
    """Paths of all modules but those of layers after the first, which are alike."""
    first = {"0"}
    return [
        path
        for path, _ in model.named_modules()
        if not any(name.isdigit() and name not in first for name in path.split("."))
    ]


def put(model: nn.Module, path: str, module: nn.Module) -> None:
    """In place of what is at a path."""
    above, _, name = path.rpartition(".")
    setattr(model.get_submodule(above), name, module)


# What is put around a module.


class Wrapped(nn.Module):
    """As libraries of adapters wrap a module: what it lacks itself is the module's."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return scaled(self.inner(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def __getitem__(self, index: Any) -> Any:
        return self.inner[index]

    def __len__(self) -> int:
        return len(self.inner)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self.inner)


class Lora(nn.Module):
    """Beside a linear layer or a convolution a narrow pair of them."""

    def __init__(self, base: Any, rank: int = 2, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.base = base
        if isinstance(base, nn.Linear):
            down = nn.Linear(base.in_features, rank, bias=False)
            up = nn.Linear(rank, base.out_features, bias=False)
        else:
            kind = type(base)
            down = kind(base.in_channels, rank, base.kernel_size, base.stride, bias=False)
            up = kind(rank, base.out_channels, 1, bias=False)
        random = torch.Generator().manual_seed(4)
        for each in (down, up):
            noise = torch.randn(each.weight.shape, generator=random, dtype=torch.float64)
            each.weight = nn.Parameter(noise.to(dtype or base.weight.dtype) * 0.3)
        self.down, self.up = down, up

    @property
    def weight(self) -> Tensor:  # whose dtype towers ask for
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        out = self.base(x)
        return out + self.up(self.down(x.to(self.down.weight.dtype))).to(out.dtype)


class Times(nn.Module):
    """A parametrization."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight * FACTOR


def scaled(out: Any) -> Any:
    """A module's output, changed."""
    if isinstance(out, Tensor):
        return out * FACTOR
    if isinstance(out, tuple):
        return (scaled(out[0]), *out[1:])
    if getattr(out, "last_hidden_state", None) is not None:
        out.last_hidden_state = out.last_hidden_state * FACTOR
    return out


def scaled_inputs(args: Any, kwargs: Any) -> Any:
    """A module's inputs, changed."""
    args = tuple(scaled(x) if isinstance(x, Tensor) and x.is_floating_point() else x for x in args)
    name = next((n for n in ("hidden_states", "inputs_embeds") if n in kwargs), None)
    return args, kwargs if name is None else {**kwargs, name: scaled(kwargs[name])}


# Each returns what undoes it.
Undo = Callable[[], Any]


def wrap(model: nn.Module, path: str) -> Undo:
    inner = model.get_submodule(path)
    put(model, path, Wrapped(inner))
    return lambda: put(model, path, inner)


def hook(model: nn.Module, path: str) -> Undo:
    module = model.get_submodule(path)
    return module.register_forward_hook(lambda _module, _args, out: scaled(out)).remove


def pre_hook(model: nn.Module, path: str) -> Undo:
    module = model.get_submodule(path)
    changed = module.register_forward_pre_hook(
        lambda _, args, kwargs: scaled_inputs(args, kwargs), with_kwargs=True
    )
    return changed.remove


def own_forward(model: nn.Module, path: str) -> Undo:
    module = model.get_submodule(path)
    before = module.forward
    module.forward = lambda *args, **kwargs: scaled(before(*args, **kwargs))
    return lambda: delattr(module, "forward")


def reparametrise(model: nn.Module, path: str) -> Undo:
    module = model.get_submodule(path)
    names = [name for name, _ in module.named_parameters(recurse=False)]
    for name in names:
        parametrize.register_parametrization(module, name, Times())

    def undo() -> None:
        for name in names:
            parametrize.remove_parametrizations(module, name, leave_parametrized=False)

    return undo
