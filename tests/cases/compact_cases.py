"""What several tests of compact share."""

import torch
from hypothesis import strategies as st
from torch import Tensor


def kinds(*shape: int, seed: int = 0) -> Tensor:
    """Random kinds 0, 1 and 2."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 3, shape, generator=random, dtype=torch.uint8)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, int]:
    side = st.integers(0, 5)
    lead = draw(st.lists(st.integers(0, 40), max_size=2))
    kind = kinds(*lead, draw(side), draw(side), seed=draw(st.integers(0, 99)))
    kind = draw(st.sampled_from([kind, kind * 0, kind * 0 + 2]))  # any, none kept, all kept
    return kind, draw(st.sampled_from([0, 1, 7, kind.numel() // 2, kind.numel(), kind.numel() + 5]))
