"""The REST app over a real port, with models that are made up."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import json
import socket
import threading
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.apis.status_pb2 import StatusProto

from simprod_tf.serving.models.config import models_of
from simprod_tf.serving.models.models import Models
from simprod_tf.serving.rest.app import rest_app
from simprod_tf.serving.rest.server import RestServer
from simprod_tf.serving.server.limits import Limits
from simprod_tf.serving.server.metrics import DEFAULT_PATH, Metrics
from simprod_tf.serving.server.predict import Answer, Predictor
from simprod_tf.serving.status import ServingError

PREDICT = "/v1/models/shop:predict"
TINY = "/v1/models/tiny"
LIMIT = 10_000


def signature(inputs, outputs) -> SignatureDef:
    def infos(types):
        return {
            name: TensorInfo(dtype=kind.as_datatype_enum, name=f"{name}:0")
            for name, kind in types.items()
        }

    return SignatureDef(
        inputs=infos(inputs),
        outputs=infos(outputs),
        method_name="tensorflow/serving/predict",
    )


SIGNATURES = {
    "serving_default": signature({"x": tf.float32}, {"y": tf.float32}),
    "sum": signature(
        {"a": tf.float32, "b": tf.float32}, {"total": tf.float32, "left": tf.float32}
    ),
    "echo": signature({"text": tf.string}, {"text_bytes": tf.string}),
}


class OneModel:
    """`shop`, version 3, label `stable`."""

    def names(self):
        return ["shop"]

    @contextlib.contextmanager
    def lease(self, spec):
        if spec.version_label not in ("", "stable"):
            raise ServingError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Unrecognized servable version label: {spec.version_label}",
            )
        self._check(spec.name, spec.version.value if spec.HasField("version") else None)
        yield SimpleNamespace(signatures=SIGNATURES)

    def status(self, name, version):
        self._check(name, version)
        return [
            ModelVersionStatus(
                version=3,
                state=ModelVersionStatus.AVAILABLE,
                status=StatusProto(error_code=0),
            )
        ]

    def _check(self, name, version):
        if name != "shop" or version not in (None, 3):
            raise ServingError(
                grpc.StatusCode.NOT_FOUND,
                f"Servable not found for request: Latest({name})",
            )


class Arithmetic:
    """Answers x / 2 + 2, sums, echoes; waits or fails where a test says so."""

    def __init__(self, models) -> None:
        self.models, self.error = models, None
        self.entered, self.go_on = threading.Semaphore(0), threading.Event()
        self.go_on.set()
        self.timeouts: list[float] = []

    def run(self, spec, inputs, *, timeout):
        self.timeouts.append(timeout)
        self.entered.release()
        self.go_on.wait()
        if self.error is not None:
            raise self.error
        with self.models.lease(spec):
            if "x" in inputs:
                outputs = {"y": inputs["x"] / 2 + np.float32(2)}
            elif "text" in inputs:
                outputs = {"text_bytes": inputs["text"]}
            else:
                a, b = inputs["a"], inputs["b"]
                outputs = {"total": a + b, "left": a - b}
            return Answer(model_pb2.ModelSpec(name=spec.name), outputs)

    def metadata(self, request):
        assert list(request.metadata_field) == ["signature_def"]
        with self.models.lease(request.model_spec):
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = "shop"
            response.model_spec.version.value = 3
            response.metadata["signature_def"].Pack(
                get_model_metadata_pb2.SignatureDefMap(signature_def=SIGNATURES)
            )
            return response


def own_error(request):
    raise ServingError(grpc.StatusCode.NOT_FOUND, "no product of this id")


async def own_body(request):
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture(scope="module")
def predictor():
    return Arithmetic(OneModel())


@pytest.fixture(scope="module")
def metrics():
    return Metrics()


@pytest.fixture(scope="module")
def port(predictor, metrics):
    metrics.watch_models(predictor.models)
    app = rest_app(
        predictor,
        predictor.models,
        metrics=metrics,
        metrics_path=DEFAULT_PATH,
        routes=[
            Route("/simprod/error", own_error),
            Route("/simprod/body", own_body, methods=["POST"]),
        ],
        timeout=30.0,
        max_body_bytes=LIMIT,
    )
    server = RestServer(app)
    server.start()
    yield server.port
    server.close()


@pytest.fixture(scope="module")
def client(port):
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        yield client


@pytest.fixture(autouse=True)
def calm(predictor):
    yield
    predictor.error = None
    predictor.go_on.set()
    while predictor.entered.acquire(blocking=False):
        pass


def error_of(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    return body["error"]


def test_rows_are_answered_by_predictions(client):
    response = client.post(PREDICT, json={"instances": [1.0, 3.0, -4.0]})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"predictions": [2.5, 3.5, 0.0]}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/shop/versions/3:predict",
        "/v1/models/shop/labels/stable:predict",
        "/V1/MODELS/shop:PREDICT",
        "/v1/models/sh%6Fp:predict",
    ],
)
def test_columns_are_answered_by_outputs(client, path):
    body = {"signature_name": "sum", "inputs": {"a": [[5, 6]], "b": [[1, 2]]}}
    assert client.post(path, json=body).json() == {
        "outputs": {"left": [[4.0, 4.0]], "total": [[6.0, 8.0]]}
    }


def test_bytes_go_in_and_out_as_base64_whatever_the_content_type(client):
    body = '{"signature_name": "echo", "inputs": {"b64": "AP8="}}'
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = client.post(PREDICT, content=body, headers=headers)
    assert response.json() == {"outputs": {"b64": "AP8="}}


def test_nan_and_infinity_stand_as_tokens(client):
    response = client.post(PREDICT, content='{"instances": [NaN, Infinity]}')
    assert response.text == '{"predictions": [NaN, Infinity]}'


def test_status_gives_the_version_as_a_text(client):
    for path in ("/v1/models/shop", "/v1/models/shop/versions/3"):
        assert client.get(path).json() == {
            "model_version_status": [
                {
                    "version": "3",
                    "state": "AVAILABLE",
                    "status": {"error_code": "OK", "error_message": ""},
                }
            ]
        }


def test_metadata_gives_every_signature(client):
    body = client.get("/v1/models/shop/metadata").json()
    assert body["model_spec"] == {"name": "shop", "signature_name": "", "version": "3"}
    signatures = body["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "sum", "echo"}
    assert signatures["sum"]["inputs"]["a"]["dtype"] == "DT_FLOAT"
    assert signatures["sum"]["method_name"] == "tensorflow/serving/predict"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", "/v1/models/no:predict", "{}", 404, "Servable not found for request"),
        ("POST", "/v1/models/no:predict", "{", 400, "JSON Parse error"),
        ("GET", "/v1/models/no", None, 404, "Servable not found for request"),
        ("GET", "/v1/models/no/metadata", None, 404, "Servable not found"),
        ("POST", PREDICT, "", 400, "JSON Parse error: The document is empty"),
        ("POST", PREDICT, "{}", 400, "Missing 'inputs' or 'instances' key"),
        ("POST", PREDICT, b"\xff", 400, "the body is not UTF-8"),
        ("POST", PREDICT, '{"instances": ["\\ud800"]}', 400, "not of expected type"),
        (
            "POST",
            PREDICT,
            '{"\\ud800": 1, "inputs": {"\\ud800": 1}}',
            400,
            "Missing na",
        ),
        (
            "POST",
            PREDICT,
            '{"signature_name": "no", "instances": [1]}',
            400,
            'Serving signature name: "no" not found in signature def',
        ),
        (
            "POST",
            "/v1/models/shop/labels/no:predict",
            '{"instances": [1]}',
            400,
            "Unrecognized servable version label: no",
        ),
        ("POST", "/v1/models/shop:classify", "{}", 501, "does not classify"),
        ("POST", "/v1/models/shop:Regress", "{}", 501, "does not regress"),
        ("GET", PREDICT, None, 400, f"Malformed request: GET {PREDICT}"),
        ("PUT", PREDICT, "{}", 400, f"Malformed request: PUT {PREDICT}"),
        ("DELETE", "/v1/x", None, 400, "Malformed request: DELETE /v1/x"),
        ("OPTIONS", "/v1/models/shop", None, 400, "Malformed request: OPTIONS"),
        ("GET", "/", None, 404, "Nothing is at GET /."),
        ("GET", f"{DEFAULT_PATH}/", None, 404, "Nothing is at GET /monitoring"),
        ("GET", "/simprod/error", None, 404, "no product of this id"),
        ("GET", "/simprod/body", None, 404, "Nothing is at GET /simprod/body."),
    ],
)
def test_what_cannot_be_answered_is_refused(client, method, path, body, status, text):
    assert text in error_of(client.request(method, path, content=body), status)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
        (grpc.StatusCode.UNAVAILABLE, 503),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504),
        (grpc.StatusCode.INTERNAL, 500),
    ],
)
def test_the_predictors_codes_have_tf_servings_numbers(client, predictor, code, status):
    predictor.error = ServingError(code, "as it is")
    response = client.post(PREDICT, json={"instances": [1]})
    assert error_of(response, status) == "as it is"


def test_a_bug_is_a_500_without_a_trace(client, predictor, caplog):
    predictor.error = ZeroDivisionError("secret")
    response = client.post(PREDICT, json={"instances": [1]})
    assert error_of(response, 500) == "The server failed; its log says why."
    # And the server lives on; by now it has written its log, too.
    predictor.error = None
    assert client.post(PREDICT, json={"instances": [0]}).status_code == 200
    assert "ZeroDivisionError: secret" in caplog.text


def test_requests_run_beside_each_other_and_status_beside_them(client, predictor, port):
    predictor.go_on.clear()
    url = f"http://127.0.0.1:{port}{PREDICT}"
    with ThreadPoolExecutor(4) as pool:
        answers = [
            pool.submit(httpx.post, url, json={"instances": [n]}, timeout=20)
            for n in range(4)
        ]
        for _ in answers:
            assert predictor.entered.acquire(timeout=20)
        assert client.get("/v1/models/shop").status_code == 200
        predictor.go_on.set()
        found = [answer.result().json()["predictions"] for answer in answers]
    assert found == [[2.0], [2.5], [3.0], [3.5]]


def test_the_predictor_is_told_what_is_left_of_the_time(client, predictor):
    client.post(PREDICT, json={"instances": [1]})
    assert 0 < predictor.timeouts[-1] < 30


def test_bodies_above_the_limit_are_413_and_the_connection_is_kept(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for path in (PREDICT, "/simprod/body"):
        connection.request("POST", path, body=b"0" * (LIMIT + 1))
        response = connection.getresponse()
        assert response.status == 413
        assert f"larger than {LIMIT} bytes" in json.loads(response.read())["error"]
    connection.request("POST", "/simprod/body", body=b"0" * LIMIT)
    assert connection.getresponse().read() == str(LIMIT).encode()
    connection.close()


def test_a_body_without_a_length_is_refused_once_too_much_has_come(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    chunks = (b"0" * 3000 for _ in range(6))
    connection.request("POST", PREDICT, body=chunks, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_gzip_is_taken_up_to_the_limit(client):
    def post(body: bytes) -> httpx.Response:
        headers = {"Content-Encoding": "gzip"}
        return client.post(PREDICT, content=gzip.compress(body), headers=headers)

    assert post(b'{"instances": [1]}').json() == {"predictions": [2.5]}
    assert "once inflated" in error_of(post(b"0" * (LIMIT + 1)), 413)


def test_a_client_that_goes_away_breaks_nothing(client, port, predictor):
    with socket.create_connection(("127.0.0.1", port)) as half:
        half.sendall(f"POST {PREDICT} HTTP/1.1\r\nContent-Length: 9\r\n\r\n{{".encode())
    assert client.post(PREDICT, json={"instances": [0]}).status_code == 200


def test_the_metrics_page_counts_what_was_asked(client):
    count = ':tensorflow:serving:request_count{model_name="shop",status="OK"}'

    def counted() -> float:
        page = client.get(DEFAULT_PATH)
        assert page.headers["content-type"].startswith("text/plain")
        lines = dict(line.rsplit(" ", 1) for line in page.text.splitlines())
        return float(lines.get(count, 0))

    before = counted()
    client.post(PREDICT, json={"instances": [1]})
    client.post("/v1/models/guess:predict", json={"instances": [1]})
    assert counted() == before + 1
    assert "guess" not in client.get(DEFAULT_PATH).text


def ask(app, method: str, path: str, **kwargs) -> httpx.Response:
    """Returns what an app answers, without a port."""

    async def request():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://t"
        ) as client:
            return await client.request(method, path, **kwargs)

    return asyncio.run(request())


def test_without_a_path_there_is_no_metrics_page(predictor):
    app = rest_app(predictor, predictor.models, metrics=Metrics())
    assert "Nothing is at GET" in error_of(ask(app, "GET", DEFAULT_PATH), 404)


def test_other_origins_may_ask_only_where_it_is_enabled(predictor):
    origin = {"Origin": "http://shop.example"}
    asked = {**origin, "Access-Control-Request-Method": "POST"}
    app = rest_app(predictor, predictor.models, metrics=Metrics())
    answer = ask(app, "GET", "/v1/models/shop", headers=origin)
    assert "access-control-allow-origin" not in answer.headers
    app = rest_app(predictor, predictor.models, metrics=Metrics(), enable_cors=True)
    allowed = ask(app, "OPTIONS", PREDICT, headers=asked)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-methods"] == "POST, GET"
    for content in ('{"instances": [1]}', "bad"):
        answer = ask(app, "POST", PREDICT, content=content, headers=origin)
        assert answer.headers["access-control-allow-origin"] == "*"


def test_a_body_that_does_not_come_is_504(predictor):
    app = rest_app(predictor, predictor.models, metrics=Metrics(), timeout=0.05)
    server = RestServer(app)
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest("POST", PREDICT)
    connection.putheader("Content-Length", "2")
    connection.endheaders(b"{")
    response = connection.getresponse()
    assert response.status == 504
    assert "did not come within 0.05 seconds" in response.read().decode()
    connection.close()
    server.close()


def test_closing_waits_for_what_runs(predictor):
    server = RestServer(rest_app(predictor, predictor.models, metrics=Metrics()))
    server.start()
    predictor.go_on.clear()
    url = f"http://127.0.0.1:{server.port}{PREDICT}"
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(httpx.post, url, json={"instances": [1]}, timeout=20)
        assert predictor.entered.acquire(timeout=20)
        closed = pool.submit(server.close, 20)
        with pytest.raises(futures.TimeoutError):
            closed.result(timeout=0.2)
        predictor.go_on.set()
        closed.result(timeout=20)
        assert answer.result().json() == {"predictions": [2.5]}
    with pytest.raises(httpx.ConnectError):
        httpx.post(url, json={"instances": [1]})


def test_a_bound_port_is_taken_and_refuses_connections_until_the_start():
    server = RestServer(lambda *_: None)
    server.bind()
    try:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", server.port))
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(("127.0.0.1", server.port))
    finally:
        server.close()
    socket.create_server(("127.0.0.1", server.port)).close()


def test_two_that_bound_one_port_cannot_both_listen():
    first = RestServer(lambda *_: None)
    first.bind()
    second = RestServer(lambda *_: None, port=first.port)
    second.bind()
    first.start()
    try:
        with pytest.raises(ServingError, match="REST cannot listen on"):
            second.start()
    finally:
        second.close()
        first.close()


def test_a_taken_port_is_told_with_the_way_out(port, predictor):
    server = RestServer(lambda *_: None, port=port)
    with pytest.raises(ValueError, match="no port before start"):
        server.port  # noqa: B018
    with pytest.raises(ServingError, match=f"REST cannot listen on 127.0.0.1:{port}"):
        server.start()


@pytest.fixture(scope="module")
def tiny(tiny_model, tmp_path_factory):
    """A real model behind REST, one request at a time: predictor and client."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_model(folder, 7)
    models = Models(models_of({"tiny": folder}))
    models.start()
    predictor = Predictor(models, limits=Limits(concurrency=1, queue=0))
    app = rest_app(predictor, models, metrics=Metrics(), threads=2)
    server = RestServer(app)
    server.start()
    url = f"http://127.0.0.1:{server.port}"
    with httpx.Client(base_url=url, timeout=20) as client:
        yield predictor, client
    server.close()
    predictor.close()
    models.close()


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"instances": [1, 2]}, {"predictions": [2.5, 3.0]}),
        ({"inputs": {"x": []}}, {"outputs": []}),
        (
            {"signature_name": "sum", "instances": [{"a": 5, "b": 3}]},
            {"predictions": [{"difference": 2.0, "total": 8.0}]},
        ),
        (
            {"signature_name": "echo", "instances": [{"b64": "w6k="}]},
            {"predictions": [{"text": "é", "text_bytes": {"b64": "w6k="}}]},
        ),
        (
            {"signature_name": "matmul", "inputs": [[1, 2, 3], [0, 0, 1]]},
            {"outputs": [[4.0, 5.0], [1.0, 1.0]]},
        ),
        ({"signature_name": "slow", "inputs": 3}, {"outputs": 3}),
    ],
    ids=["rows", "zero-batch", "named", "strings", "columns", "scalar"],
)
def test_a_real_model_answers_as_worked_by_hand(tiny, body, answer):
    response = tiny[1].post(f"{TINY}:predict", json=body)
    assert response.json() == answer and response.status_code == 200


