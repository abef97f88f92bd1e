"""A server process under messages, bodies, paths and bytes that make no sense.

Whatever comes: the process lives, refuses with a code of its own and without a trace,
answers the next good request with the right numbers, and does not grow.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import httpx
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
)

from simprod_tf.index.exact import ExactIndex
from simprod_tf.index.versions import publish
from simprod_tf.serving.protos import similar_products_pb2 as pb

pytestmark = pytest.mark.slow

_spec = importlib.util.spec_from_file_location(
    "similar_process", Path(__file__).with_name("similar") / "similar_process.py"
)
shop = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(shop)

PREDICTION = "/tensorflow.serving.PredictionService"
MODELS = "/tensorflow.serving.ModelService"
SIMILAR = "/simprod.v1.SimilarProducts"
CONFIG = """
model_config_list {{
  config {{ name: "tiny" base_path: "{tiny}" model_platform: "tensorflow" }}
  config {{ name: "encoder" base_path: "{encoder}" model_platform: "tensorflow" }}
}}
"""
MONITORING = "prometheus_config { enable: true }"
METRICS = "/monitoring/prometheus/metrics"
PATIENCE_S = 60
FUZZ = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Served:
    """`simprod serve` in a process of its own, with two models and an index."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.is_warm = folder, False
        (folder / "models.config").write_text(
            CONFIG.format(tiny=folder / "tiny", encoder=folder / "encoder")
        )
        (folder / "monitoring.config").write_text(MONITORING)
        options = ["--model-config-file", folder / "models.config"]
        options += ["--monitoring-config-file", folder / "monitoring.config"]
        options += ["--index", folder / "index", "--index-model", "encoder"]
        options += ["--port", "0", "--rest-port", "0"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "simprod_tf", "serve", *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self.said: list[str] = []
        self._is_ready = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        assert self._is_ready.wait(PATIENCE_S)
        ports = re.findall(r"127\.0\.0\.1:(\d+)", self.told())
        assert len(ports) == 2, self.told()
        self.rest_port = int(ports[1])
        unlimited = [("grpc.max_receive_message_length", -1)]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{ports[0]}", options=unlimited)
        url = f"http://127.0.0.1:{self.rest_port}"
        self.rest = httpx.Client(base_url=url, timeout=PATIENCE_S)

    def _read(self) -> None:
        for line in self.process.stdout:
            self.said.append(line)
            if "Ctrl-C stops" in line:
                self._is_ready.set()
        self._is_ready.set()

    def told(self) -> str:
        """Returns what the process has written so far."""
        return "".join(self.said)

    def call(self, method: str, message: bytes) -> bytes:
        """Returns the response's bytes for a request's bytes."""
        return self.channel.unary_unary(method)(message, timeout=PATIENCE_S)

    def ask(self, method: str, request, answer):
        """Returns the response to a request that is right."""
        return answer.FromString(self.call(method, request.SerializeToString()))

    def megabytes(self) -> float:
        """Returns what the process holds in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024

    def close(self) -> None:
        self.channel.close()
        self.rest.close()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_S) == 0
        self._reader.join()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def served(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    tiny_model(folder / "tiny", 1)
    shop.save_encoder(folder / "encoder" / "1", "f1")
    vectors = np.eye(4, 5, dtype=np.float32)
    brands = {"Brand": ["good", "good", "acme", "acme"], "price": [1.0, 2, 3, 4]}
    index = ExactIndex.build(
        ["good picture", "good title", "p1", "p2"],
        vectors,
        encoder_fingerprint="f1",
        attributes=pa.table(brands),
    )
    publish(index, folder / "index")
    server = Served(folder)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def lives_on(served):
    """After each block all is as it was, but for the products that came and went."""
    before = served.megabytes()
    yield
    request = valid()["Reload"](served.folder)
    served.call(f"{MODELS}/HandleReloadConfigRequest", request.SerializeToString())
    good_answers(served)
    told = served.told()
    for sign in ("calling application", "in ASGI", "in thread", "never retrieved"):
        assert f"Exception {sign}" not in told, told[-3000:]
    assert served.process.poll() is None
    # At first it grows by the buffers of threads and allocators: by 10 %, measured.
    assert served.megabytes() < before * (1.05 if served.is_warm else 1.2)
    served.is_warm = True


def good_answers(served: Served) -> None:
    response = served.ask(
        f"{PREDICTION}/Predict", valid()["Predict"](), predict_pb2.PredictResponse
    )
    assert list(tf.make_ndarray(response.outputs["y"])) == [3.0, 4.5]
    answer = served.rest.post("/v1/models/tiny:predict", json={"inputs": [2, 5]})
    assert answer.json() == {"outputs": [3.0, 4.5]}
    status = served.rest.get("/v1/models/encoder").json()["model_version_status"]
    assert [one["state"] for one in status] == ["AVAILABLE"]
    # In the stand-in's space the query is the second unit vector.
    query = {"queries": [{"product": {"title": "x"}}], "where": "Brand = 'good'"}
    answer = served.rest.post("/simprod/v1/similar", json=query).json()
    assert answer["results"][0]["matches"] == [
        {"id": "good title", "distance": 0.0},
        {"id": "good picture", "distance": pytest.approx(2**0.5)},
    ]


def valid():
    """Requests that are right, each made anew, by the names of the blocks."""

    def predict(signature="serving_default", **inputs):
        made = predict_pb2.PredictRequest()
        made.model_spec.name = "tiny"
        made.model_spec.signature_name = signature
        for alias, values in (inputs or {"x": np.float32([2, 5])}).items():
            made.inputs[alias].CopyFrom(tf.make_tensor_proto(values))
        return made

    def metadata():
        made = get_model_metadata_pb2.GetModelMetadataRequest()
        made.model_spec.name = "tiny"
        made.metadata_field.append("signature_def")
        return made

    def status():
        made = get_model_status_pb2.GetModelStatusRequest()
        made.model_spec.name = "tiny"
        made.model_spec.version.value = 1
        return made

    def reload(folder=Path("/nowhere")):
        made = model_management_pb2.ReloadConfigRequest()
        for name in ("tiny", "encoder"):
            made.config.model_config_list.config.add(
                name=name, base_path=str(folder / name), model_platform="tensorflow"
            )
        return made

    def reload_in_full():
        made = reload()
        tiny, encoder = made.config.model_config_list.config
        encoder.ClearField("model_platform")
        encoder.model_type = 1
        tiny.model_version_policy.specific.versions.append(1)
        tiny.version_labels["stable"] = 1
        return made

    def product(title="x"):
        made = pb.Product(title=title, image_bytes=b"GIF8")
        made.attributes.update({"Brand": "acme", "price": 3})
        made.vectors["clip"].values.extend([1, 0])
        return made

    def query():
        one = pb.Query(product=product(), exclude_ids=["p2"])
        return pb.SimilarRequest(
            queries=[one, pb.Query(id="good title")], where="price < 5"
        )

    def add():
        new = pb.NewProduct(id="p3", product=product())
        vector = pb.Vector(values=[0, 0, 0, 0, 1])
        embedded = pb.NewProduct(id="p4", embedding=vector)
        return pb.AddRequest(fingerprint="f1", products=[new, embedded])

    return {
        "Predict": predict,
        "Sum": lambda: predict("sum", a=np.float32([1, 2]), b=np.float32([3, 4])),
        "Echo": lambda: predict("echo", text=np.array([b"a", b"\xff"], object)),
        "Matmul": lambda: predict("matmul", m=np.ones([2, 3], np.float32)),
        "Encoder": classification_pb2.ClassificationRequest,
        "Metadata": metadata,
        "Status": status,
        "Reload": reload,
        "Reload in full": reload_in_full,
        "Similar": query,
        "Add": add,
        "Remove": lambda: pb.RemoveRequest(ids=["p1", "p2"], allow_missing=True),
        "Served": lambda: pb.StatusRequest(fingerprint="f1"),
    }


METHODS = {
    "Predict": f"{PREDICTION}/Predict",
    "Sum": f"{PREDICTION}/Predict",
    "Echo": f"{PREDICTION}/Predict",
    "Matmul": f"{PREDICTION}/Predict",
    "Encoder": f"{PREDICTION}/Classify",
    "Metadata": f"{PREDICTION}/GetModelMetadata",
    "Status": f"{MODELS}/GetModelStatus",
    "Reload": f"{MODELS}/HandleReloadConfigRequest",
    "Reload in full": f"{MODELS}/HandleReloadConfigRequest",
    "Similar": f"{SIMILAR}/Similar",
    "Add": f"{SIMILAR}/Add",
    "Remove": f"{SIMILAR}/Remove",
    "Served": f"{SIMILAR}/Status",
}
REFUSALS = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "UNIMPLEMENTED",
    "RESOURCE_EXHAUSTED",
}
# What gRPC itself says of bytes that are no message; TensorFlow Serving of a signature
# that is none for Predict; and of a model that cannot be loaded.
OTHERS = {
    "INTERNAL": ("Exception deserializing request!", "signature method_name"),
    "UNKNOWN": ("model(s) did not become available",),
}
WORDS = (
    "tiny encoder 1 x a b y sum echo text matmul m total serving_default f1 p1 p2 p3 "
    "__saved_model_init_op signature_def tensorflow /nowhere / Brand price clip title "
    "embedding image_bytes brand serve predict stable canary id queries inputs"
).split()
CONDITIONS = [
    "price > 1",
    "price",
    "Brand LIKE '%'",
    "1=1;",
    "(",
    "price IN (SELECT 1)",
]
ODD_TEXTS = ["", "\0", "/\0", "\U0001f600" * 700, "x" * 5000, "/proc"]
texts = (
    st.sampled_from(WORDS)
    | st.sampled_from(CONDITIONS)
    | st.sampled_from(ODD_TEXTS)
    | st.text(max_size=6)
)
EDGES = [0, 1, 2, 3, 5, 7, 57, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
}
OTHER_VALUES = {
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
}


def values(field: FieldDescriptor):
    if field.cpp_type in INTEGERS:
        least, most = INTEGERS[field.cpp_type]
        known = {sign * edge for edge in EDGES for sign in (1, -1)}
        return st.sampled_from(sorted(n for n in known if least <= n <= most))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.sampled_from([b"bad", b"GIF8", b"a\0"]) | st.binary(max_size=12)
    return OTHER_VALUES.get(field.cpp_type, texts)


def fill(draw, message, *, depth=0):
    """Sets some fields of a message, and some of those within it, to anything."""
    for field in message.DESCRIPTOR.fields:
        if depth > 8 or not draw(st.integers(0, 2)) == 0:
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            fill_map(draw, message, field, depth=depth)
        elif field.label == FieldDescriptor.LABEL_REPEATED:
            listed = getattr(message, field.name)
            if field.message_type:
                for _ in range(draw(st.integers(1, 3))):
                    fill(draw, listed.add(), depth=depth + 1)
            else:
                listed.extend(draw(st.lists(values(field), min_size=1, max_size=3)))
        elif field.message_type:
            inner = getattr(message, field.name)
            inner.SetInParent()
            fill(draw, inner, depth=depth + 1)
        else:
            setattr(message, field.name, draw(values(field)))


def fill_map(draw, message, field, *, depth):
    entry = field.message_type.fields_by_name
    key = draw(values(entry["key"]))
    held = getattr(message, field.name)
    if entry["value"].message_type:
        fill(draw, held[key], depth=depth + 1)
    else:
        held[key] = draw(values(entry["value"]))


def nudge(draw, message):
    """Changes some of the values that a message has; what it consists of stays."""
    for field, held in message.ListFields():
        if field.message_type and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            for key in list(held):
                if value.message_type:
                    nudge(draw, held[key])
                elif is_chosen(draw):
                    held[key] = draw(values(value))
        elif field.label == FieldDescriptor.LABEL_REPEATED:
            for row, one in enumerate(held):
                if field.message_type:
                    nudge(draw, one)
                elif is_chosen(draw):
                    held[row] = draw(values(field))
        elif field.message_type:
            nudge(draw, held)
        elif is_chosen(draw):
            setattr(message, field.name, draw(values(field)))


def is_chosen(draw) -> bool:
    return draw(st.integers(0, 7)) == 0


@st.composite
def changed(draw, request, change):
    """The bytes of a request in which `change` has set fields to anything."""
    message = type(request).FromString(request.SerializeToString())
    change(draw, message)
    return message.SerializeToString()


@st.composite
def mutated(draw, right: bytes):
    """Bytes that differ from right ones in one to four places."""
    data = bytearray(right)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(1, 8))
        how = draw(st.sampled_from(["overwrite", "insert", "delete", "repeat", "cut"]))
        if how == "overwrite":
            data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif how == "delete":
            del data[at : at + size]
        elif how == "repeat":
            data[at:at] = data[at : at + size] * size
        else:
            del data[at:]
    return bytes(data)


@st.composite
def grpc_messages(draw, names):
    """A method's path, and bytes for it."""
    name = draw(st.sampled_from(names))
    request = valid()[name]()
    right = request.SerializeToString()
    kinds = [
        *[changed(request, nudge)] * 3,
        changed(request, fill),
        changed(type(request)(), fill),
        mutated(right),
        st.binary(max_size=80),
    ]
    return METHODS[name], draw(draw(st.sampled_from(kinds)))


def send(served: Served, method: str, message: bytes) -> None:
    try:
        served.call(method, message)
    except grpc.RpcError as error:
        code, text = error.code().name, error.details()
        expected = any(known in text for known in OTHERS.get(code, ()))
        assert code in REFUSALS or expected, (code, text)
        assert "Traceback" not in text
        assert "metadata size" not in text


@settings(FUZZ, max_examples=500)
@given(call=grpc_messages(["Predict", "Sum", "Echo", "Matmul"]))
def test_no_predict_breaks_the_server(served, call):
    send(served, *call)


@settings(FUZZ, max_examples=200)
@given(call=grpc_messages(["Metadata", "Status", "Encoder"]))
def test_no_question_about_models_breaks_the_server(served, call):
    send(served, *call)


@settings(FUZZ, max_examples=150)
@given(call=grpc_messages(["Reload", "Reload in full"]))
def test_no_configuration_breaks_the_server(served, call):
    send(served, *call)


@settings(FUZZ, max_examples=300)
@given(call=grpc_messages(["Similar", "Add", "Remove", "Served"]))
def test_no_message_about_products_breaks_the_server(served, call):
    send(served, *call)


PATHS = {
    "/v1/models/tiny:predict": [
        {"instances": [1, 2]},
        {"inputs": {"x": [1, 2]}},
        {"signature_name": "sum", "instances": [{"a": 5, "b": 3}]},
        {"signature_name": "echo", "inputs": {"text": [{"b64": "AP8="}, "a"]}},
        {"signature_name": "matmul", "inputs": [[1, 2, 3], [0, 0, 1]]},
    ],
    "/simprod/v1/similar": [
        {"queries": [{"id": "good title"}], "k": 2, "where": "price < 5"},
        {"queries": [{"product": {"title": "x", "attributes": {"price": 2}}}]},
        {"fingerprint": "f1", "queries": [{"embedding": {"values": [1, 0, 0, 0, 0]}}]},
    ],
    "/simprod/v1/add": [
        {"products": [{"id": "p3", "product": {"title": "x", "image_bytes": "AA=="}}]},
    ],
    "/simprod/v1/remove": [{"ids": ["p3"], "allow_missing": True}],
}
KEYS = st.sampled_from(
    [
        *(
            "instances inputs signature_name b64 x a b text m queries id product"
        ).split(),
        *("title image_bytes attributes price Brand vectors clip values k").split(),
        *("where ids exclude_ids max_distance only_similar products embedding").split(),
        *("fingerprint allow_missing").split(),
    ]
)
NUMBERS = st.sampled_from([*EDGES, -1, -(2**63), 10**40, 0.1]) | st.floats()
LEAVES = st.none() | st.booleans() | NUMBERS | texts
ANY_JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def altered(draw, value):
    """A right value, with one to three of the values within it replaced by any."""
    root = {"": json.loads(json.dumps(value))}
    for _ in range(draw(st.integers(1, 3))):
        parent, key = root, ""
        while isinstance(parent[key], (dict, list)) and parent[key]:
            if draw(st.integers(0, 3)) == 0:
                break
            parent = parent[key]
            keys = list(parent) if isinstance(parent, dict) else range(len(parent))
            key = draw(st.sampled_from(list(keys)))
        parent[key] = draw(st.one_of(ANY_JSON, *[near(parent[key])] * 3))
    return root[""]


def near(value):
    """Values of the same kind as a value."""
    if isinstance(value, dict):
        keys = st.sampled_from([*value, ""])
        return keys.map(lambda left: {k: v for k, v in value.items() if k != left})
    if isinstance(value, list):
        return st.sampled_from([[], value[:1], value * 2, [value]])
    return texts if isinstance(value, str) else NUMBERS


@st.composite
def rest_bodies(draw, start):
    """A path, and a body for it."""
    path = draw(st.sampled_from([path for path in PATHS if path.startswith(start)]))
    right = draw(st.sampled_from(PATHS[path]))
    kinds = [
        altered(right).map(lambda value: json.dumps(value).encode()),
        ANY_JSON.map(lambda value: json.dumps(value).encode()),
        mutated(json.dumps(right).encode()),
        st.binary(max_size=60),
        st.integers(1, 3000).map(lambda depth: b'{"inputs": ' + b"[" * depth),
        st.integers(1, 900).map(
            lambda depth: b'{"inputs": ' + b"[" * depth + b"]" * depth + b"}"
        ),
    ]
    return path, draw(st.one_of(*kinds[:1] * 3, *kinds))


def check(response: httpx.Response) -> None:
    assert response.status_code in (200, 400, 404, 501), response.text
    assert "Traceback" not in response.text
    if response.headers["content-type"] == "application/json":
        # NaN stands as a token, which Python reads too.
        assert ("error" in response.json()) == (response.status_code != 200)


@settings(FUZZ, max_examples=600)
@given(call=rest_bodies("/v1"), is_zipped=st.integers(0, 9).map(lambda n: n == 0))
def test_no_body_breaks_prediction(served, call, is_zipped):
    path, body = call
    headers = {"Content-Encoding": "gzip"} if is_zipped else {}
    check(
        served.rest.post(
            path, content=gzip.compress(body) if is_zipped else body, headers=headers
        )
    )


@settings(FUZZ, max_examples=400)
@given(call=rest_bodies("/simprod"))
def test_no_body_breaks_similar_products(served, call):
    path, body = call
    check(served.rest.post(path, content=body))


ODD = "/:%?#[]@!$&'()*+,;=. \t\0\x7f\xe9\u20ac\U0001f600"
PARTS = (
    "/v1 /models /tiny /versions /1 /labels /stable :predict /metadata :classify "
    f"/simprod/v1 /status ?fingerprint= %00 %ff %2F {METRICS}"
).split()


def at_the_port(served: Served, sent: bytes) -> bytes:
    """Returns all that comes back for bytes, once their sending has ended."""
    address = ("127.0.0.1", served.rest_port)
    answered = b""
    with socket.create_connection(address, timeout=PATIENCE_S) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        # An answer may come before all was read; then the rest is refused.
        with contextlib.suppress(ConnectionError):
            while more := connection.recv(65536):
                answered += more
    assert b"Traceback" not in answered
    assert not answered.startswith(b"HTTP/1.1 5") or b" 501 " in answered[:20]
    return answered


@settings(FUZZ, max_examples=150)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "get"]),
    parts=st.lists(st.sampled_from(PARTS) | st.text(ODD, max_size=4), max_size=7),
)
def test_no_path_breaks_the_server(served, method, parts):
    line = f"{method} /{''.join(parts).lstrip('/')} HTTP/1.1\r\nHost: a\r\n\r\n"
    assert at_the_port(served, line.encode()).startswith(b"HTTP/1.1 ")


@settings(FUZZ, max_examples=100)
@given(
    sent=st.binary(max_size=60)
    | mutated(
        b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\n"
        b'Content-Encoding: gzip\r\n\r\n{"instances": [1]}'
    )
)
def test_no_bytes_at_the_port_break_the_server(served, sent):
    at_the_port(served, sent)
