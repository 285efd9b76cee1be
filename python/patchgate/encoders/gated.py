"""``gated``: any supported tower, so that it computes only what changed."""

from typing import Any, Literal

from torch import nn

from patchgate.encoders.families import tower_of
from patchgate.encoders.gated_tower import GatedTower
from patchgate.encoders.inputs import gate_settings
from patchgate.encoders.pixels import pixel_spec

Context = Literal["kept", "full"]


def gated(
    tower: nn.Module,
    processor: Any = None,
    *,
    mean: Any = None,
    std: Any = None,
    context: Context = "kept",
    **settings: Any,
) -> GatedTower:
    """Wraps a vision tower so that it computes only the cells that changed.

    ``tower(pixel_values)`` is then one clip, its batch axis time: same call, same output type and
    shapes. A cell that was kept is encoded from its own pixel values; any other shows the features
    of the token that explains it (``Gate``). A frame that keeps nothing is not computed at all.

    Args:
        tower: a ``SiglipVisionModel`` or ``CLIPVisionModel`` of transformers. It is not changed,
            and is at hand as ``.tower``; weights are shared.
        processor: the tower's transformers processor (or a ``PixelSpec``), for the mean and
            standard deviation that bring pixel values back to 8 bit.
        mean, std: per channel, in its place.
        context: what a cell that was not kept means to the kept ones. ``"kept"``: nothing; kept
            cells (and CLS) attend to those of their own frame.
        settings: of the gate, as ``threshold``; see ``Gate``. Patch, merge and size are the
            tower's.

    Returns:
        A ``GatedTower``.

    Raises:
        TypeError: a tower that is not known, settings that the gate does not have.
        ValueError: no processor and no mean and std; a processor that is not known; sizes of
            tower, processor and gate that do not fit; weights of mixed dtypes or devices.
        NotImplementedError: ``context="full"``.

    Source: ``"kept"`` is the context of RLT (arXiv 2411.05222); the gate is in docs/gate.md.
    """
    if context == "full":
        raise NotImplementedError(
            'context="full" (residual attention over the whole frame) is not available yet; '
            'context="kept" is'
        )
    if context != "kept":
        raise ValueError(f'context: expected "kept" or "full", got {context!r}')
    if isinstance(tower, GatedTower):
        raise ValueError("tower: it is gated already; its own tower is .tower")
    family = tower_of(tower)
    family.check_dtype()
    spec = pixel_spec(family, processor, mean, std)
    return GatedTower(tower, family, spec, gate_settings(family, settings))
