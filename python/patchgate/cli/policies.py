"""``patchgate plan --policies``: what each policy does, and what it needs, for people."""

from patchgate.policies import POLICIES
from patchgate.policies.named import Named

_SCORES = "--scores"
_GIVEN = {"rel": _SCORES, "feat": "--features"}  # what only a user has
_FOUND = {"delta": "decodes", "key": "key frames"}  # what the video tells


def listing() -> str:
    """Returns a line for each policy: its name, what it chooses, and what it needs."""
    width, needed = max(map(len, POLICIES)), max(len(needs(each)) for each in POLICIES.values())
    lines = [
        f"{name:{width}}  {needs(named):{needed}}  {named.says}" for name, named in POLICIES.items()
    ]
    head = f"{'policy':{width}}  {'needs':{needed}}  what it chooses"
    return "\n".join([head, *lines])


def needs(policy: Named) -> str:
    """Returns what a policy needs, as options of ``patchgate plan``; empty: nothing."""
    given = [_GIVEN[name] for name in policy.needs if name in _GIVEN]
    found = [_FOUND[name] for name in policy.needs if name in _FOUND]
    if policy.or_scores:
        return f"{_SCORES}, or {', '.join(found)}"
    return " ".join([*given, *found])