def test_a_real_models_refusals_are_told(tiny):
    _, client = tiny
    wrong = {"signature_name": "matmul", "inputs": [[1, 2]]}
    response = client.post(f"{TINY}:predict", json=wrong)
    assert "Matrix size-incompatible" in error_of(response, 400)
    response = client.post(
        f"{TINY}:predict", json={"signature_name": "slow", "instances": [2]}
    )
    assert "must be a scalar" in error_of(response, 400)
    response = client.post(f"{TINY}/versions/9:predict", json={"instances": [2]})
    text = error_of(response, 404)
    assert text == "Servable not found for request: Specific(tiny, 9)"


def test_a_full_gate_is_429(tiny):
    predictor, client = tiny
    with predictor.gate.enter():
        response = client.post(f"{TINY}:predict", json={"instances": [1]})
        assert "try again later" in error_of(response, 429)
    assert client.post(f"{TINY}:predict", json={"instances": [1]}).status_code == 200


def test_a_real_models_status_and_metadata_are_pages(tiny):
    _, client = tiny
    assert client.get(TINY).json()["model_version_status"][0]["version"] == "7"
    assert client.get(f"{TINY}/versions/7").json() == client.get(TINY).json()
    assert "Could not find version 8" in error_of(client.get(f"{TINY}/versions/8"), 404)
    body = client.get(f"{TINY}/versions/7/metadata").json()
    assert body["model_spec"]["version"] == "7"
    signatures = body["metadata"]["signature_def"]["signature_def"]
    assert "__saved_model_init_op" in signatures
    shape = signatures["matmul"]["inputs"]["m"]["tensor_shape"]
    assert [size["size"] for size in shape["dim"]] == ["-1", "3"]


BODIES = st.binary(max_size=80) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["instances", "inputs", "signature_name", "b64", "x", "a"]),
            inner | st.sampled_from(["sum", "echo"]),
            max_size=3,
        )
    ),
    max_leaves=10,
).map(lambda value: json.dumps(value).encode())


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(BODIES)
def test_no_body_breaks_the_server(client, body):
    response = client.post(PREDICT, content=body)
    assert response.status_code in (200, 400), response.text
    assert ("error" in json.loads(response.content)) == (response.status_code == 400)
