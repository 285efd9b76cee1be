"""Random tokens that stand still, move or are active, and which of them become active."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate import _ops

op = _ops.activate
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


class Case(NamedTuple):
    out: Tensor  # [T * M, H, d]
    active: Tensor  # [T, M]
    differs: Tensor  # [T]
    parent: Tensor  # [T, M]
    reach: Tensor  # [H]
    bound: Tensor  # [T, M]
    room: int


def make_case(
    frames: int,
    tokens: int,
    width: int = 4,
    heads: int = 2,
    *,
    spare: int = 5,
    seed: int = 0,
    bound: float = 3.0,
    dtype: torch.dtype = torch.float64,
) -> Case:
    """Tokens that stand still, that moved, that are active; frames in which nothing differs."""
    random = torch.Generator().manual_seed(seed)
    out = torch.randn(frames * tokens, heads, width, generator=random).to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    reach = 0.5 + torch.rand(heads, generator=random, dtype=wide)
    bounds = bound * torch.rand(frames, tokens, generator=random, dtype=wide)
    active = torch.rand(frames, tokens, generator=random) < 0.2
    differs = torch.rand(frames, generator=random) < 0.7
    active[:1], differs[:1] = True, False
    own = torch.arange(frames * tokens).view(frames, tokens)
    parent = torch.cat([own[:1], own[:-1]])
    for t in range(1, frames):
        moved = torch.rand(tokens, generator=random) < 0.3
        earlier = torch.randint(0, max(1, t * tokens), (tokens,), generator=random)
        parent[t] = torch.where(moved, earlier, parent[t])
    return Case(out, active, differs, parent, reach, bounds, int(active.sum()) + spare)


def expected(case: Case) -> tuple[Tensor, int]:
    """From the definition, token by token: what a state was made with goes from slot to slot."""
    frames, m = case.active.shape
    made: list[Tensor] = []
    fired, late = torch.zeros_like(case.active), 0
    left = case.room - int(case.active.sum())
    for t in range(frames):
        for cell in range(m):
            new = case.out[t * m + cell].double()
            old = new if t == 0 else made[int(case.parent[t, cell])]
            moved = ((new - old).norm(dim=1) * case.reach).norm()
            wants = bool(moved > case.bound[t, cell] and case.differs[t])
            if wants and not case.active[t, cell]:
                fired[t, cell] = left > 0
                late += left <= 0
                left -= left > 0
            made.append(new if case.active[t, cell] or fired[t, cell] else old)
    return fired, late


def check(call: Callable[..., tuple[Tensor, Tensor]], case: Case) -> None:
    fired, late = call(*case)
    exact, too_many = expected(case)
    assert fired.dtype == torch.bool
    assert torch.equal(fired, exact)
    assert late.tolist() == [too_many]
