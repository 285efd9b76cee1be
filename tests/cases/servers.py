"""Servers on the loopback: HTTP(S), RTSP(S), and such as say nothing or stop saying anything.

Each is a context manager that gives its address. Certificates for localhost and 127.0.0.1 are made
by the ``openssl`` program, once a session.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import http.server
import re
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple


@functools.cache
def certificates() -> Path:
    """A folder of a new authority, ``authority.pem``, and of a server that it vouches for."""
    folder = Path(tempfile.mkdtemp(prefix="patchgate-certificates-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for words in (
        ["req", "-x509", *new, "-keyout", "authority.key", "-out", "authority.pem", "-days", "2",
         "-subj", "/CN=patchgate tests"],
        ["req", *new, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost"],
        ["x509", "-req", "-in", "server.csr", "-CA", "authority.pem", "-CAkey", "authority.key",
         "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "server.pem"],
    ):  # fmt: skip
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
    return folder


def authority() -> Path:
    """The certificate by which the servers' own can be verified."""
    return certificates() / "authority.pem"


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates() / "server.pem", certificates() / "server.key")
    return context


class Web(NamedTuple):
    """A web server: what it is asked for, and how it answers."""

    base: str  # http://127.0.0.1:port
    asked: list[str]  # paths, in the order of the requests
    mute: threading.Event  # set: no request is answered any more


class _Handler(http.server.BaseHTTPRequestHandler):
    files: dict[str, bytes]
    asked: list[str]
    ranges: bool
    stall: int | None
    stopped: threading.Event
    mute: threading.Event

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.mute.is_set():
            self.stopped.wait(60)
        if found := re.match(r"/to/(.+)", self.path):
            self._answer(302, b"", Location=found[1])
        elif found := re.match(r"/status/(\d+)", self.path):
            self._answer(int(found[1]), b"")
        elif self.path in self.files:
            self._file(self.files[self.path])
        else:
            self._answer(404, b"")

    def _file(self, data: bytes) -> None:
        found = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if found and self.ranges:
            begin = int(found[1])
            span = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            self._answer(206, data[begin:], **{"Content-Range": span})
        else:
            self._answer(200, data)

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            if self.stall is not None and len(body) > self.stall:
                self.wfile.write(body[: self.stall])
                self.stopped.wait(60)
            else:
                self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def web(files: dict[str, bytes], *, secure: bool = False, ranges: bool = True,
        version: str = "HTTP/1.1", stall: int | None = None,
        host: str = "127.0.0.1") -> Iterator[Web]:  # fmt: skip
    """``files`` by path; /to/ADDRESS redirects there, /status/N answers with N.

    ranges: knows byte ranges. stall: bytes after which an answer stops without an end.
    """
    asked: list[str] = []
    stopped, mute = threading.Event(), threading.Event()
    handler = type("Handler", (_Handler,), {
        "files": files, "asked": asked, "ranges": ranges, "stall": stall, "stopped": stopped,
        "mute": mute, "protocol_version": version,
    })  # fmt: skip
    server = http.server.ThreadingHTTPServer((host, 0), handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who leaves early
    server.daemon_threads = True
    if secure:
        server.socket = _context().wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Web(f"{'https' if secure else 'http'}://{host}:{server.server_port}", asked, mute)
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def tcp(data: bytes, *, stall: bool = False) -> Iterator[int]:
    """The port of a server that says ``data``, and ends the connection or (``stall``) does not."""
    kept: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        connection.sendall(data)
        if stall:
            kept.append(connection)
        else:
            connection.close()

    with _serving(serve) as port:
        yield port
    for connection in kept:
        connection.close()


@contextlib.contextmanager
def rtsp(stream: bytes, *, secure: bool = False, udp: bool = False, stall: int | None = None,
         mute: str | None = None) -> Iterator[tuple[int, list[str]]]:  # fmt: skip
    """Gives the port, and what transport each client took.

    stream: an MPEG transport stream, sent as RTP (RFC 2250, 2) at the pace of the wire.
    udp: that alone; over TCP it does not send.
    stall: packets after which nothing comes, not even an end.
    mute: the request that is not answered, such as "DESCRIBE".
    """
    taken: list[str] = []
    context = _context() if secure else None

    def serve(connection: socket.socket) -> None:
        if context is not None:
            connection = context.wrap_socket(connection, server_side=True)
        _Session(connection, stream, taken, udp, stall, mute).run()

    with _serving(serve) as port:
        yield port, taken


@contextlib.contextmanager
def _serving(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    def guarded(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            serve(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=guarded, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 33\r\na=control:track1\r\n"
)
_BYE = struct.pack(">BBHIBBHI", 0x80, 201, 1, 7, 0x81, 203, 1, 7)  # RTCP (RFC 3550, 6.4 and 6.6)


class _Session:
    """One client of an RTSP server (RFC 2326)."""

    def __init__(self, connection: socket.socket, stream: bytes, taken: list[str], udp: bool,
                 stall: int | None, mute: str | None) -> None:  # fmt: skip
        self._connection, self._stream, self._taken = connection, stream, taken
        self._udp, self._stall, self._mute = udp, stall, mute
        self._send: Callable[[bytes, int], object] | None = None  # a packet, 0 RTP or 1 RTCP

    def run(self) -> None:
        reader = self._connection.makefile("rb")
        while line := reader.readline():
            method = line.split()[0].decode()
            headers = {}
            while header := reader.readline().strip():
                name, _, value = header.decode().partition(":")
                headers[name.lower()] = value.strip()
            if method == self._mute:
                time.sleep(60)
            self._answer(method, headers)
            if method == "PLAY":
                threading.Thread(target=self._play, daemon=True).start()
            if method == "TEARDOWN":
                return

    def _answer(self, method: str, headers: dict[str, str]) -> None:
        status, more, body = "200 OK", "Session: 1\r\n", ""
        if method == "OPTIONS":
            more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            more, body = "Content-Type: application/sdp\r\n", _SDP
        elif method == "SETUP" and self._udp and "TCP" in headers["transport"]:
            status = "461 Unsupported transport"
        elif method == "SETUP":
            more += f"Transport: {self._transport(headers['transport'])}\r\n"
        text = f"RTSP/1.0 {status}\r\nCSeq: {headers['cseq']}\r\n{more}"
        if body:
            text += f"Content-Length: {len(body)}\r\n"
        self._connection.sendall(f"{text}\r\n{body}".encode())

    def _transport(self, wanted: str) -> str:
        if "TCP" in wanted:
            self._taken.append("tcp")
            self._send = lambda packet, channel: self._connection.sendall(
                struct.pack(">cBH", b"$", channel, len(packet)) + packet
            )
            return "RTP/AVP/TCP;unicast;interleaved=0-1"
        self._taken.append("udp")
        found = re.search(r"client_port=(\d+)-(\d+)", wanted)
        assert found
        ports = int(found[1]), int(found[2])
        ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ours.bind(("127.0.0.1", 0))
        self._send = lambda packet, channel: ours.sendto(packet, ("127.0.0.1", ports[channel]))
        port = ours.getsockname()[1]
        return f"RTP/AVP;unicast;client_port={ports[0]}-{ports[1]};server_port={port}-{port + 1}"

    def _play(self) -> None:
        assert self._send is not None
        time.sleep(0.05)
        size = 7 * 188
        with contextlib.suppress(OSError):
            for number, at in enumerate(range(0, len(self._stream), size)):
                if number == self._stall:
                    return
                head = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, number * 90, 7)
                self._send(head + self._stream[at : at + size], 0)
                time.sleep(0.001)
            time.sleep(0.1)
            self._send(_BYE, 1)
