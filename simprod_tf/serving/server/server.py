"""The whole server: models, their predictor, gRPC and REST before them."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from simprod_tf.serving.models.models import Models
from simprod_tf.serving.server.grpc_port import listen
from simprod_tf.serving.server.grpc_services import add_services
from simprod_tf.serving.server.health import ModelHealth
from simprod_tf.serving.server.limits import Gate, Limits
from simprod_tf.serving.server.metrics import Metrics
from simprod_tf.serving.server.predict import Predictor

if TYPE_CHECKING:
    from starlette.routing import BaseRoute
    from tensorflow_serving.config import model_server_config_pb2

    from simprod_tf.serving.protos.server_config_pb2 import (
        BatchingParameters,
        SSLConfig,
    )
    from simprod_tf.serving.rest.server import RestServer

log = logging.getLogger(__name__)

# Adds a service of one's own to the gRPC server and returns the names of its services.
AddService = Callable[[grpc.Server], Sequence[str]]

# Threads for health, status and metadata while all others run or wait.
_SPARE_THREADS = 8


@dataclass(frozen=True)
class ServeOptions:
    """What is served, where, and within which bounds.

    Ports: 0 is any free one; `rest_port` None leaves REST out. `unix_socket` is a path
    that gRPC listens on too. `ssl` is for gRPC alone, as in TF Serving. `enable_cors`
    lets web pages of other origins ask REST.
    """

    models: model_server_config_pb2.ModelServerConfig
    host: str = "127.0.0.1"
    port: int = 8500
    rest_port: int | None = 8501
    unix_socket: Path | None = None
    limits: Limits = field(default_factory=Limits)
    batching: BatchingParameters | None = None
    ssl: SSLConfig | None = None
    metrics_path: str | None = None
    rest_timeout: float = 30.0
    enable_cors: bool = False
    poll_seconds: float = 1.0
    config_path: Path | None = None
    config_poll_seconds: float = 0.0
    allow_labels_for_unavailable: bool = False
    start_timeout: float = 300.0


class Server:
    """Serves models until it is drained or closed.

    with Server(options) as server:
        server.wait()
    """

    def __init__(
        self,
        options: ServeOptions,
        *,
        servicers: Sequence[AddService] = (),
        routes: Sequence[BaseRoute] = (),
        gate: Gate | None = None,
    ) -> None:
        """Prepares a server; `servicers` and `routes` are served beside the models.

        `gate` is the one that they go through, made from the options' limits, so that
        all requests share it.
        """
        self.options = options
        self.metrics = Metrics()
        self.models = Models(
            options.models,
            poll_seconds=options.poll_seconds,
            config_path=options.config_path,
            config_poll_seconds=options.config_poll_seconds,
            allow_labels_for_unavailable=options.allow_labels_for_unavailable,
        )
        self.predictor = Predictor(
            self.models,
            batching=options.batching,
            limits=options.limits,
            metrics=self.metrics,
            gate=gate,
        )
        self.metrics.watch_models(self.models)
        self.metrics.watch_gate(self.predictor.gate)
        self._servicers, self._routes = tuple(servicers), tuple(routes)
        self._grpc: grpc.Server | None = None
        self._health: ModelHealth | None = None
        self._rest: RestServer | None = None
        self._port: int | None = None
        self._ended = threading.Event()

    @property
    def port(self) -> int:
        """The port of gRPC."""
        if self._port is None:
            raise ValueError("the server must be started before its port is known.")
        return self._port

    @property
    def rest_port(self) -> int | None:
        """The port of REST; None where there is no REST."""
        return None if self._rest is None else self._rest.port

    def start(self) -> None:
        """Returns once every model is available and both fronts answer.

        Ports are bound first, so that a taken one is known before models load;
        nothing is answered before they have.

        Raises:
            SimprodError: a port is taken, a key or certificate is none.
            ServingError: a model cannot be loaded.
        """
        try:
            server = self._grpc = self._grpc_server()
            self._rest = self._rest_server()
            self.models.start(timeout=self.options.start_timeout)
            services = add_services(server, self.predictor, metrics=self.metrics)
            for add in self._servicers:
                services.extend(add(server))
            self._health = ModelHealth(self.models, services=services)
            health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
            named = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(named, server)
            server.start()
            if self._rest is not None:
                self._rest.start()
        except BaseException:
            self.close()
            raise

    def wait(self) -> None:
        """Returns once the server has ended."""
        self._ended.wait()

    def drain(self, seconds: float) -> None:
        """Ends: takes nothing new, and lets what runs finish within `seconds`."""
        self.predictor.gate.close()
        if self._health is not None:
            self._health.stop()
        stopped = None if self._grpc is None else self._grpc.stop(seconds)
        if self._rest is not None:
            self._rest.close(seconds)
        if stopped is not None:
            stopped.wait()
        self._grpc = self._health = None
        self.predictor.close()
        self.models.close()
        self._ended.set()

    def close(self) -> None:
        """Ends at once; what runs is cancelled. Does nothing once ended."""
        if not self._ended.is_set():
            self.drain(0)

    def __enter__(self) -> Server:
        """Starts."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes."""
        self.close()

    def _grpc_server(self) -> grpc.Server:
        limits = self.options.limits
        # Requests wait in the gate, not unseen before a pool that is too small.
        threads = limits.concurrency + limits.queue + _SPARE_THREADS
        server = grpc.server(
            futures.ThreadPoolExecutor(threads, thread_name_prefix="grpc"),
            options=[
                ("grpc.max_receive_message_length", limits.message_bytes),
                ("grpc.max_send_message_length", limits.message_bytes),
                # Else two servers share a port, and each answers half the requests.
                ("grpc.so_reuseport", 0),
            ],
        )
        host = self.options.host
        # An address of IPv6 has colons of its own.
        address = f"[{host}]" if ":" in host else host
        self._port = listen(server, f"{address}:{self.options.port}", self.options.ssl)
        if self.options.unix_socket is not None:
            listen(server, f"unix:{self.options.unix_socket}", self.options.ssl)
        return server

    def _rest_server(self) -> RestServer | None:
        if self.options.rest_port is None:
            return None
        from simprod_tf.serving.rest.app import rest_app
        from simprod_tf.serving.rest.server import RestServer

        limits = self.options.limits
        app = rest_app(
            self.predictor,
            self.models,
            metrics=self.metrics,
            metrics_path=self.options.metrics_path,
            routes=self._routes,
            timeout=self.options.rest_timeout,
            max_body_bytes=limits.message_bytes,
            threads=limits.concurrency + limits.queue + 1,
            enable_cors=self.options.enable_cors,
        )
        server = RestServer(app, host=self.options.host, port=self.options.rest_port)
        server.bind()
        return server


def signalled() -> signal.Signals:
    """Returns the SIGTERM or SIGINT that comes; the next one kills the process.

    To be called from the main thread.
    """
    came = threading.Event()
    got: list[int] = []

    def note(number: int, frame: FrameType | None) -> Any:
        got.append(number)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        came.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, note)
    came.wait()
    return signal.Signals(got[0])
