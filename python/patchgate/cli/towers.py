"""--tower: loads a vision tower and its processor by a folder's or a model's name."""

from patchgate.cli.commands.tower_options import TowerOptions
from patchgate.encoders.gated.tower import GatedTower
from patchgate.encoders.named import load_tower
from patchgate.gate import GateSettings


def loaded(name: str, options: TowerOptions, settings: GateSettings) -> GatedTower:
    """Loads a tower and gates it; ``load_tower`` says which names and errors there are."""
    return load_tower(
        name, settings, dtype=options.dtype, tolerance=options.tolerance, called="--tower"
    )
