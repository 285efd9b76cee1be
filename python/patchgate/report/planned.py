"""Draws when a policy looks at frames, as bars over time."""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from patchgate.policies.plan import Plan
from patchgate.report.history import History

_WIDTH, _HEIGHT = 1000, 60  # of the drawing, which is stretched to the page
_THINNEST, _WIDEST = 1.2, 5.0  # of a bar


@dataclass(frozen=True)
class Planned:
    """A plan, as the page shows it."""

    policy: str
    plan: Plan
    tokens: int  # at most
    budget: int | None

    def on(self, history: History) -> dict[str, Any]:
        """Returns the figures and the drawing for the template, on the video's time axis."""
        return {
            "policy": self.policy,
            "frames": len(self.plan),
            "tokens": self.tokens,
            "budget": self.budget,
            "capped": bool((self.plan.ratio < 1).any()),
            "svg": Markup(self._svg(history.begin, history.end)),
        }

    def _svg(self, begin: float, end: float) -> str:
        """Draws a bar for each frame, from its time on."""
        plan, width = self.plan, _WIDTH / max(end - begin, 1e-9)
        lefts = [(t - begin) * width for t in plan.pts.tolist()]
        bars = []
        for i, left in enumerate(lefts):
            room = (lefts[i + 1] if i + 1 < len(lefts) else _WIDTH) - left
            wide = max(_THINNEST, min(_WIDEST, 0.8 * room))
            high = _HEIGHT / float(plan.scale[i])
            colour = "odd" if int(plan.clip[i]) % 2 else "even"
            opacity = 0.35 + 0.65 * float(plan.ratio[i])
            bars.append(
                f'<rect class="{colour}" x="{left:.2f}" y="{_HEIGHT - high:.2f}" '
                f'width="{wide:.2f}" height="{high:.2f}" opacity="{opacity:.2f}"/>'
            )
        return (
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
            f'aria-label="{len(plan)} frames over time">{"".join(bars)}</svg>'
        )
