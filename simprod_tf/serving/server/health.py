"""gRPC's health service, tied to whether the models can be asked."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health, health_pb2
from tensorflow_serving.apis import get_model_status_pb2

from simprod_tf.serving.status import ServingError

if TYPE_CHECKING:
    from simprod_tf.serving.models.models import Models

# TF Serving's names are short; the full ones are gRPC's custom.
SHORT_NAMES = ("ModelService", "PredictionService")
_AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def all_available(models: Models) -> bool:
    """Tells whether every model has a version that answers."""
    for name in models.names():
        try:
            versions = models.status(name, None)
        except ServingError:
            return False
        if all(version.state != _AVAILABLE for version in versions):
            return False
    return True


class ModelHealth(health.HealthServicer):
    """SERVING while every model is available; NOT_SERVING from the drain on.

    TF Serving sets SERVING once; here the state follows the models: at each Check, and
    every second for those who Watch.
    """

    def __init__(
        self, models: Models, *, services: Sequence[str], seconds: float = 1.0
    ) -> None:
        """Tells about the whole server ("") and `services`; looks every `seconds`."""
        super().__init__()
        self._models = models
        self._services = ("", *SHORT_NAMES, *services)
        self._stopped = threading.Event()
        self._last: bool | None = None
        # Not `_lock`: the base class has one, and takes it in `set`.
        self._refreshing = threading.Lock()
        self.refresh()
        self._thread = threading.Thread(
            target=self._follow, args=(seconds,), name="health", daemon=True
        )
        self._thread.start()

    def Check(  # noqa: N802 - the name of the rpc
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """Returns the state of this moment."""
        self.refresh()
        return super().Check(request, context)

    def refresh(self) -> None:
        """Looks at the models, and tells those who watch where something changed."""
        with self._refreshing:
            available = not self._stopped.is_set() and all_available(self._models)
            if available == self._last:
                return
            self._last = available
            for service in self._services:
                self.set(service, _SERVING if available else _NOT_SERVING)

    def stop(self) -> None:
        """Is NOT_SERVING from now on; tells those who watch, and ends their streams.

        A stream that stays open would hold up the server's end until its very last
        second.
        """
        self._stopped.set()
        self.refresh()
        self._thread.join()
        with self._lock:
            streams = list(self._send_response_callbacks.values())
            for end in [end for callbacks in streams for end in callbacks]:
                end(None)

    def _follow(self, seconds: float) -> None:
        while not self._stopped.wait(seconds):
            self.refresh()
