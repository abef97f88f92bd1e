"""The kinds of requests of `serving_soak.py`, each with what it must come to."""

from __future__ import annotations

import base64
import http.client
import json
import random
import struct
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from serving_client import CHANNEL
from serving_processes import Server
from serving_requests import product_columns
from tensorflow_serving.apis import predict_pb2

PREDICT = "/tensorflow.serving.PredictionService/Predict"
TIMEOUT_S = 60.0
IDLE_S = 2.0
# Above the server's limits: 64 MiB a message, 64 million pixels a picture.
HUGE_BYTES = 80 * 2**20
HUGE_SIDE = 30_000


class WrongAnswerError(Exception):
    """A request was answered, and not as it must be."""


def require(right: bool, told: object) -> None:
    """Raises WrongAnswerError with what was told unless the answer is right."""
    if not right:
        raise WrongAnswerError(told)


@dataclass(frozen=True)
class Kind:
    """One kind of request.

    Attributes:
        name: what it is called in the count.
        weight: how often it is drawn, against the others.
        ask: sends one; returns the version that answered, where that is told. Raises
            WrongAnswerError for a wrong answer, anything else where none came.
    """

    name: str
    weight: float
    ask: Callable[[random.Random], int | None]


def write_adder(folder: Path, version: int) -> None:
    """Writes a SavedModel, `x` [B] float32 -> `y` [B] float32: 2 x + version."""
    module = tf.Module()
    module.add = tf.Variable(float(version))

    def doubled(x):
        return {"y": 2 * x + module.add}

    spec = tf.TensorSpec([None], tf.float32, name="x")
    concrete = tf.function(doubled).get_concrete_function(spec)
    tf.saved_model.save(module, str(folder), {"serving_default": concrete})


