"""The definition of every op in plain torch: obvious and slow. Fast kernels are tested against it.

Each function has the name and the signature of its op under ``torch.ops.patchgate``.
"""

from patchgate.reference.activate import activate
from patchgate.reference.compact import compact
from patchgate.reference.contract import contract
from patchgate.reference.exchange import exchange
from patchgate.reference.expand import expand
from patchgate.reference.frame_grid import frame_grid
from patchgate.reference.gate import gate
from patchgate.reference.gather import gather
from patchgate.reference.nearest_token import nearest_token
from patchgate.reference.residual_attention import residual_attention
from patchgate.reference.row_distance import row_distance
from patchgate.reference.segment_mean import segment_mean

__all__ = [
    "activate",
    "compact",
    "contract",
    "exchange",
    "expand",
    "frame_grid",
    "gate",
    "gather",
    "nearest_token",
    "residual_attention",
    "row_distance",
    "segment_mean",
]
