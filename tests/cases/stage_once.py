"""A stage whose process begins once."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import stage_cases
from stages import Item


def device(rehearsed: bool) -> Any:
    Path(os.environ["STAGE_CASES_BEGIN"]).touch(exist_ok=False)
    return stage_cases.device(rehearsed)


def items(device: Any) -> list[Item]:
    learns = partial(stage_cases.learns, 1)
    return [
        Item("first", learns, 5),
        Item("hangs", stage_cases.hangs, 0.5),
        Item("last", learns, 5),
    ]
