"""torch.compile of a gated tower without a capacity: it is left out of the graph, not compiled anew
for every content.

Letters: T frames, D features.
"""

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import adapter_cases
import pytest
import torch
from gated_cases import MEAN, STD, camera, flicker, noise, normalised, tower
from torch import Tensor, fx, nn

import patchgate
from patchgate.encoders.gated import outside

CONTENTS = [noise, flicker, camera, lambda t: flicker(t, 5), lambda t: flicker(t, 6)]


class Parent(nn.Module):
    """A larger model: something before the tower and after it."""

    def __init__(self, vision_tower: nn.Module) -> None:
        super().__init__()
        self.vision_tower = vision_tower
        self.projector = nn.Linear(24, 5, dtype=torch.float64)

    def forward(self, pixel_values: Tensor) -> Tensor:
        states = self.vision_tower(pixel_values * 1.0).last_hidden_state
        return self.projector(states).relu()


class Graphs:
    """A backend that counts what it compiles."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, graph: fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        self.count += 1
        return graph.forward


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Counts the warnings that name the capacity."""
    torch._dynamo.reset()
    monkeypatch.setattr(outside._Told, "yet", False)
    with warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter("always")
        yield lambda: sum("capacity=" in str(each.message) for each in caught)
    torch._dynamo.reset()


def gated() -> Any:
    return patchgate.gated(tower("siglip"), mean=MEAN, std=STD)


def test_a_larger_model_is_compiled_once_for_all_contents(told: Callable[[], int]) -> None:
    sparse, graphs = gated(), Graphs()
    parent = Parent(sparse)
    compiled = torch.compile(parent, backend=graphs)
    kept = []
    for number, content in enumerate(CONTENTS):
        x = normalised(content(4))
        with torch.compiler.set_stance("fail_on_recompile" if number else "default"):
            out = compiled(x)
        kept.append(sparse.last_work.kept)
        torch.testing.assert_close(out, parent(x), rtol=0, atol=1e-10)
        if not number:
            first = graphs.count
    assert len(set(kept)) >= 3
    assert first == 2  # what comes before the tower, and what comes after it
    assert graphs.count == first
    assert told() == 1


@pytest.mark.parametrize("way", ["function", "method", "stream", "tokens"])
def test_a_tower_is_never_traced_and_warns_once(way: str, told: Callable[[], int]) -> None:
    sparse, graphs = gated(), Graphs()
    called = sparse.stream() if way == "stream" else sparse
    plain = gated().stream() if way == "stream" else gated()
    if way == "method":
        called.compile(backend=graphs)
        compiled = called
    elif way == "tokens":
        compiled = torch.compile(lambda x: called.tokens(x, pts_seconds=PTS), backend=graphs)
    else:
        compiled = torch.compile(called, backend=graphs)
    for content in CONTENTS:
        x = normalised(content(4))
        if way == "tokens":
            ours, theirs = compiled(x).features, plain.tokens(x, pts_seconds=PTS).features
        else:
            ours, theirs = (call(x).last_hidden_state for call in (compiled, plain))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    assert graphs.count == 0
    assert told() == 1


PTS = torch.arange(4.0)


def test_the_warning_says_what_to_do() -> None:
    with pytest.warns(UserWarning, match=r"leaves this call out: .*capacity=K\) computes a fixed"):
        torch.compile(gated(), backend="eager")(normalised(noise(2)))


def test_as_one_graph_it_is_refused_with_the_reason() -> None:
    graph = torch.compile(gated(), fullgraph=True, backend="eager")
    with pytest.raises(Exception, match=r"capacity=K\) computes a fixed number"):
        graph(normalised(noise(2)))


def test_a_space_time_tower_is_left_out_too(told: Callable[[], int]) -> None:
    model, x = adapter_cases.TOWERS["videomae"](), adapter_cases.inputs("videomae")["pixel_values"]
    sparse, graphs = adapter_cases.gated(model), Graphs()
    compiled = torch.compile(sparse, backend=graphs)
    for pixels in (x, x.flip(0), torch.cat([x, x])):
        torch.testing.assert_close(compiled(pixels)[0], sparse(pixels)[0], rtol=0, atol=1e-10)
    assert graphs.count == 0
    assert told() == 1


def test_a_tower_that_is_not_compiled_does_not_import_the_compiler() -> None:
    """transformers imports it, so this is the model of docs/add-a-tower.md."""
    code = """
import re, sys, torch, patchgate
page = open(sys.argv[1]).read()
model, family, _ = re.findall("```python\\n(.*?)```", page, re.DOTALL)
exec(model + family)
with torch.no_grad():
    patchgate.gated(MyVit(), mean=0.5, std=0.5)(torch.zeros(2, 3, 32, 32))
assert "torch._dynamo" not in sys.modules
"""
    page = Path(__file__).parents[2] / "docs" / "add-a-tower.md"
    subprocess.run([sys.executable, "-c", code, str(page)], check=True, timeout=300)
