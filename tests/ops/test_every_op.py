"""opcheck of every op that there is: schema, autograd, fake kernel, and what torch.compile makes.

Its arguments are valid ones; ``tests/cli/test_hostile.py`` sees that every op has some.
"""

import random

import pytest
import torch
from hostile.arguments import every_op, valid


@pytest.mark.parametrize("name", every_op())
@pytest.mark.parametrize("seed", range(3))
def test_opcheck(name: str, seed: int) -> None:
    op = getattr(torch.ops.patchgate, name).default
    torch.library.opcheck(op, tuple(valid(name, random.Random(seed))))
