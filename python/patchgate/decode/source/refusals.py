"""Errors for sources that cannot be opened; they say what to do."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit
from urllib.request import getproxies

from ..ffmpeg import av
from ..memory import check_memory
from .formats import PLAYLISTS
from .playlists import broken_playlist, is_text, playlist_kind, refused_playlist
from .protocols import Address, trusted_certificates
from .reasons import check_head
from .source import Source

_ASK_SECONDS = 2.0  # the most seconds of a second request to a server

_RANGES = "An MP4 whose index lies at its end needs a server that knows byte ranges"
_ANSWERS: dict[str, tuple[type[OSError], str]] = {  # by the names of PyAV's errors
    "HTTPNotFoundError": (FileNotFoundError, "the server has nothing there (404)"),
    "HTTPUnauthorizedError": (PermissionError, "the server wants a name and password (401)"),
    "HTTPForbiddenError": (PermissionError, "the server refuses it (403)"),
    "HTTPClientError": (OSError, "the server answered with an error"),
    "HTTPError": (OSError, "the server answered with an error"),
}
_BROKEN: dict[type[Exception], tuple[type[OSError], str]] = {
    ConnectionRefusedError: (ConnectionRefusedError, "nobody listens there"),
    ConnectionError: (ConnectionError, "the connection broke"),
}


def refusal(source: Source, error: av.FFmpegError) -> Exception:
    """Makes the error to raise instead of FFmpeg's."""
    check_memory(error, source.name)
    if source.address is not None:
        return _of_server(source, source.address, error)
    # The source itself is open. FFmpeg's demuxers raise these errors for damage, too.
    if source.access.names_others and isinstance(error, PermissionError):
        return PermissionError(f"{source.name}: it names a file that may not be read")
    if source.access.names_others and isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"{source.name}: it names a file that is not there")
    return ValueError(_of_file(source, error))


def _of_file(source: Source, error: av.FFmpegError) -> str:
    head = source.head()
    check_head(source.name, head, source.access.limits)
    if source.size() == 0 or (not source.seekable and not head):
        return f"{source.name} is empty (0 bytes); it was not written or not fetched to its end"
    if isinstance(error, EOFError):
        return (
            f"{source.name} ends before its first frame: it holds no frame at all; record or "
            "fetch it again"
        )
    if kind := playlist_kind(head):
        if source.access.names_others and kind in PLAYLISTS:
            return broken_playlist(source.name, kind, error.strerror)
        return refused_playlist(source.name, kind)
    if is_text(head):
        return f"{source.name} is a text file, not a video"
    if head[4:8] == b"ftyp":
        return (
            f"{source.name} is an MP4 that cannot be opened: its index ('moov') is missing or "
            "damaged, as when a recording or download was cut off. Nothing can be decoded "
            "without it; fetch the file again, or repair it with a tool such as untrunc"
        )
    return _unknown(source.name, error)


def _unknown(name: str, error: av.FFmpegError) -> str:
    return (
        f"{name} is not a video that FFmpeg can read ({error.strerror}); check that it "
        "is a video file and whole"
    )


def has_late_index(head: bytes) -> bool:
    """Whether an MP4 that begins with ``head`` has its frames before its index.

    A file consists of boxes; each begins with its size and its kind (ISO 14496-12, 4.2).
    """
    at = 0
    kinds: list[bytes] = []
    while at + 8 <= len(head) and len(kinds) < 16:
        size, kind = int.from_bytes(head[at : at + 4], "big"), head[at + 4 : at + 8]
        kinds.append(kind)
        if kind in (b"mdat", b"moov") or size < 8:
            break
        at += size
    return b"ftyp" in kinds and kinds[-1] == b"mdat"


def late_index(name: str) -> str:
    """Says that such a file cannot be read from a source that cannot seek."""
    return (
        f"{name} is an MP4 whose index ('moov') lies behind its frames, and this source cannot "
        "seek back to them; save it to a file first, or write it with the index in front "
        "(ffmpeg's -movflags +faststart)"
    )


def explained_timeout(error: TimeoutError, source: Source, container: str) -> TimeoutError:
    """Makes the error for a server whose file could be opened, and then sent no frame."""
    if source.address is None or not source.address.is_web or not container.startswith("mov"):
        return error
    return TimeoutError(f"{error}. {_RANGES}")


def _of_server(source: Source, address: Address, error: av.FFmpegError) -> Exception:
    answers = {getattr(av.error, name): said for name, said in _ANSWERS.items()}
    for kind, (raised, words) in (answers | _BROKEN).items():
        if isinstance(error, kind):
            return raised(f"{source.name}: {words}; check the address ({error.strerror})")
    if isinstance(error, av.error.ProtocolNotFoundError):
        return ValueError(
            f"{source.name}: the FFmpeg of PyAV {av.__version__} here was built without "
            f"{address.scheme}; fetch it to a file first"
        )
    if isinstance(error, av.error.InvalidDataError):
        return ValueError(f"{source.name}: what came is not a video that FFmpeg can read")
    if isinstance(error, ValueError):  # FFmpeg's "invalid argument"
        return ValueError(
            f"{source.name}: what came is a playlist, or another text that leads elsewhere, and no "
            "video; where it is trusted, pass allow_playlists=True. (A redirect leads to http or "
            "https only)"
        )
    if isinstance(error, EOFError):
        return ConnectionError(f"{source.name}: the connection ended before the first frame")
    reason = _second_look(address) or f"{error.strerror}. {_RANGES}"
    return ConnectionError(f"{source.name} cannot be read: {reason}")


def _second_look(address: Address) -> str | None:
    """Connects with Python, and returns its error; None if there is none.

    FFmpeg reports "input/output error" for an unknown name and for a certificate that does not
    verify, too.
    """
    parts = urlsplit(address.url)
    secure = address.scheme in ("https", "rtsps")
    if not parts.hostname or address.scheme not in ("http", "https", "rtsp", "rtsps"):
        return None
    if {address.scheme, "all"} & {*getproxies()}:
        return None  # the proxy connects, not we
    port = parts.port or {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}[address.scheme]
    try:
        with socket.create_connection((parts.hostname, port), _ASK_SECONDS) as connection:
            if secure:
                context = ssl.create_default_context(cafile=trusted_certificates())
                context.wrap_socket(connection, server_hostname=parts.hostname).close()
    except ssl.SSLCertVerificationError as error:
        return (
            f"the server's certificate does not verify ({error.verify_message}); trust it by a "
            "file of certificates in SSL_CERT_FILE, if you know the server"
        )
    except socket.gaierror:
        return f"there is no host called {parts.hostname}, or no network"
    except OSError as error:
        return str(error)
    return None
