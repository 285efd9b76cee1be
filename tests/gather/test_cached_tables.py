"""Tables that are made once: also by a first call under inference_mode."""

import torch

from patchgate import grid
from patchgate.gather import PixelSpec
from patchgate.gather import rows as gather
from patchgate.gather.resize import Stretch


def test_tables_made_under_inference_mode_are_ordinary_tensors() -> None:
    spec = PixelSpec(Stretch(40, 48), (0.5,) * 3, (0.25,) * 3, 8)
    cpu = torch.device("cpu")
    with torch.inference_mode():
        tables = [
            *gather.tap_tables((31, 57), spec, cpu),
            gather.pixel_levels(spec, torch.float64, cpu),
            gather.colour_matrix("bt2020", True, cpu),
            *grid.tap_tables((31, 57), (16, 29), spec.place(31, 57), cpu),
        ]
    assert not any(table.is_inference() for table in tables)
    assert gather.pixel_levels(spec, torch.float64, cpu) is tables[2], "made once"
