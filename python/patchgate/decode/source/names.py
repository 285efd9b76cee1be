"""Names of sources as messages show them: without what may be secret in an address."""

from __future__ import annotations

import re

HIDDEN = "***"

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)(//)?(.*)", re.DOTALL)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]*\]|[^:@\[\]]*)(:\d*)?")


def shown_source(name: str) -> str:
    """Returns a source's name without user, password and query, if it is an address.

    Names of files stay as they are. In place of what is left out stands ``***``.
    """
    found = _ADDRESS.fullmatch(name)
    if found is None or found[2] is None:
        return name
    rest = found[3]
    host = re.match(r"[^/?#]*", rest)
    assert host is not None
    _, at, after = host[0].rpartition("@")
    if at:
        rest = f"{HIDDEN}@{after}{rest[host.end() :]}"
    elif "@" in rest and _HOST.fullmatch(host[0]) is None:
        # A password with a slash or a question mark, which should have been written as %2F or %3F.
        rest = f"{HIDDEN}@{rest.rpartition('@')[2]}"
    cut = re.search(r"[?#]", rest)
    if cut is not None:
        rest = f"{rest[: cut.start()]}?{HIDDEN}"
    return f"{found[1]}//{rest}"
