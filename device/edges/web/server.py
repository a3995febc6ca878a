"""The HTTP server: on sockets that are open already, until it is stopped or nobody has used it for a while."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import TYPE_CHECKING

import uvicorn

from device.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import ASGIApp

_TICK_S = 0.25
_MOST_CONNECTIONS = 32
_MOST_HEAD_BYTES = 16_384
_GRACE_S = 5  # for what is under way at the end


class Server:
    """Serves until ``stop``.

    Args:
        sockets: listening.
        idle_s: end after so long without a request; None: never.
        on_tick: called a few times a second, first when it serves.
    """

    def __init__(self, sockets: Sequence[socket.socket], idle_s: float | None, on_tick: Callable[[], None]) -> None:
        self._sockets = list(sockets)
        self._idle_s = idle_s
        self._on_tick = on_tick
        self._used_s = time.monotonic()
        self._server: uvicorn.Server | None = None
        self._stopped = False

    def touch(self) -> None:
        """Take note that somebody uses it."""
        self._used_s = time.monotonic()

    def stop(self) -> None:
        """End it, also before it has begun; may be called by any thread."""
        self._stopped = True
        if self._server is not None:
            self._server.should_exit = True

    def run(self, app: ASGIApp, *, cert_file: str = "", key_file: str = "") -> None:
        """Serve.

        Args:
            app: what answers.
            cert_file: a certificate, PEM; empty: no TLS.
            key_file: its key.
        """
        config = uvicorn.Config(
            app, http="h11", loop="asyncio", ws="none", lifespan="off", interface="asgi3", log_config=None,
            access_log=False, proxy_headers=False, server_header=False, limit_concurrency=_MOST_CONNECTIONS,
            h11_max_incomplete_event_size=_MOST_HEAD_BYTES, timeout_keep_alive=5, timeout_graceful_shutdown=_GRACE_S,
            ssl_certfile=cert_file or None, ssl_keyfile=key_file or None,
        )  # fmt: skip
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # else strangers could fill the log
        self._server = uvicorn.Server(config)
        self._server.should_exit = self._stopped
        asyncio.run(self._serve(self._server))

    async def _serve(self, server: uvicorn.Server) -> None:
        watch = asyncio.create_task(self._watch(server))
        try:
            await server.serve(sockets=self._sockets)
        finally:
            watch.cancel()

    async def _watch(self, server: uvicorn.Server) -> None:
        """See to the end of what nobody uses; a connection that is only open is no use."""
        while not server.started:
            await asyncio.sleep(0.01)
        while not server.should_exit:
            self._on_tick()
            if self._idle_s is not None and time.monotonic() - self._used_s > self._idle_s:
                server.should_exit = True
            await asyncio.sleep(_TICK_S)


def open_socket(host: str, port: int) -> socket.socket:
    """Listen at an address.

    Raises:
        RecorderError: nobody can, with why.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=64)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # Python adds the address
        problem = f"[web] listen = '{host}:{port}': {reason}"
        raise RecorderError(problem, hint="does another program, or the unit's socket, listen there?") from error
