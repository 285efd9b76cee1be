"""Row distance: compares rows of one table with rows of another, pair by pair."""

from torch import Tensor


def row_distance(
    left: Tensor,  # [A, D]
    left_row: Tensor,  # [Q]
    right: Tensor,  # [A', D]
    right_row: Tensor,  # [Q]
) -> Tensor:  # [Q]
    """Computes the Euclidean distance of ``left[left_row]`` and ``right[right_row]``.

    Args:
        left, right: float32, added up in float64. left_row, right_row: int64.

    Returns:
        float32.
    """
    return (left[left_row].double() - right[right_row].double()).norm(dim=1).float()
