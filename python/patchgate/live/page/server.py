"""``Page``: serves the page, in a thread of its own."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..camera import Seen
from ..watch import Watch
from .picture import picture_of

_PAUSE = 0.5  # seconds between two events
_FAREWELL = 3.0  # seconds that ``close`` waits for the server


class Page:
    """A small page with each camera's picture, what is new in it, and its numbers.

    It needs ``starlette`` and ``uvicorn``: ``pip install "patchgate[live]"``. Nobody is asked for a
    password, so it is bound to this machine unless told otherwise.

    Args:
        watched: what is shown. ``see`` gets its results.
        port: 0: any free one.
        host: the address to listen at.

    Attributes:
        address: of the page.

    Raises:
        ImportError: a package is missing; the message says what to install.
        OSError: the port is in use.
    """

    def __init__(self, watched: Watch, port: int, host: str = "127.0.0.1") -> None:
        uvicorn = _uvicorn()
        self._watched = watched
        self._seen: dict[str, Seen] = {}
        self._over = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family)
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{self._socket.getsockname()[1]}/"
        config = uvicorn.Config(self._app(host), log_level="error", lifespan="off",
                                timeout_graceful_shutdown=1)  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],),
                                        name="patchgate-page", daemon=True)  # fmt: skip
        self._thread.start()

    def see(self, seen: Seen) -> None:
        """Shows the next frame of a camera."""
        self._seen[seen.camera] = seen

    def close(self) -> None:
        """Ends the server."""
        self._over.set()
        self._server.should_exit = True
        self._thread.join(_FAREWELL)
        self._socket.close()

    def _app(self, host: str) -> Any:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.responses import HTMLResponse, Response, StreamingResponse
        from starlette.routing import Route

        page = (Path(__file__).parent / "page.html").read_text("utf-8")

        async def whole(request: Any) -> Any:
            return HTMLResponse(page, headers={"Cache-Control": "no-store"})

        async def events(request: Any) -> Any:
            return StreamingResponse(self._events(), media_type="text/event-stream",
                                     headers={"Cache-Control": "no-store"})  # fmt: skip

        def picture(request: Any) -> Any:  # in a thread of starlette's
            seen = self._seen.get(request.query_params.get("camera", ""))
            if seen is None:
                return Response("no picture yet", 404)
            headers = {"Cache-Control": "no-store"}
            return Response(picture_of(seen), media_type="image/jpeg", headers=headers)

        routes = [Route("/", whole), Route("/events", events), Route("/picture", picture)]
        # A page elsewhere cannot read this one under a name that its owner leads here.
        guard = [
            Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]"])
        ]
        return Starlette(routes=routes, middleware=guard if _is_loopback(host) else [])

    async def _events(self) -> AsyncIterator[str]:
        while not self._over.is_set():
            stats = {name: asdict(each) for name, each in self._watched.stats.items()}
            yield f"data: {json.dumps(stats)}\n\n"
            await asyncio.sleep(_PAUSE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.close()


def _uvicorn() -> Any:
    try:
        import starlette as starlette
        import uvicorn
    except ImportError as error:
        raise ImportError(
            f"the page needs starlette and uvicorn ({error}); install them: "
            'pip install "patchgate[live]"'
        ) from error
    return uvicorn


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
