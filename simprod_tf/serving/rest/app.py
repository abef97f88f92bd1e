"""The REST API of TF Serving, as a Starlette app.

Differences from TF Serving 2.15.1: `:classify` and `:regress` are 501; a body that is
too large is 413; a page that is not there is a JSON error, too; bodies are read more
strictly (rest_json). A request's deadline counts from its first byte.
"""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import grpc
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from simprod_tf.serving.models.signature import DEFAULT_SIGNATURE
from simprod_tf.serving.rest.answer import columns_json, rows_json
from simprod_tf.serving.rest.path import HTTP_STATUS, target_of
from simprod_tf.serving.rest.request import (
    is_row_form,
    parse_body,
    signature_name_of,
    tensors_of,
)
from simprod_tf.serving.rest.request_body import BodyLimit, inflated
from simprod_tf.serving.server import metrics as prometheus
from simprod_tf.serving.status import ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message
    from starlette.routing import BaseRoute
    from starlette.types import Receive, Scope, Send
    from tensorflow_serving.apis import model_pb2

    from simprod_tf.serving.models.models import Models
    from simprod_tf.serving.server.metrics import Metrics
    from simprod_tf.serving.server.predict import Predictor

TIMEOUT_S = 30.0
MAX_BODY_BYTES = 64 * 1024 * 1024
# One more than the gate's default lets in and queues, so that the gate refuses.
THREADS = 73

Answer = TypeVar("Answer")


def rest_app(
    predictor: Predictor,
    models: Models,
    *,
    metrics: Metrics,
    metrics_path: str | None = None,
    routes: Sequence[BaseRoute] = (),
    timeout: float = TIMEOUT_S,
    max_body_bytes: int = MAX_BODY_BYTES,
    threads: int = THREADS,
    enable_cors: bool = False,
) -> Starlette:
    """Returns the app.

    Args:
        predictor: Runs the requests, in worker threads.
        models: Tells the models' states.
        metrics: Counts the requests.
        metrics_path: Where their page is, this exact path; None for nowhere.
        routes: Further ones, asked first. They may raise ServingError and
            HTTPException, which become `{"error": ...}`; `in_worker` runs their work.
        timeout: Seconds that a request may take, its body's arrival included.
        max_body_bytes: Of any route's request, as it comes and once inflated.
        threads: How many requests are worked on at once; more than the predictor's
            gate lets in and queues together.
        enable_cors: Lets pages of other origins ask, as TF Serving's
            --rest_api_enable_cors_support does.
    """
    # Half the CPU of anyio's threads, which do more for each call.
    workers = ThreadPoolExecutor(threads, thread_name_prefix="rest")
    api = _Api(predictor, models, metrics, timeout, max_body_bytes, workers)
    own: list[BaseRoute] = [*routes]
    if metrics_path is not None:
        own.append(Route(metrics_path, _metrics_page(metrics), methods=["GET"]))
    middleware = [Middleware(BodyLimit, max_bytes=max_body_bytes)]
    if enable_cors:
        # In front, so that errors have the headers, too.
        middleware.insert(
            0,
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["POST", "GET"],
                allow_headers=["Content-Type"],
            ),
        )
    app = Starlette(
        routes=[*own, Mount("/", app=api)],
        middleware=middleware,
        exception_handlers={
            ServingError: _serving_error,
            HTTPException: _http_exception,
            ClientDisconnect: _client_disconnect,
            Exception: _bug,
        },
    )
    app.router.redirect_slashes = False
    app.state.workers = workers
    return app


async def in_worker(
    workers: ThreadPoolExecutor, function: Callable[..., Answer], *args: Any
) -> Answer:
    """Returns what a function does, run in one of the app's threads.

    A route finds them as `request.app.state.workers`. They are more than the gate
    takes, so that requests wait in it, where they are counted and refused.
    """
    return await asyncio.get_running_loop().run_in_executor(workers, function, *args)


