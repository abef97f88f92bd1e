"""An HTTP server in a thread, around uvicorn."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import grpc
import uvicorn

from simprod_tf.serving.status import ServingError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

SHORTEST_WAIT_S = 0.3
KEEP_ALIVE_S = 75


class RestServer:
    """Serves an app over HTTP/1.1, from a thread of its own."""

    def __init__(self, app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Binds nothing yet; port 0 takes any that is free."""
        self._address = (host, port)
        self._server = _Uvicorn(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                # uvicorn's 5 s race with clients that keep a connection longer.
                timeout_keep_alive=KEEP_ALIVE_S,
            )
        )
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on, once bound."""
        if self._socket is None:
            raise ValueError("The server has no port before start() or bind().")
        return self._port

    def bind(self) -> socket.socket:
        """Takes the address, and refuses connections until `start`.

        Raises:
            ServingError: UNAVAILABLE, where the address cannot be had.
        """
        host = self._address[0]
        bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            # Else a port cannot be had for a minute after its last connections.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(self._address)
        except OSError as error:
            bound.close()
            raise self._taken(error) from error
        self._socket, self._port = bound, bound.getsockname()[1]
        return bound

    def start(self) -> None:
        """Listens, and returns once requests are answered.

        Raises:
            ServingError: UNAVAILABLE, where the address cannot be had.
        """
        bound = self._socket or self.bind()
        try:
            # Two may have bound a port on which neither listened yet.
            bound.listen()
        except OSError as error:
            raise self._taken(error) from error
        # asyncio sets it for sockets that say they are TCP; this one does not.
        # Without it an answer's body waits 40 ms for the client's acknowledgement.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._thread = threading.Thread(target=self._run, name="rest", daemon=True)
        self._thread.start()
        self._server.ready.wait()

    def close(self, seconds: float = 0.0) -> None:
        """Takes no more requests, and waits so long for those that are running."""
        if self._thread is None:
            if self._socket is not None:
                self._socket.close()
            return
        # uvicorn takes any number, though its annotation says int; it looks every
        # tenth of a second whether connections that idle have closed.
        patience = max(seconds, SHORTEST_WAIT_S)
        self._server.config.timeout_graceful_shutdown = patience  # type: ignore[assignment]
        self._server.should_exit = True
        self._thread.join()
        self._thread = None

    def _taken(self, error: OSError) -> ServingError:
        host, port = self._address
        return ServingError(
            grpc.StatusCode.UNAVAILABLE,
            f"REST cannot listen on {host}:{port}: {error}; choose another port, or 0 "
            "for any that is free.",
        )

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket] if self._socket else None)
        finally:
            self._server.ready.set()


class _Uvicorn(uvicorn.Server):
    """Tells when it has started, which uvicorn leaves to be polled."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()
