"""Row distance: rows of one table against rows of another, pair by pair."""

from torch import Tensor


def row_distance(
    left: Tensor,  # [A, D]
    left_row: Tensor,  # [Q]
    right: Tensor,  # [A', D]
    right_row: Tensor,  # [Q]
) -> Tensor:  # [Q]
    """The Euclidean distance of ``left[left_row]`` and ``right[right_row]``.

    Args:
        left, right: float32, added up in float64. left_row, right_row: int64.

    Returns:
        float32.
    """
    return (left[left_row].double() - right[right_row].double()).norm(dim=1).float()