class _Api:
    """All paths that no route before it took."""

    def __init__(
        self,
        predictor: Predictor,
        models: Models,
        metrics: Metrics,
        timeout: float,
        max_body_bytes: int,
        workers: ThreadPoolExecutor,
    ) -> None:
        self._predictor, self._models, self._metrics = predictor, models, metrics
        self._timeout, self._max_body_bytes = timeout, max_body_bytes
        self._workers = workers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        raw_path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        if not raw_path.lower().startswith("/v1/"):
            raise HTTPException(404, f"Nothing is at {request.method} {raw_path}.")
        target = target_of(request.method, raw_path)
        if target.verb == "status":
            body = self._status(target.spec)
        elif target.verb == "metadata":
            body = await self._in_thread(self._metadata, target.spec)
        elif target.verb == "predict":
            body = await self._counted_predict(request, target.spec)
        else:
            raise ServingError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"This server does not {target.verb}; ask the model with :predict.",
            )
        await _json(body)(scope, receive, send)

    def _status(self, spec: model_pb2.ModelSpec) -> bytes:
        """Returns the versions' states; a label is ignored, as TF Serving does."""
        version = spec.version.value if spec.HasField("version") else None
        versions = self._models.status(spec.name, version)
        response = get_model_status_pb2.GetModelStatusResponse(
            model_version_status=versions
        )
        return _indented(_dict(response))

    def _metadata(self, spec: model_pb2.ModelSpec) -> bytes:
        response = self._predictor.metadata(
            get_model_metadata_pb2.GetModelMetadataRequest(
                model_spec=spec, metadata_field=["signature_def"]
            )
        )
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return _indented(
            {
                "model_spec": _dict(response.model_spec),
                "metadata": {"signature_def": _dict(signatures)},
            }
        )

    async def _counted_predict(
        self, request: Request, spec: model_pb2.ModelSpec
    ) -> bytes:
        started, status = time.perf_counter(), "INTERNAL"
        try:
            answer = await self._predict(request, spec, started + self._timeout)
            status = "OK"
            return answer
        except ServingError as error:
            status = error.code.name
            raise
        except HTTPException:
            status = grpc.StatusCode.INVALID_ARGUMENT.name
            raise
        except ClientDisconnect:
            status = grpc.StatusCode.CANCELLED.name
            raise
        finally:
            seconds = time.perf_counter() - started
            self._metrics.request(spec.name, "REST", status, seconds)

    async def _predict(
        self, request: Request, spec: model_pb2.ModelSpec, deadline: float
    ) -> bytes:
        try:
            with anyio.fail_after(deadline - time.perf_counter()):
                body = await request.body()
        except TimeoutError as error:
            raise ServingError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"The request's body did not come within {self._timeout:g} seconds.",
            ) from error
        encoding = request.headers.get("content-encoding", "")
        return await self._in_thread(self._answer, spec, body, encoding, deadline)

    def _answer(
        self, spec: model_pb2.ModelSpec, body: bytes, encoding: str, deadline: float
    ) -> bytes:
        parsed = parse_body(inflated(body, encoding, max_bytes=self._max_body_bytes))
        spec.signature_name = signature_name_of(parsed)
        name = spec.signature_name or DEFAULT_SIGNATURE
        with self._models.lease(spec) as servable:
            if name not in servable.signatures:
                raise ServingError(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f'Serving signature name: "{name}" not found in signature def',
                )
            inputs = servable.signatures[name].inputs
        tensors = tensors_of(parsed, inputs)
        left = max(0.0, deadline - time.perf_counter())
        outputs = self._predictor.run(spec, tensors, timeout=left).outputs
        return (rows_json if is_row_form(parsed) else columns_json)(outputs)

    async def _in_thread(self, function: Callable[..., bytes], *args: Any) -> bytes:
        return await in_worker(self._workers, function, *args)


def _metrics_page(metrics: Metrics) -> Any:
    async def page(request: Request) -> Response:
        return Response(metrics.text(), media_type=prometheus.CONTENT_TYPE)

    return page


def _dict(message: Message) -> dict[str, Any]:
    """Returns a message as TF Serving writes it: all fields, 64 bits as strings."""
    return json_format.MessageToDict(
        message, including_default_value_fields=True, preserving_proto_field_name=True
    )


def _indented(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer, indent=1).encode() + b"\n"


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _error(message: str, status: int) -> Response:
    # As ASCII, since a message may quote half a surrogate pair, which UTF-8 lacks.
    return _json(json.dumps({"error": message}).encode() + b"\n", status)


async def _serving_error(request: Request, error: Any) -> Response:
    return _error(error.message, HTTP_STATUS.get(error.code, 500))


async def _http_exception(request: Request, error: Any) -> Response:
    return _error(error.detail, error.status_code)


async def _client_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=HTTP_STATUS[grpc.StatusCode.CANCELLED])


async def _bug(request: Request, error: Exception) -> Response:
    """Tells that it failed; what failed stands in the server's log."""
    response = _error("The server failed; its log says why.", 500)
    # uvicorn closes it, which a client that sends its next request should know.
    response.headers["Connection"] = "close"
    return response
