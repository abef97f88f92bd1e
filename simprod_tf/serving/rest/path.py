"""What the path of a REST request asks for, and the number its answer bears.

Source: https://github.com/tensorflow/serving/blob/2.15.1/tensorflow_serving/
model_servers/http_rest_api_util.cc and http_server.cc.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import grpc
from tensorflow_serving.apis import model_pb2

from simprod_tf.serving.rest.json_tensor import invalid

_MODEL = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_FLAGS = re.IGNORECASE | re.ASCII
_POST = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_MODEL}:(?P<verb>classify|regress|predict)", _FLAGS
)
_GET = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_MODEL}(?P<verb>/metadata)?", _FLAGS
)

# All others are 500.
HTTP_STATUS = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}


@dataclass(frozen=True)
class Target:
    """What is asked: a verb, and a model with perhaps a version or a label."""

    verb: str
    spec: model_pb2.ModelSpec


def target_of(method: str, raw_path: str) -> Target:
    """Returns what a request asks for.

    Args:
        method: "GET" or "POST"; there are no others.
        raw_path: With its percent signs, as it came; letters' case is ignored in all
            but names and labels.

    Returns:
        The verb: "predict", "classify" or "regress" of a POST, "status" or "metadata"
        of a GET.

    Raises:
        ServingError: INVALID_ARGUMENT, for a path that is none of these.
    """
    pattern = {"POST": _POST, "GET": _GET}.get(method)
    found = pattern.fullmatch(raw_path) if pattern else None
    if found is None:
        raise invalid(f"Malformed request: {method} {raw_path}")
    if not found["name"]:
        raise invalid("Missing model name in request.")
    spec = model_pb2.ModelSpec(name=_decoded(found["name"], "model name"))
    if found["version"]:
        # int64's range, as the field's.
        if len(found["version"]) > 30 or int(found["version"]) >= 2**63:
            raise invalid(
                f"Failed to convert version: {found['version'][:40]} to numeric."
            )
        spec.version.value = int(found["version"])
    if found["label"]:
        spec.version_label = _decoded(found["label"], "model version label")
    verb = found["verb"] or "status"
    return Target(verb.strip("/").lower(), spec)


def _decoded(quoted: str, what: str) -> str:
    try:
        return unquote_to_bytes(quoted).decode()
    except UnicodeDecodeError as error:
        raise invalid(f"Failed to decode {what}: {quoted[:80]} is not UTF-8") from error
