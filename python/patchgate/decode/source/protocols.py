"""Which names are addresses, and what FFmpeg may open for each.

A name is a local file first. Only what is no such file and has one of the ``SCHEMES`` before a
colon is an address, and FFmpeg is told for each address which of its protocols may be used beneath
it: what a server or a file says can then not lead anywhere else.
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

_WEB = "http,https,tcp,tls,httpproxy"
_BENEATH = {
    "http": _WEB,  # a redirect leads to http or https
    "https": _WEB,
    "rtsp": "tcp,udp,rtp,srtp",
    "rtsps": "tcp,tls,udp,rtp,srtp",
    "udp": "udp",
    "tcp": "tcp",
    "srt": "srt,udp",
}
SCHEMES = ("file", *_BENEATH, "pipe")
NOTHING = "none"  # the name of no protocol: an empty list would allow all
BESIDE = f"file,{_WEB}"  # what a local playlist may name
SESSION = "file,udp,rtp,srtp,tcp"  # what an SDP file may name

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
_BUNDLES = (  # where systems keep the certificates that they trust, if Python does not know
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Address(NamedTuple):
    """Something to connect to."""

    scheme: str
    url: str  # with the scheme in small letters, as FFmpeg wants it
    protocols: str  # that FFmpeg may use

    @property
    def is_web(self) -> bool:
        return self.scheme in ("http", "https")

    @property
    def is_live(self) -> bool:
        """What comes is what is sent now: opened again, it is something else."""
        return not self.is_web


class Place(NamedTuple):
    """What a name stands for: one of these."""

    path: str | None = None
    descriptor: int | None = None  # of pipe:N
    address: Address | None = None


def place_of(name: str) -> Place:
    """What ``name`` stands for. ValueError for an address that is not opened."""
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
            f"{name}: no file of this name, and an address of this kind is not opened: those of "
            f"{', '.join(SCHEMES)} are; fetch it to a file first"
        )
    return Place(path=name)


def _local(rest: str) -> str:
    """The path of a file: address, which may be written plainly or with %20 for a space."""
    path = rest.removeprefix("localhost") if rest.startswith("localhost/") else rest
    return path if os.path.lexists(path) else unquote(path)


def options_of(address: Address, longest: float | None) -> dict[str, str]:
    """FFmpeg's options beneath an address; ``longest``: seconds that we wait for it at most."""
    options = {"protocol_whitelist": address.protocols}
    if address.is_web:
        # Else FFmpeg asks the server to close, and then reads on from where it is closed already:
        # where the index lies at the end of a file, its first frames are lost.
        options["multiple_requests"] = "1"
    if address.scheme in ("rtsp", "rtsps"):
        options["rtsp_flags"] = "prefer_tcp"  # loses nothing; UDP where the server wants that
    if longest is not None and address.scheme in ("http", "https", "tcp"):
        # In microseconds; later than ours: it ends what we have left by then.
        options["rw_timeout"] = str(round((longest + 1) * 1e6))
    if address.scheme in ("http", "https", "rtsps"):  # http: it may lead to https
        options["tls_verify"] = "1"
        if bundle := trusted_certificates():
            options["ca_file"] = bundle
    return options


def trusted_certificates() -> str | None:
    """The file of certificates that a server's is checked against: as Python's own (which
    SSL_CERT_FILE changes), else certifi's, else a system's usual one."""
    own = ssl.get_default_verify_paths().cafile
    return own or _bundled()


@lru_cache
def _bundled() -> str | None:
    try:
        return str(import_module("certifi").where())
    except ImportError:
        return next((path for path in _BUNDLES if Path(path).is_file()), None)
