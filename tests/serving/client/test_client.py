"""Client and AsyncClient: the same answers and errors, against a service made here."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import threading
from collections import deque
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from simprod_tf.data.catalog import Product
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import InputError, ModelError, SimprodError
from simprod_tf.serving import AsyncClient, Client
from simprod_tf.serving.client.error import (
    DeadlineError,
    NotFoundError,
    UnavailableError,
    VersionChangedError,
)
from simprod_tf.serving.status import ServingError

_spec = importlib.util.spec_from_file_location(
    "client_awaited", Path(__file__).with_name("client_awaited.py")
)
client_awaited = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(client_awaited)

STATE = get_model_status_pb2.ModelVersionStatus


class FakeEncoder(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """An encoder whose embedding tells what arrived.

    It is the length of the picture, that of the title, that of the brand, the price,
    the two numbers of `clip`, and the version. A picture b"bad" is not valid.
    """

    def __init__(self):
        self.version = 1
        self.states = [(1, STATE.AVAILABLE, "")]
        self.refusals = deque()
        self.predicts = []
        self.before_answer = lambda: None
        self.change_answer = lambda response: None
        self.answers = self.what_arrived
        self.tell = self.signatures
        self.released = threading.Event()
        self.cancelled = threading.Event()

    def refuse(self, *codes, text="no"):
        self.refusals.extend((code, text) for code in codes)

    def Predict(self, request, context):  # noqa: N802
        self.predicts.append(request)
        if self.refusals:
            context.abort(*self.refusals.popleft())
        self.before_answer()
        inputs = {name: tf.make_ndarray(one) for name, one in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(request.model_spec)
        response.model_spec.version.value = self.version
        for name, array in self.answers(inputs).items():
            response.outputs[name].CopyFrom(array)
        self.change_answer(response)
        return response

    def what_arrived(self, inputs):
        columns = [lengths(inputs[name]) for name in ("image_bytes", "title", "brand")]
        columns += [inputs["price"], *inputs["clip"].T]
        columns.append(np.full(len(inputs["title"]), self.version))
        valid = inputs["image_bytes"] != b"bad"
        return {
            "embedding": tensor(np.stack(columns, axis=1).astype(np.float32)),
            "valid": tensor(valid),
            "fault": tensor(np.where(valid, b"", b"of an unknown format")),
        }

    def GetModelMetadata(self, request, context):  # noqa: N802
        return self.tell(request, context)

    def signatures(self, request, context):
        if self.states[0][1] != STATE.AVAILABLE:
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                "Servable not found for request: Latest(shop)",
            )
        signature = tf.compat.v1.saved_model.build_signature_def(
            {
                "image_bytes": info(tf.string, [None]),
                "title": info(tf.string, [None]),
                "brand": info(tf.string, [None]),
                "price": info(tf.float32, [None]),
                "clip": info(tf.float32, [None, 2]),
            },
            {"embedding": info(tf.float32, [None, 7])},
            "tensorflow/serving/predict",
        )
        signatures = get_model_metadata_pb2.SignatureDefMap()
        signatures.signature_def["serving_default"].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = self.version
        response.metadata["signature_def"].Pack(signatures)
        return response

    def GetModelStatus(self, request, context):  # noqa: N802
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, state, error in self.states:
            one = response.model_version_status.add(version=version, state=state)
            one.status.error_message = error
        return response


def info(dtype, shape):
    return TensorInfo(
        dtype=dtype.as_datatype_enum, tensor_shape=tf.TensorShape(shape).as_proto()
    )


def tensor(array):
    return tf.make_tensor_proto(array)


def lengths(texts):
    return np.array([len(one) for one in texts])


@pytest.fixture(scope="module")
def served():
    """The fake and its address; its answers are per test, see `fake`."""
    fake = FakeEncoder()
    server = grpc.server(
        futures.ThreadPoolExecutor(8),
        options=[
            ("grpc.max_receive_message_length", 15 << 20),
            ("grpc.max_send_message_length", -1),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(fake, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield fake, f"127.0.0.1:{port}"
    fake.released.set()
    server.stop(None).wait()


@pytest.fixture
def fake(served):
    served[0].__init__()
    yield served[0]
    served[0].released.set()


@pytest.fixture(params=[Client, client_awaited.Awaited], ids=["sync", "asyncio"])
def connect(request, served):
    """A function that makes a client of either kind, of the fake unless told."""
    made = []

    def make(address=served[1], **options):
        made.append(request.param(address, **{"model": "shop", **options}))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def pictures(tmp_path, make_picture):
    paths = [tmp_path / f"{seed}.jpg" for seed in range(3)]
    for seed, path in enumerate(paths):
        make_picture(seed, size=(40 + 10 * seed, 30)).save(path)
    return paths


def titled(count):
    return [Product(str(row), "t" * row) for row in range(count)]


def test_what_arrives_is_what_the_products_hold(fake, connect, pictures):
    products = [
        Product("a", "mug", str(pictures[0]), attributes={"Brand": "ac", "Price": "5"}),
        Product("b", "Tässe", attributes={"Brand": "é", "colour": "red"}),
        Product("c", "", str(pictures[2])),
    ]
    clip = VectorTable("clip", ["c", "a"], np.array([[3, 4], [1, 2]], np.float32))
    found = connect().encode(products, tables={"clip": clip})
    sizes = [path.stat().st_size for path in pictures]
    nan = np.nan
    expected = [
        [sizes[0], 3, 2, 5, 1, 2, 1],
        [0, 6, 2, nan, 0, 0, 1],
        [sizes[2], 0, 0, nan, 3, 4, 1],
    ]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


def test_chunks_come_back_in_order_and_progress_is_told(fake, connect):
    calls = []
    found = connect(chunk=4, in_flight=3).encode(
        titled(21), progress=lambda done, total: calls.append((done, total))
    )
    assert found[:, 1].tolist() == list(range(21))
    assert calls == [(4, 21), (8, 21), (12, 21), (16, 21), (20, 21), (21, 21)]
    sizes = [one.inputs["title"].tensor_shape.dim[0].size for one in fake.predicts]
    assert sorted(sizes) == [1, 4, 4, 4, 4, 4]


def test_a_call_may_say_its_own_batch_size(fake, connect):
    connect(chunk=4).encode(titled(6), batch_size=6)
    assert len(fake.predicts) == 1


def test_no_more_requests_are_under_way_than_told(fake, connect):
    lock, gate = threading.Lock(), threading.Event()
    under_way, most = [], []

    def wait():
        with lock:
            under_way.append(1)
            most.append(len(under_way))
            if len(under_way) == 2:
                gate.set()
        gate.wait(5)
        with lock:
            under_way.pop()

    fake.before_answer = wait
    connect(chunk=1, in_flight=2).encode(titled(9))
    assert max(most) == 2


def test_no_product_gives_no_embedding_and_asks_nothing(fake, connect):
    assert connect().encode([]).shape == (0, 7)
    assert fake.predicts == []


def test_the_length_of_embeddings_is_that_of_the_signature(fake, connect):
    assert connect().dim == 7


def test_large_pictures_go_in_smaller_requests(fake, connect, tmp_path):
    path = tmp_path / "large.jpg"
    # TensorFlow does not look at it here; read_pictures sees a JPEG's first bytes.
    path.write_bytes(b"\xff\xd8\xff" + bytes(7 << 20))
    found = connect().encode([Product(str(row), "", str(path)) for row in range(5)])
    assert (found[:, 0] == (7 << 20) + 3).all()
    rows = [one.inputs["title"].tensor_shape.dim[0].size for one in fake.predicts]
    assert sorted(rows) == [1, 2, 2]


def test_a_bad_picture_is_named(fake, connect, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "simprod_tf.serving.client.encoder.read_pictures", lambda paths: [b"bad"]
    )
    with pytest.raises(InputError, match="mug.jpg: the picture cannot be decoded: of"):
        connect().encode([Product("a", "", "mug.jpg")])


def test_a_missing_picture_is_named_and_what_was_sent_is_given_up(fake, connect):
    products = [*titled(2), Product("c", "", "no-such.jpg")]
    with pytest.raises(InputError, match="no-such.jpg: the picture cannot be read"):
        connect(chunk=1).encode(products)


def test_an_attribute_that_is_no_number_is_refused(fake, connect):
    product = Product("a", attributes={"Price": "five"})
    with pytest.raises(SimprodError, match="price must be a number, got 'five'"):
        connect().encode([product])


def test_two_attributes_for_one_input_are_refused(fake, connect):
    product = Product("a", attributes={"Brand": "acme", "brand": "bolt"})
    with pytest.raises(SimprodError, match="both the encoder's input 'brand'"):
        connect().encode([product])


def test_a_model_that_is_replaced_meanwhile_gives_embeddings_of_one_version(
    fake, connect
):
    def replace():
        if len(fake.predicts) == 3:
            fake.version = 2

    fake.before_answer = replace
    found = connect(chunk=2, in_flight=2).encode(titled(12))
    assert (found[:, 6] == 2).all()
    assert found[:, 1].tolist() == list(range(12))


def test_servers_of_different_versions_behind_one_address_are_told(fake, connect):
    def alternate(response):
        response.model_spec.version.value = 1 + len(fake.predicts) % 2

    fake.change_answer = alternate
    with pytest.raises(VersionChangedError, match="versions 1 and 2 of the model") as e:
        connect(chunk=1, in_flight=1).encode(titled(3))
    assert e.value.code == grpc.StatusCode.ABORTED


def test_what_is_unavailable_is_tried_again(fake, connect):
    fake.refuse(*[grpc.StatusCode.UNAVAILABLE] * 2)
    assert len(connect().encode(titled(1))) == 1
    assert len(fake.predicts) == 3


def test_a_large_request_is_tried_again_too(fake, connect):
    fake.refuse(grpc.StatusCode.UNAVAILABLE)
    request = {"title": np.array([b"x" * (2 << 20)], object)}
    fake.answers = lambda inputs: {"size": tensor(lengths(inputs["title"]))}
    assert connect().predict(request).outputs["size"] == [2 << 20]
    assert len(fake.predicts) == 2


def test_attempts_end(fake, connect):
    fake.refuse(*[grpc.StatusCode.UNAVAILABLE] * 9, text="busy")
    with pytest.raises(UnavailableError, match=r"not available \(busy\): it starts"):
        connect(attempts=2).encode(titled(1))
    assert len(fake.predicts) == 2


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.FAILED_PRECONDITION,
    ],
)
def test_what_is_refused_is_not_tried_again(fake, connect, code):
    fake.refuse(code, text="the server's own words")
    with pytest.raises(ServingError, match="the server's own words") as caught:
        connect().encode(titled(1))
    assert caught.value.code == code
    assert len(fake.predicts) == 1


def test_every_call_has_a_deadline(fake, connect):
    fake.before_answer = lambda: fake.released.wait(10)
    with pytest.raises(DeadlineError, match=r"within 0.2 s .*raise `timeout`"):
        connect(timeout=0.2).encode(titled(1))


def test_an_unknown_model_is_told_with_the_way_out(fake, connect):
    fake.refuse(grpc.StatusCode.NOT_FOUND, text="Servable not found for request: x")
    with pytest.raises(NotFoundError, match=r"request: x\): `status\(\)` tells"):
        connect().encode(titled(1))


def test_where_nothing_listens_it_says_so(connect):
    with pytest.raises(UnavailableError, match="nothing listens there: start a server"):
        connect("127.0.0.1:1", attempts=1).encode(titled(1))


def test_answers_above_grpcs_usual_4_mb_are_read(fake, connect):
    fake.answers = lambda inputs: {"y": tensor(np.ones([2, 1 << 20], np.float32))}
    assert connect().predict({"x": [1.0]}).outputs["y"].sum() == 2 << 20
    with pytest.raises(ServingError, match="raise `max_message_bytes`"):
        connect(max_message_bytes=1 << 20).predict({"x": [1.0]})


def test_requests_above_the_servers_limit_are_told(fake, connect):
    request = {"title": np.array([b"x" * (16 << 20)], object)}
    with pytest.raises(ServingError, match=r"the server's limit; send fewer") as caught:
        connect().predict(request)
    assert caught.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_both_forms_of_a_tensor_are_read(fake, connect):
    def value_by_value(response):
        one = response.outputs["embedding"]
        one.float_val.extend(np.frombuffer(one.tensor_content, np.float32))
        one.ClearField("tensor_content")

    packed = connect().encode(titled(3))
    fake.change_answer = value_by_value
    assert (connect().encode(titled(3))[:, 6] == packed[:, 6]).all()
    assert fake.predicts[-1].inputs["title"].tensor_shape.dim[0].size == 3


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.ones([1, 6], np.float32), r"float32 \[1, 7\] .*, got float32 \[1, 6\]"),
        (np.ones([2, 7], np.float32), r"got float32 \[2, 7\]"),
        (np.ones([1, 7]), r"got float64 \[1, 7\]"),
    ],
)
def test_an_answer_of_another_shape_is_refused(fake, connect, array, told):
    fake.change_answer = lambda r: r.outputs["embedding"].CopyFrom(tensor(array))
    with pytest.raises(ModelError, match=told):
        connect().encode(titled(1))


def test_a_malformed_tensor_is_refused(fake, connect):
    def cut(response):
        response.outputs["embedding"].tensor_content = b"abc"

    fake.change_answer = cut
    with pytest.raises(ModelError, match=r"answer cannot be read: .*got 3"):
        connect().encode(titled(1))


def test_a_tensor_that_claims_more_than_memory_holds_is_refused(fake, connect):
    def claim(response):
        one = response.outputs["embedding"]
        one.ClearField("tensor_content")
        one.float_val.append(1.0)
        one.tensor_shape.dim[0].size = 1 << 30

    fake.change_answer = claim
    with pytest.raises(ModelError, match="takes more than 268435456 bytes"):
        connect().encode(titled(1))


def test_a_model_that_is_no_encoder_is_told(fake, connect):
    def no_encoder(request, context):
        signatures = get_model_metadata_pb2.SignatureDefMap()
        signatures.signature_def["serving_default"].inputs["x"].dtype = 1
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(signatures)
        return response

    fake.tell = no_encoder
    with pytest.raises(ModelError, match="got x -> no outputs; ask for the model"):
        connect().encode(titled(1))


@pytest.mark.parametrize(
    ("options", "version", "label"),
    [({}, None, ""), ({"version": 3}, 3, ""), ({"label": "stable"}, None, "stable")],
)
def test_requests_say_which_version_is_meant(fake, connect, options, version, label):
    connect(**options).encode(titled(1))
    (request,) = fake.predicts
    spec = request.model_spec
    assert (spec.name, spec.signature_name) == ("shop", "serving_default")
    assert (spec.version.value if spec.HasField("version") else None) == version
    assert spec.version_label == label


def test_states_come_with_the_newest_first(fake, connect):
    fake.states = [(1, STATE.AVAILABLE, ""), (3, STATE.END, "no variables")]
    newest, oldest = connect().status()
    assert (newest.version, newest.state, newest.error) == (3, "END", "no variables")
    assert (oldest.version, oldest.is_available) == (1, True)


def test_waiting_ends_when_the_model_is_available(fake, connect):
    fake.states = [(1, STATE.LOADING, "")]

    def loaded_at_the_second_time(request, context):
        if calls:
            fake.states = [(1, STATE.AVAILABLE, "")]
        calls.append(1)
        return fake.signatures(request, context)

    calls = []
    fake.tell = loaded_at_the_second_time
    connect().wait_until_ready(60)
    assert len(calls) == 2


def test_waiting_in_vain_says_why(fake, connect):
    fake.states = [(1, STATE.LOADING, "")]
    with pytest.raises(DeadlineError, match=r"after 0.1 s; at last: NOT_FOUND: .*shop"):
        connect().wait_until_ready(0.1)
    with pytest.raises(DeadlineError, match="at last: UNAVAILABLE: .*nothing listens"):
        connect("127.0.0.1:1", attempts=1).wait_until_ready(0.1)


def test_what_will_not_change_ends_the_waiting(fake, connect):
    def refuse(request, context):
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "who are you")

    fake.tell = refuse
    with pytest.raises(ServingError, match="PERMISSION_DENIED: who are you"):
        connect().wait_until_ready(60)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"address": "localhost"}, "address must be host:port"),
        ({"address": "http://localhost:8500"}, "address must be host:port"),
        ({"model": ""}, "model must be the name"),
        ({"version": 1, "label": "stable"}, "version or label, not both"),
        ({"timeout": 0}, "timeout must be a number of seconds above 0"),
        ({"timeout": float("inf")}, "timeout must be"),
        ({"chunk": 0}, "chunk must be at least 1"),
        ({"in_flight": 0}, "in_flight must be at least 1"),
        ({"attempts": 6}, "attempts must be between 1 and 5"),
        ({"max_message_bytes": 0}, "max_message_bytes must be at least 1"),
    ],
)
def test_wrong_settings_are_refused_at_once(options, told):
    with pytest.raises(ValueError, match=told):
        Client(**{"address": "localhost:8500", "model": "shop", **options})


def test_a_batch_size_below_1_is_refused(fake, connect):
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        connect().encode(titled(1), batch_size=0)


def test_both_clients_work_in_a_with_statement(fake, served):
    with Client(served[1], model="shop") as client:
        expected = client.encode(titled(3))

    async def encoded():
        async with AsyncClient(served[1], model="shop") as client:
            return await asyncio.gather(*(client.encode(titled(3)) for _ in range(4)))

    for found in asyncio.run(encoded()):
        np.testing.assert_array_equal(found, expected)


def test_asyncio_goes_on_while_the_server_works(fake, served):
    fake.before_answer = lambda: fake.released.wait(10)

    async def both():
        async with AsyncClient(served[1], model="shop") as client:
            call = asyncio.create_task(client.encode(titled(1)))
            while not fake.predicts:
                await asyncio.sleep(0)
            fake.released.set()
            return await call

    assert len(asyncio.run(both())) == 1


def test_a_server_that_comes_later_is_found(connect):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = connect(f"127.0.0.1:{port}")
    with pytest.raises(UnavailableError):
        client.metadata()
    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        FakeEncoder(), server
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    client.wait_until_ready(30)
    assert len(client.encode(titled(2))) == 2
    server.stop(None).wait()
