"""Every op in plain torch: obvious, slow, the definition the fast kernels are tested against.

Each function has the name and the signature of its op under ``torch.ops.patchgate``.
"""

from patchgate.reference.activate import activate
from patchgate.reference.compact import compact
from patchgate.reference.exchange import exchange
from patchgate.reference.expand import expand
from patchgate.reference.frame_grid import frame_grid
from patchgate.reference.gate import gate
from patchgate.reference.gather import gather
from patchgate.reference.residual_attention import residual_attention

__all__ = [
    "activate",
    "compact",
    "exchange",
    "expand",
    "frame_grid",
    "gate",
    "gather",
    "residual_attention",
]
