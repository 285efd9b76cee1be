"""A stage that learns three things and hangs in native code, with Python's lock kept."""

import os
import re
from collections.abc import Iterator
from typing import Any

from stage_cases import device as device
from stages import Item


def items(device: Any) -> list[Item]:
    return [Item("stuck", stuck, 60)]


def stuck() -> Iterator[dict[str, Any]]:
    for number in range(3):
        yield {"number": number, "process": os.getpid()}
    re.match("(a+)+$", "a" * 60 + "b")