class Asker:
    """Sends requests to one server, over gRPC and over REST."""

    def __init__(self, server: Server) -> None:
        self._channel = grpc.insecure_channel(server.grpc, options=CHANNEL)
        self._predict = self._channel.unary_unary(PREDICT)
        self._address = server.rest
        self._local = threading.local()

    def predict(self, request: predict_pb2.PredictRequest) -> tuple[int, dict]:
        """Returns the version and the outputs."""
        written = self._predict(request.SerializeToString(), timeout=TIMEOUT_S)
        response = predict_pb2.PredictResponse.FromString(written)
        outputs = {key: tf.make_ndarray(one) for key, one in response.outputs.items()}
        return response.model_spec.version.value, outputs

    def refused(self, request: bytes, *codes: grpc.StatusCode) -> None:
        """Checks that a request is refused with one of the codes, and no trace."""
        try:
            self._predict(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            text = error.details() or ""
            require(error.code() in codes, f"{error.code()}: {text[:200]}")
            require("Traceback" not in text, text[:200])
            return
        raise WrongAnswerError("answered")

    def rest(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Returns status and body of a POST, on this thread's connection."""
        connection = self._connection()
        try:
            connection.request("POST", path, body)
        except (BrokenPipeError, ConnectionResetError):
            # A server may answer, and close, before it has read too large a body.
            pass
        try:
            answer = connection.getresponse()
            found = answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            raise
        if answer.getheader("Connection") == "close":
            connection.close()
        return found

    def _connection(self) -> http.client.HTTPConnection:
        """Returns this thread's connection, a fresh one if it has been idle.

        A server closes an idle connection (uvicorn after 5 seconds), perhaps at the
        moment in which the next request is sent.
        """
        now = time.monotonic()
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)
            self._local.connection = connection
        elif now - self._local.used > IDLE_S:
            # It connects again by itself.
            connection.close()
        self._local.used = now
        return connection

    def rest_refused(self, path: str, body: bytes, *statuses: int) -> None:
        """Checks that a request is refused with one of the statuses, and no trace."""
        try:
            status, content = self.rest(path, body)
        except (BrokenPipeError, ConnectionResetError):
            require(413 in statuses, "connection closed")
            return
        require(status in statuses, f"{status}: {content[:200]!r}")
        require(b"Traceback" not in content, content[:200])
        require("error" in json.loads(content), content[:200])


def adder_request(values: list[float]) -> predict_pb2.PredictRequest:
    """Returns a request for `adder`."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "adder"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(values, tf.float32))
    return request


def adder_kinds(server: Server) -> list[Kind]:
    """Returns requests of the model whose version shows in its answer."""
    asker = Asker(server)
    code = grpc.StatusCode

    def good(draw: random.Random, count: int = 3) -> int:
        values = [float(draw.randrange(1000)) for _ in range(count)]
        version, outputs = asker.predict(adder_request(values))
        expected = 2 * np.array(values, np.float32) + version
        require(np.array_equal(outputs["y"], expected), f"version {version}")
        return version

    def large(draw: random.Random) -> int:
        return good(draw, 200_000)

    def rest(draw: random.Random) -> int:
        values = [float(draw.randrange(1000)) for _ in range(3)]
        body = json.dumps({"instances": values}).encode()
        status, content = asker.rest("/v1/models/adder:predict", body)
        if status != 200:
            raise RuntimeError(f"{status} {content[:200]!r}")
        answered = json.loads(content)["predictions"]
        versions = {y - 2 * x for x, y in zip(values, answered)}
        require(len(versions) == 1, content[:200])
        require(min(versions) >= 1, content[:200])
        return int(versions.pop())

    def wrong_type(draw: random.Random) -> None:
        request = adder_request([1.0])
        request.inputs["x"].CopyFrom(
            tf.make_tensor_proto([draw.randrange(9)], tf.int32)
        )
        asker.refused(request.SerializeToString(), code.INVALID_ARGUMENT)

    def wrong_input(draw: random.Random) -> None:
        request = adder_request([1.0])
        request.inputs[f"other{draw.randrange(9)}"].CopyFrom(request.inputs["x"])
        asker.refused(request.SerializeToString(), code.INVALID_ARGUMENT)

    def unknown(draw: random.Random) -> None:
        request = adder_request([1.0])
        request.model_spec.version.value = 10**6 + draw.randrange(9)
        asker.refused(request.SerializeToString(), code.NOT_FOUND)

    def garbage(draw: random.Random) -> None:
        # gRPC itself answers what is no message with INTERNAL.
        codes = (code.INVALID_ARGUMENT, code.INTERNAL)
        asker.refused(draw.randbytes(draw.randrange(1, 400)), *codes)

    def rest_garbage(draw: random.Random) -> None:
        body = draw.randbytes(draw.randrange(1, 400))
        asker.rest_refused("/v1/models/adder:predict", body, 400)

    def huge(draw: random.Random) -> None:
        asker.refused(bytes(HUGE_BYTES), code.RESOURCE_EXHAUSTED)

    def rest_huge(draw: random.Random) -> None:
        body = b'{"instances": [' + b" " * HUGE_BYTES + b"1]}"
        asker.rest_refused("/v1/models/adder:predict", body, 413)

    return [
        Kind("good", 40, good),
        Kind("good, 200,000 numbers", 2, large),
        Kind("good, REST", 20, rest),
        Kind("bad: type", 5, wrong_type),
        Kind("bad: input", 5, wrong_input),
        Kind("bad: version", 5, unknown),
        Kind("bad: bytes", 5, garbage),
        Kind("bad: REST bytes", 5, rest_garbage),
        Kind("huge", 0.3, huge),
        Kind("huge, REST", 0.3, rest_huge),
    ]


def many_pixels() -> bytes:
    """Returns the head of a PNG that claims 900 million pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", HUGE_SIDE, HUGE_SIDE, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + chunk + bytes(100)


def encoder_kinds(server: Server, folder: Path) -> list[Kind]:
    """Returns requests of an encoder, of which every version is the same.

    Args:
        server: serves it as `encoder`.
        folder: one version, to know the right answers by.
    """
    asker = Asker(server)
    columns = product_columns(24, size=128)
    bad = {
        "damaged": columns["image_bytes"][0][:200],
        "noise": bytes(range(256)),
        "pixels": many_pixels(),
    }
    embed = tf.saved_model.load(str(folder)).signatures["serving_default"]
    expected = embed(**{key: tf.constant(one) for key, one in columns.items()})
    expected = expected["embedding"].numpy()

    def request(rows: list[int], spoilt: str | None) -> predict_pb2.PredictRequest:
        found = predict_pb2.PredictRequest()
        found.model_spec.name = "encoder"
        images = [columns["image_bytes"][row] for row in rows]
        if spoilt is not None:
            images[0] = bad[spoilt]
        titles = [columns["title"][row] for row in rows]
        found.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(images, tf.string))
        found.inputs["title"].CopyFrom(tf.make_tensor_proto(titles, tf.string))
        return found

    def good(draw: random.Random, spoilt: str | None = None) -> None:
        rows = draw.sample(range(24), draw.randrange(1, 9))
        _, outputs = asker.predict(request(rows, spoilt))
        wanted = expected[rows].copy()
        valid = np.ones(len(rows), bool)
        if spoilt is not None:
            wanted[0], valid[0] = 0, False
        require(np.array_equal(outputs["valid"], valid), outputs["fault"])
        require(np.allclose(outputs["embedding"], wanted, atol=1e-5), "embedding")

    def spoilt(draw: random.Random) -> None:
        good(draw, draw.choice(list(bad)))

    def rest(draw: random.Random) -> None:
        row = draw.randrange(24)
        image = base64.b64encode(columns["image_bytes"][row]).decode()
        product = {"image_bytes": {"b64": image}, "title": columns["title"][row]}
        body = json.dumps({"instances": [product]}).encode()
        status, content = asker.rest("/v1/models/encoder:predict", body)
        if status != 200:
            raise RuntimeError(f"{status} {content[:200]!r}")
        (answered,) = json.loads(content)["predictions"]
        require(
            np.allclose(answered["embedding"], expected[row], atol=1e-5), "embedding"
        )

    return [
        Kind("products", 20, good),
        Kind("products, one picture bad", 10, spoilt),
        Kind("product, REST", 10, rest),
    ]
