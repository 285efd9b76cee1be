"""docs/add-a-tower.md, followed: the page's code gates a model that patchgate does not know."""

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import patchgate
from patchgate.encoders import families

PAGE = Path(__file__).parents[2] / "docs" / "add-a-tower.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A program of one's own, in which the page's blocks can be run."""
    program = types.ModuleType("of_one_s_own")
    monkeypatch.setitem(sys.modules, program.__name__, program)
    monkeypatch.setattr(families, "FAMILIES", families.FAMILIES)
    before = list(families.FAMILIES)
    yield program
    families.FAMILIES[:] = before


def run(block: str, program: types.ModuleType) -> None:
    exec(compile(block, str(PAGE), "exec"), vars(program))


def test_before_it_the_model_is_unknown_and_after_it_everything_on_the_page_holds(page) -> None:
    model_block, family_block, check_block = BLOCKS
    run(model_block, page)
    with pytest.raises(TypeError, match=r"MyVit is not supported; .*docs/add-a-tower\.md says how"):
        patchgate.gated(page.MyVit(), mean=0.5, std=0.5)
    run(family_block, page)
    run(check_block, page)
    assert type(page.tower.tower) is page.MyVit


def added(page: types.ModuleType) -> nn.Module:
    for block in BLOCKS[:2]:
        run(block, page)
    torch.manual_seed(1)
    return page.MyVit(width=48, depth=3).double().eval().requires_grad_(False)


def clip(t: int) -> torch.Tensor:
    torch.manual_seed(2)
    frames = torch.randint(0, 256, (1, 3, 32, 32)).repeat(t, 1, 1, 1)
    for i in range(1, t, 2):
        frames[i:, :, 8 * (i % 4) : 8 * (i % 4) + 8, :8] = torch.randint(0, 256, (3, 8, 8))
    return frames.double() / 255 * 2 - 1


@pytest.mark.parametrize("settings", [{"tolerance": 0.1}, {"context": "kept"}], ids=str)
def test_the_new_family_has_what_the_others_have(page, settings, tmp_path) -> None:
    """Streams that are saved, hidden states' places, a fixed capacity, tokens."""
    tower = patchgate.gated(added(page), mean=0.5, std=0.5, **settings)
    x = clip(8)
    whole = tower(x)
    assert 0 < tower.last_work.kept_share < 0.5
    stream, other = tower.stream(), tower.stream()
    first = stream(x[:5])
    stream.save(tmp_path / "state")
    other.restore(tmp_path / "state")
    torch.testing.assert_close(torch.cat([first, other(x[5:])]), whole, rtol=0, atol=1e-10)
    fixed = patchgate.gated(tower.tower, mean=0.5, std=0.5, capacity=8 * 16, **settings)
    torch.testing.assert_close(fixed(x), whole, rtol=0, atol=1e-10)
    tokens = tower.tokens(x, pts_seconds=torch.arange(8.0))
    torch.testing.assert_close(tokens.dense().flatten(1, 2), whole[:, 1:], rtol=0, atol=1e-10)


def test_hooks_beside_what_it_calls_are_refused(page) -> None:
    model = added(page)
    model.blocks[0].register_forward_hook(lambda *given: None)
    with pytest.raises(TypeError, match=r"its blocks\.0 has a hook .*through norm1, qkv, out"):
        patchgate.gated(model, mean=0.5, std=0.5)


def test_examples_that_it_names_are_there() -> None:
    folder = Path(families.__file__).parent
    named = set(re.findall(r"`(\w+\.py)`", PAGE.read_text()))
    assert len(named) >= 6
    assert not [name for name in named if not (folder / name).exists()]
