"""--tower: loads a vision tower and its processor by a folder's or a model's name."""

import os
from collections.abc import Mapping
from contextlib import redirect_stderr, suppress
from importlib.util import find_spec
from io import StringIO
from json import JSONDecodeError, loads
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

import torch
from torch import nn

from patchgate._check.text import escaped
from patchgate.cli.commands.tower_options import TowerOptions
from patchgate.encoders.families import tower_of
from patchgate.encoders.gated import gated
from patchgate.encoders.gated.tower import GatedTower
from patchgate.gate import GateSettings
from patchgate.gate.settings import GEOMETRY

# Models of text and pictures, and what loads only their vision part.
_VISION = {
    "clip": "CLIPVisionModel",
    "siglip": "SiglipVisionModel",
    "siglip2": "Siglip2VisionModel",
}
_INSIDE = ("vision_model", "vision_tower", "visual", "model")  # where larger models have a tower


def loaded(name: str, options: TowerOptions, settings: GateSettings) -> GatedTower:
    """Loads a tower and gates it.

    Args:
        name: a folder, or the name of a model of timm or of the Hugging Face hub.
        settings: a gate's, of which the tower takes the rules.

    Raises:
        ImportError: transformers is not there.
        ValueError: there is no such model, it is not whole, or it is not supported.
    """
    given: Mapping[str, Any]
    if os.path.isdir(name):
        kind = _config(name)
        timm = "architecture" in kind and "model_type" not in kind
        model, given = _timm(f"local-dir:{name}") if timm else _transformers(name, True)
    elif name.startswith((".", "/", "~")) or os.path.exists(name):
        raise ValueError(f"--tower {name}: there is no such folder")
    elif _is_timm(name):
        model, given = _timm(name)
    else:
        model, given = _transformers(name, False)
    model = _tower_in(name, model).eval().requires_grad_(False).to(dtype_of(options.dtype))
    rules = {key: value for key, value in vars(settings).items() if key not in GEOMETRY}
    if options.tolerance is not None:
        rules["tolerance"] = options.tolerance
    try:
        found = gated(model, **given, **rules)
    except TypeError as error:
        raise ValueError(f"--tower {name}: {error}") from error
    assert isinstance(found, GatedTower)  # other towers are refused before
    return found


def dtype_of(name: str) -> torch.dtype:
    """Returns the dtype of a name of ``DTYPES``."""
    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found


def _config(folder: str) -> dict[str, Any]:
    """Reads a model folder's config.json."""
    try:
        found = loads((Path(folder) / "config.json").read_text())
    except FileNotFoundError:
        raise ValueError(
            f"--tower {folder}: this folder has no config.json; save the model there, as "
            "model.save_pretrained(folder) and processor.save_pretrained(folder)"
        ) from None
    except (JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"--tower {folder}: config.json is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"--tower {folder}: config.json does not describe a model")
    return found


def _transformers(name: str, local: bool) -> tuple[nn.Module, dict[str, Any]]:
    """Loads a model's vision part and its processor, from a folder or the hub."""
    try:
        import transformers
    except ImportError as error:
        raise ImportError("--tower needs transformers: pip install 'patchgate[tower]'") from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    getLogger("huggingface_hub").setLevel(ERROR)  # every retry
    try:
        config = transformers.AutoConfig.from_pretrained(name, local_files_only=local)
        own = _VISION.get(config.model_type, "AutoModel")
        with redirect_stderr(StringIO()):
            model, told = getattr(transformers, own).from_pretrained(
                name, local_files_only=local, output_loading_info=True
            )
    except Exception as error:  # of the hub, of files, of weights: any library's own
        raise ValueError(f"--tower {name}: {_why(error, local)}") from error
    if told["missing_keys"]:
        missing = sorted(told["missing_keys"])
        raise ValueError(
            f"--tower {name}: it lacks weights of {type(model).__name__}: {', '.join(missing[:3])}"
            + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        )
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(name, local_files_only=local)
    except Exception as error:
        raise ValueError(
            f"--tower {name}: its image processor could not be loaded (preprocessor_config.json); "
            f"save it beside the model: processor.save_pretrained(folder) ({_line(error)})"
        ) from error
    return model, {"processor": processor}


def _why(error: Exception, local: bool) -> str:
    if local:
        return f"this folder's model could not be loaded: {_line(error)}"
    timm = "" if find_spec("timm") else " (timm is not installed)"
    return (
        f"there is no such folder, no such model of timm{timm}, and the Hugging Face hub gave "
        f"none: {_line(error)}"
    )


def _line(error: Exception) -> str:
    said = " ".join(str(error).split())
    return escaped(said[:300] + ("..." if len(said) > 300 else "") or type(error).__name__)


def _is_timm(name: str) -> bool:
    if not find_spec("timm"):
        return False
    with suppress(ImportError, RuntimeError):  # its torchvision may be another torch's
        import timm

        return bool(timm.is_model(name)) or name.startswith("hf-hub:timm/")
    return False


def _timm(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """Loads a model of timm without its classifier."""
    try:
        import timm

        model = timm.create_model(name, pretrained=True, num_classes=0)
        config = timm.data.resolve_model_data_config(model)
    except Exception as error:
        raise ValueError(f"--tower {name}: timm could not load it: {_line(error)}") from error
    return model, {"mean": config["mean"], "std": config["std"]}


def _tower_in(name: str, model: nn.Module) -> nn.Module:
    """Returns the model, or the vision tower inside it."""
    refused = None
    for each in _nested(model):
        try:
            tower_of(each)
        except TypeError as error:
            refused = refused or error
        else:
            return each
    raise ValueError(f"--tower {name}: {refused}")


def _nested(model: nn.Module) -> list[nn.Module]:
    found, todo = [], [model]
    while todo:
        each = todo.pop(0)
        found.append(each)
        parts = (getattr(each, name, None) for name in _INSIDE)
        todo += [part for part in parts if isinstance(part, nn.Module)]
    return found
