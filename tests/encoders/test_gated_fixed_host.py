"""A call of fixed capacity reads nothing back from the device and sends nothing to it, which a
captured graph could not do: on the meta device, where there is nothing to read.
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from gated_cases import FAMILIES, MEAN, STD, N, noise, normalised, tower
from gated_families import CASES
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

import patchgate
from patchgate.encoders import adapted
from patchgate.gate import inputs as gate_input

SENT = {torch.tensor, torch.as_tensor, torch.from_numpy, Tensor.new_tensor}  # numbers of the host
INDEXED = {Tensor.__getitem__, Tensor.__setitem__}  # by lists: numbers of the host, too


class OnTheDevice(TorchFunctionMode):
    """Fails where numbers of the host become a tensor, or a tensor of the host is made or taken."""

    def __torch_function__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert call not in SENT, f"{call}: {args} is on the host"
        index = args[1] if call in INDEXED else ()
        for each in index if isinstance(index, tuple) else (index,):
            assert not isinstance(each, list), f"index {index} is on the host"
        out = call(*args, **(kwargs or {}))
        for x in tree_leaves((args, kwargs, out)):
            if isinstance(x, Tensor):
                assert x.device.type == "meta", f"{call}: {list(x.shape)} is on the host"
        return out


@pytest.mark.parametrize(
    "name", [*FAMILIES, "dinov2", "registers", "dinov3", "vit", "internvl", "idefics3"]
)
@pytest.mark.parametrize(
    "settings",
    [
        {"context": "kept"},
        {"tolerance": math.inf, "moved": "lend"},
        {"tolerance": 0.1},
        {"tolerance": 0.1, "moved": "lend", "tolerance_layers": 2},
    ],
    ids=str,
)
@torch.no_grad()
def test_the_host_is_left_alone(
    name: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A user's tower or pixels on the meta device are a mistake, and refused: here they are not.
    monkeypatch.setattr(adapted, "check_weights", lambda *ignored: None)
    monkeypatch.setattr(gate_input, "_DEVICES", ("meta",))
    model: nn.Module = tower(name) if name in FAMILIES else CASES[name]().model
    model = model.to("meta")
    fixed = patchgate.gated(model, mean=MEAN, std=STD, capacity=6 * N, **settings)
    x = normalised(noise(6)).to("meta")
    with OnTheDevice():
        out = fixed(x)
    assert out.last_hidden_state.shape[0] == 6
    with pytest.raises(RuntimeError, match="meta"):
        fixed.check()


@pytest.mark.parametrize(
    "sent",
    [
        lambda x: x[[0, 2]],
        lambda x: x[[0, 2], 0],
        lambda x: torch.tensor([1, 2], device=x.device),
        lambda x: x.new_tensor([1, 2]),
        lambda x: x + torch.zeros(()),
        lambda x: torch.arange(3),
    ],
)
def test_it_would_be_seen(sent: Callable[[Tensor], Tensor]) -> None:
    with OnTheDevice(), pytest.raises(AssertionError, match="is on the host"):
        sent(torch.empty(3, 4, device="meta"))
