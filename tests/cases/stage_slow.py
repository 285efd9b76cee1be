"""A stage that takes for ever: an item a tenth of a second, a hundred of them."""

import os
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from stage_cases import device as device
from stages import Item


def items(device: Any) -> list[Item]:
    return [Item(f"item {i}", partial(slow, i), 5) for i in range(100)]


def slow(number: int) -> Iterator[dict[str, Any]]:
    time.sleep(0.1)
    yield {"number": number, "process": os.getpid()}
