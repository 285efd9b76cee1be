"""What ``patchgate plan`` prints for people."""

from typing import Any

import torch

from patchgate.cli.terminal import bytes_text
from patchgate.policies import Frames, Plan
from patchgate.report import costs

_COLUMNS = 72  # of the drawn timeline
_LEVELS = "·▁▂▃▄▅▆▇█"
_MOST_LISTED = 12


def lines_of(facts: dict[str, Any], seen: Frames, chosen: Plan, why: str) -> dict[str, str]:
    """Puts the facts in lines for people; ``why`` says why costs were not counted."""
    h, w = facts["full_frame"]
    limit = "" if facts["budget_tokens"] is None else f" of {facts['budget_tokens']:,}"
    listed = [f"{one['seconds']:.2f}" for one in facts["chosen"][:_MOST_LISTED]]
    more = facts["frames"] - len(listed)
    said = {
        "plan": f"{facts['policy']}: {facts['frames']:,} of {facts['candidates']:,} frames",
        "tokens": f"{facts['tokens']:,}{limit}; {h} x {w} of a full frame",
        "seconds": ", ".join(listed) + (f" and {more:,} more" if more else ""),
    }
    scales = chosen.scale.unique().tolist()
    if scales and scales != [1.0]:
        said["scales"] = ", ".join(f"{int((chosen.scale == s).sum())} at 1/{s:.3g}" for s in scales)
    if bool((chosen.ratio < 1).any()):
        said["ratios"] = ", ".join(
            f"{int((chosen.ratio == r).sum())} at {r:.0%}" for r in chosen.ratio.unique().tolist()
        )
    spent = facts["costs"]
    if spent is None:
        said["after the gate"] = f"not counted: {why}"
    else:
        share = spent["plan"]["context_share"]
        of = "" if share is None else f" ({share:.1%} of the context)"
        said["after the gate"] = f"{spent['plan']['tokens']:,} tokens for the plan{of}"
        said |= costs.lines_of(spent)
    if len(seen):
        said["when"] = drawn(chosen, float(seen.pts[0]), float(seen.pts[0]) + seen.seconds)
    if facts["output"] is not None:
        said["output"] = f"{facts['output']}, {bytes_text(facts['output_bytes'])}"
    return said


def drawn(chosen: Plan, begin: float, end: float) -> str:
    """Draws the plan as a line of text over time, higher where more tokens are spent."""
    at = ((chosen.pts - begin) / max(end - begin, 1e-9) * _COLUMNS).long().clamp(0, _COLUMNS - 1)
    worth = chosen.ratio / chosen.scale**2
    height = torch.zeros(_COLUMNS, dtype=torch.float64, device="cpu").scatter_add_(0, at, worth)
    levels = (height / height.max().clamp(min=1e-9) * (len(_LEVELS) - 1)).ceil().long()
    return "".join(_LEVELS[level] for level in levels.tolist())
