"""What several tests of expand share."""

import torch
from hypothesis import strategies as st
from torch import Tensor

DTYPES = [torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    tokens, width = draw(st.integers(1, 40)), draw(st.integers(0, 9))
    features = (torch.randn(tokens, width) * 100).to(draw(st.sampled_from(DTYPES)))
    shape = draw(st.lists(st.integers(0, 6), max_size=4))
    return features, torch.randint(0, tokens, shape)
