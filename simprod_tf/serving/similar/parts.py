"""simprod.v1.SimilarProducts over gRPC and REST, as parts for a server.

REST has the messages as JSON: POST to /simprod/v1/similar, /simprod/v1/add and
/simprod/v1/remove, GET from /simprod/v1/status. As protobuf's JSON mapping wants it,
bytes are base64 and 64-bit numbers come back as strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simprod_tf.serving.protos import similar_products_pb2 as pb
from simprod_tf.serving.protos import similar_products_pb2_grpc as pb_grpc
from simprod_tf.serving.rest.app import in_worker
from simprod_tf.serving.server.grpc_services import aborting, timeout_of
from simprod_tf.serving.server.limits import Deadline, Gate, Limits
from simprod_tf.serving.similar.bundle import Bundle, BundleOptions
from simprod_tf.serving.similar.service import SimilarLimits, SimilarService
from simprod_tf.serving.status import ServingError

SERVICE = "simprod.v1.SimilarProducts"
TIMEOUT_S = 30.0
_PREFIX = "/simprod/v1"
# Both alphabets, and lines as `base64` breaks them.
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]*={0,2}\s*", re.ASCII)

Answer = TypeVar("Answer", bound=Message)


@dataclass(frozen=True)
class SimilarParts:
    """What a server takes up.

    Attributes:
        servicer: adds the service to a gRPC server and returns its name.
        routes: the REST paths; they raise ServingError.
        close: ends the service once the server takes no more requests: it makes the
            last checkpoint.
        bundle: what answers.
    """

    servicer: Callable[[grpc.Server], Sequence[str]]
    routes: tuple[Route, ...]
    close: Callable[[], None]
    bundle: Bundle


def similar_parts(
    options: BundleOptions,
    *,
    limits: SimilarLimits | None = None,
    gate: Gate | None = None,
    timeout: float = TIMEOUT_S,
) -> SimilarParts:
    """Opens encoder, index and thresholds, and returns the service over them.

    Args:
        options: what is served.
        limits: how much one request may ask for.
        gate: how many requests run at once; by default a gate of its own.
        timeout: seconds that a request over REST may take.

    Raises:
        SimprodError: something cannot be opened; see `Bundle.open`.
    """
    bundle = Bundle(options)
    return parts_of(bundle, limits=limits, gate=gate, timeout=timeout)


def parts_of(
    bundle: Bundle,
    *,
    limits: SimilarLimits | None = None,
    gate: Gate | None = None,
    timeout: float = TIMEOUT_S,
) -> SimilarParts:
    """Returns the service over an open bundle; see `similar_parts`."""
    service = _Gated(SimilarService(bundle, limits=limits), gate or Gate(Limits()))

    def servicer(server: grpc.Server) -> Sequence[str]:
        pb_grpc.add_SimilarProductsServicer_to_server(_Servicer(service), server)
        return (SERVICE,)

    return SimilarParts(servicer, _routes(service, timeout), bundle.close, bundle)


class _Gated:
    """The service behind a gate."""

    def __init__(self, service: SimilarService, gate: Gate) -> None:
        self._service, self._gate = service, gate
        self.methods: dict[str, Callable[..., Message]] = {
            "Similar": service.similar,
            "Add": service.add,
            "Remove": service.remove,
            "Status": service.status,
        }

    def answer(self, method: str, request: Message, timeout: float | None) -> Any:
        """Returns a method's answer.

        Raises:
            ServingError: RESOURCE_EXHAUSTED where too many requests wait; else what the
                method raises.
        """
        deadline = Deadline(timeout)
        with self._gate.enter(timeout):
            return self.methods[method](request, timeout=deadline.left())


class _Servicer(pb_grpc.SimilarProductsServicer):
    """The methods over gRPC."""

    def __init__(self, service: _Gated) -> None:
        self._service = service

    def Similar(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        """Returns the nearest products of each query."""
        return self._answer("Similar", request, context)

    def Add(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        """Takes products in, durably."""
        return self._answer("Add", request, context)

    def Remove(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        """Removes products, durably."""
        return self._answer("Remove", request, context)

    def Status(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        """Returns what is served."""
        return self._answer("Status", request, context)

    def _answer(
        self, method: str, request: Message, context: grpc.ServicerContext
    ) -> Message:
        with aborting(context):
            return self._service.answer(method, request, timeout_of(context))


def _routes(service: _Gated, timeout: float) -> tuple[Route, ...]:
    messages: dict[str, Callable[[], Message]] = {
        "Similar": pb.SimilarRequest,
        "Add": pb.AddRequest,
        "Remove": pb.RemoveRequest,
    }

    def page(method: str) -> Any:
        async def answer(request: Request) -> Response:
            deadline = Deadline(timeout)
            body = await request.body()

            def work() -> Message:
                message = from_json(body, messages[method]())
                return service.answer(method, message, deadline.left())

            return _json(await in_worker(request.app.state.workers, work))

        return answer

    async def status(request: Request) -> Response:
        message = pb.StatusRequest(
            fingerprint=request.query_params.get("fingerprint", "")
        )
        workers = request.app.state.workers
        return _json(
            await in_worker(workers, service.answer, "Status", message, timeout)
        )

    return (
        *(
            Route(f"{_PREFIX}/{method.lower()}", page(method), methods=["POST"])
            for method in messages
        ),
        Route(f"{_PREFIX}/status", status, methods=["GET"]),
    )


def from_json(body: bytes, message: Answer) -> Answer:
    """Returns the message that a JSON body states.

    Raises:
        ServingError: INVALID_ARGUMENT, it is no such JSON.
    """
    try:
        content = json.loads(body)
        if not isinstance(content, dict):
            raise ValueError("it is no object.")
        _require_pictures(content)
        return json_format.ParseDict(content, message)
    except (json_format.ParseError, ValueError, RecursionError) as error:
        name = message.DESCRIPTOR.full_name
        raise ServingError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"The body is no {name} as JSON: {str(error)[:300]}",
        ) from error


def _require_pictures(content: dict[str, Any]) -> None:
    """Refuses pictures that are no base64.

    protobuf passes over what is none, and the product would be known by its title.
    """
    for field in ("queries", "products"):
        listed = content.get(field)
        for row, one in enumerate(listed if isinstance(listed, list) else ()):
            product = one.get("product") if isinstance(one, dict) else None
            for name in ("image_bytes", "imageBytes"):
                picture = product.get(name) if isinstance(product, dict) else None
                if picture is None or _is_base64(picture):
                    continue
                raise ValueError(
                    f"{field}[{row}].product.{name}: expected a text in base64, got "
                    f"{json.dumps(picture)[:40]}."
                )


def _is_base64(value: Any) -> bool:
    return isinstance(value, str) and _BASE64.fullmatch(value) is not None


def to_json(message: Message) -> bytes:
    """Returns a message as JSON, fields that are zero included."""
    content = json_format.MessageToDict(
        message, including_default_value_fields=True, preserving_proto_field_name=True
    )
    return json.dumps(content).encode()


def _json(message: Message) -> Response:
    return Response(to_json(message), media_type="application/json")
