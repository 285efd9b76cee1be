"""Which names are addresses, and which protocols FFmpeg may use for each.

A name is a local file if there is such a file. Otherwise it is an address if it has one of the
``SCHEMES`` before a colon. For each address, FFmpeg gets a list of the protocols that it may use: a
server or a file can then not lead it anywhere else.
"""

from __future__ import annotations

import os
import re
import ssl
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from .names import shown_source

_WEB = "http,https,tcp,tls,httpproxy"
_BENEATH = {
    "http": _WEB,  # a redirect may lead to http or https
    "https": _WEB,
    "rtsp": "tcp,udp,rtp,srtp",
    "rtsps": "tcp,tls,udp,rtp,srtp",
    "udp": "udp",
    "tcp": "tcp",
    "srt": "srt,udp",
}
SCHEMES = ("file", *_BENEATH, "pipe")
NOTHING = "none"  # no protocol has this name; an empty list would allow all
BESIDE = f"file,{_WEB}"  # what a local playlist may name
SESSION = "file,udp,rtp,srtp,tcp"  # what an SDP file may name

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
_BUNDLES = (  # usual files of trusted certificates, if Python does not know the system's
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Address(NamedTuple):
    """An address to connect to."""

    scheme: str
    url: str  # its scheme is in small letters, because FFmpeg needs that
    protocols: str  # those that FFmpeg may use

    @property
    def is_web(self) -> bool:
        return self.scheme in ("http", "https")

    @property
    def is_live(self) -> bool:
        """Whether it sends what happens now: opened again, it sends something else."""
        return not self.is_web


class Place(NamedTuple):
    """What a name refers to: one of these."""

    path: str | None = None
    descriptor: int | None = None  # the N of pipe:N
    address: Address | None = None


def place_of(name: str) -> Place:
    """Returns what ``name`` refers to.

    Raises:
        ValueError: it is an address of a kind that is not opened.
    """
    if os.path.lexists(name):
        return Place(path=name)
    found = _SCHEME.match(name)
    scheme = found[1].lower() if found else ""
    rest = name[found.end() :] if found else name
    if found and scheme == "file":
        return Place(path=_local(rest))
    if found and scheme == "pipe" and re.fullmatch(r"\d*", rest):
        return Place(descriptor=int(rest or 0))
    if found and found[2] and scheme in _BENEATH:
        return Place(address=Address(scheme, f"{scheme}://{rest}", _BENEATH[scheme]))
    if "://" in name:
        raise ValueError(
            f"{shown_source(name)}: there is no such file, and addresses of this kind are "
            f"not opened (those of {', '.join(SCHEMES)} are); download it to a file first"
        )
    return Place(path=name)


def _local(rest: str) -> str:
    """Returns the path of a ``file:`` address, in which a space may be written as %20."""
    path = rest.removeprefix("localhost") if rest.startswith("localhost/") else rest
    return path if os.path.lexists(path) else unquote(path)


def options_of(address: Address, longest: float | None) -> dict[str, str]:
    """Returns FFmpeg's options for an address; ``longest``: the most seconds that we wait."""
    options = {"protocol_whitelist": address.protocols}
    if address.is_web:
        # Otherwise FFmpeg asks the server to close the connection, and then reads on from the
        # closed one: if the index lies at the end of a file, its first frames are lost.
        options["multiple_requests"] = "1"
    if address.scheme in ("rtsp", "rtsps"):
        options["rtsp_flags"] = "prefer_tcp"  # TCP loses no packets; UDP if the server needs that
    if longest is not None and address.scheme in ("http", "https", "tcp"):
        # In microseconds. It is later than our timeout, and ends calls that we have abandoned.
        options["rw_timeout"] = str(round((longest + 1) * 1e6))
    if address.scheme in ("http", "https", "rtsps"):  # http may redirect to https
        options["tls_verify"] = "1"
        if bundle := trusted_certificates():
            options["ca_file"] = bundle
    return options


def trusted_certificates() -> str | None:
    """Returns the file of certificates against which a server's certificate is checked.

    It is Python's own (which SSL_CERT_FILE changes), or else certifi's, or else a usual one.
    """
    own = ssl.get_default_verify_paths().cafile
    return own or _bundled()


@lru_cache
def _bundled() -> str | None:
    try:
        return str(import_module("certifi").where())
    except ImportError:
        return next((path for path in _BUNDLES if Path(path).is_file()), None)
