"""SimilarProducts over gRPC and REST: one service, two fronts."""

from __future__ import annotations

import base64
import importlib.util
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simprod_tf.index.versions import current_folder, publish
from simprod_tf.serving.protos import similar_products_pb2 as pb
from simprod_tf.serving.protos import similar_products_pb2_grpc as pb_grpc
from simprod_tf.serving.rest.app import rest_app
from simprod_tf.serving.rest.server import RestServer
from simprod_tf.serving.server.limits import Gate, Limits
from simprod_tf.serving.server.metrics import Metrics
from simprod_tf.serving.similar.bundle import Bundle, BundleOptions
from simprod_tf.serving.similar.parts import SERVICE, from_json, parts_of
from simprod_tf.serving.similar.service import SimilarLimits

_spec = importlib.util.spec_from_file_location(
    "similar_process", Path(__file__).with_name("similar_process.py")
)
shop = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(shop)

ATTRIBUTES = {"price": [5.0, 6.0, 50.0]}
MUG = {"product": {"title": "mug"}}


class Fronts:
    """A service over three products, and both ways to it."""

    def __init__(self, folder, *, queue=0):
        self.root = folder / "root"
        publish(shop.index_of(["mug", "cup", "shoe"], attributes=ATTRIBUTES), self.root)
        options = BundleOptions(folder, self.root, poll_seconds=0)
        self.bundle = Bundle(
            options, open_encoder=lambda model, fingerprint: shop.FakeEncoder()
        )
        self.gate = Gate(Limits(concurrency=1, queue=queue))
        self.parts = parts_of(
            self.bundle, limits=SimilarLimits(k=20), gate=self.gate, timeout=20.0
        )
        self.server = grpc.server(ThreadPoolExecutor(4))
        self.names = self.parts.servicer(self.server)
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.stub = pb_grpc.SimilarProductsStub(self.channel)
        app = rest_app(None, None, metrics=Metrics(), routes=self.parts.routes)
        self.rest_server = RestServer(app, host="127.0.0.1", port=0)
        self.rest_server.start()
        url = f"http://127.0.0.1:{self.rest_server.port}"
        self.rest = httpx.Client(base_url=url, timeout=20)

    def post(self, method, content):
        return self.rest.post(f"/simprod/v1/{method}", json=content)

    def close(self):
        self.channel.close()
        self.server.stop(None).wait()
        self.rest.close()
        self.rest_server.close(1)
        self.parts.close()


@pytest.fixture
def fronts(tmp_path):
    one = Fronts(tmp_path)
    yield one
    one.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    one = Fronts(tmp_path_factory.mktemp("shared"))
    yield one
    one.close()


def grpc_error(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()


def test_both_fronts_give_the_same_answer(shared):
    query = pb.Query(product=pb.Product(title="mug"))
    request = pb.SimilarRequest(queries=[query], k=2, where="price < 20")
    over_grpc = shared.stub.Similar(request, timeout=30)
    answer = shared.post("similar", {"queries": [MUG], "k": 2, "where": "price < 20"})
    assert answer.status_code == 200
    content = answer.json()
    matches = content["results"][0]["matches"]
    assert [one["id"] for one in matches] == ["mug", "cup"]
    assert matches[0] == {"id": "mug", "distance": 0.0}
    assert content["fingerprint"] == over_grpc.fingerprint == "f1"
    assert content["index_version"] == "1"
    assert [
        (one.id, pytest.approx(one.distance)) for one in over_grpc.results[0].matches
    ] == [(one["id"], one["distance"]) for one in matches]


def test_the_servicer_names_its_service(shared):
    assert shared.names == (SERVICE,) == ("simprod.v1.SimilarProducts",)
    assert pb.DESCRIPTOR.services_by_name["SimilarProducts"].full_name == SERVICE


def test_adds_over_rest_are_found_over_grpc_and_removed_again(fronts):
    picture = base64.b64encode(b"picture").decode()
    product = {"image_bytes": picture, "title": "vase", "attributes": {"price": 3}}
    added = fronts.post("add", {"products": [{"id": "vase", "product": product}]})
    assert added.json() == {
        "fingerprint": "f1",
        "index_version": "1",
        "num_new": "1",
        "num_products": "4",
    }
    request = pb.SimilarRequest(queries=[pb.Query(id="vase")], where="price = 3")
    assert not fronts.stub.Similar(request, timeout=30).results[0].matches
    assert (
        fronts.stub.Remove(pb.RemoveRequest(ids=["vase"]), timeout=30).num_removed == 1
    )
    answer = fronts.post("similar", {"queries": [{"id": "vase"}]})
    assert answer.status_code == 404
    assert answer.json() == {"error": "Query 0: the index holds no product 'vase'."}


def test_the_status_is_told_on_both(shared):
    answer = shared.rest.get("/simprod/v1/status").json()
    assert (answer["num_products"], answer["dim"]) == ("3", 8)
    assert answer["attributes"] == [{"name": "price", "type": "double"}]
    assert shared.stub.Status(pb.StatusRequest(), timeout=30).num_products == 3
    wrong = shared.rest.get("/simprod/v1/status?fingerprint=f9")
    assert wrong.status_code == 400
    assert "for encoder f9, but f1 is in use" in wrong.json()["error"]


def test_an_error_has_the_same_text_on_both(shared):
    request = pb.SimilarRequest(queries=[pb.Query(id="mug")], k=0)
    code, text = grpc_error(lambda: shared.stub.Similar(request, timeout=30))
    answer = shared.post("similar", {"queries": [{"id": "mug"}], "k": 0})
    assert (code, answer.status_code) == ("INVALID_ARGUMENT", 400)
    assert answer.json()["error"] == text == "k must be between 1 and 20, got 0."


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"queries": 5}',
        b'{"nobody": 5}',
        b'{"queries": [{"id": "a", "product": {}}]}',
        b'{"queries": [null]}',
        b'{"queries": [{"id": "\\ud800"}]}',
        b'{"where": ' + b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_request_is_told(shared, body):
    answer = shared.rest.post("/simprod/v1/similar", content=body)
    assert answer.status_code == 400
    text = answer.json()["error"]
    assert text.startswith("The body is no simprod.v1.SimilarRequest as JSON: ")


@pytest.mark.parametrize(
    ("name", "picture"),
    [("image_bytes", "%%%"), ("imageBytes", "w6k=x"), ("image_bytes", {"b64": "w6k="})],
)
@pytest.mark.parametrize("field", ["queries", "products"])
def test_a_picture_that_is_no_base64_is_told(shared, field, name, picture):
    body = {field: [{"product": {"title": "a", name: picture}}]}
    if field == "products":
        body[field][0]["id"] = "a"
    answer = shared.post({"queries": "similar", "products": "add"}[field], body)
    assert answer.status_code == 400
    told = f"{field}[0].product.{name}: expected a text in base64, got "
    assert answer.json()["error"].endswith(told + json.dumps(picture) + ".")


@pytest.mark.parametrize("picture", ["w6k=", "w6k", "_-8=", "/+8=", "w6k=\n", "w6\nk="])
def test_base64_of_either_alphabet_and_over_lines_is_taken(picture):
    body = {"queries": [{"product": {"image_bytes": picture}}]}
    message = from_json(json.dumps(body).encode(), pb.SimilarRequest())
    expected = b"\xff\xef" if picture.endswith("8=") else "\u00e9".encode()
    assert message.queries[0].product.image_bytes == expected


@pytest.mark.parametrize("depth", [1, 46, 60, 300])
def test_nested_attributes_are_refused_however_deep(fronts, depth):
    attributes = {"price": json.loads("[" * depth + "]" * depth)}
    product = {"title": "vase", "attributes": attributes}
    answer = fronts.post("add", {"products": [{"id": "vase", "product": product}]})
    assert answer.status_code == 400
    text = answer.json()["error"]
    assert text.startswith("The product 'vase' has an attribute 'price' that is a list")
    assert fronts.bundle.store.num_records == 0


def test_beyond_the_gate_a_request_is_refused(fronts):
    with fronts.gate.enter():
        code, text = grpc_error(
            lambda: fronts.stub.Status(pb.StatusRequest(), timeout=9)
        )
        assert code == "RESOURCE_EXHAUSTED"
        assert fronts.rest.get("/simprod/v1/status").status_code == 429
    assert fronts.stub.Status(pb.StatusRequest(), timeout=30).num_products == 3


@pytest.fixture
def with_queue(tmp_path):
    one = Fronts(tmp_path, queue=60)
    yield one
    one.close()


def test_requests_over_rest_wait_in_the_gate_however_many(with_queue):
    # More than anyio has threads, 40, in which they would wait unseen.
    gate = with_queue.gate
    status = f"http://127.0.0.1:{with_queue.rest_server.port}/simprod/v1/status"
    with ThreadPoolExecutor(60) as callers:
        with gate.enter():
            answers = [callers.submit(httpx.get, status, timeout=20) for _ in range(60)]
            end = time.monotonic() + 20
            while gate.waiting < 60:
                assert time.monotonic() < end, gate.waiting
                time.sleep(0.005)
            assert httpx.get(status, timeout=20).status_code == 429
        assert {one.result().status_code for one in answers} == {200}


def test_a_deadline_is_the_clients(fronts):
    free = threading.Event()
    fronts.bundle.store._run(free.wait)
    request = pb.RemoveRequest(ids=["mug"])
    code, _ = grpc_error(lambda: fronts.stub.Remove(request, timeout=0.05))
    assert code == "DEADLINE_EXCEEDED"
    free.set()


def test_closing_the_parts_makes_a_checkpoint(fronts):
    fronts.stub.Remove(pb.RemoveRequest(ids=["mug"]), timeout=30)
    fronts.parts.close()
    assert int(current_folder(fronts.root).name) == 2
    code, text = grpc_error(
        lambda: fronts.stub.Remove(pb.RemoveRequest(ids=["cup"]), timeout=30)
    )
    assert (code, text) == (
        "UNAVAILABLE",
        "The server is closing; no change was made.",
    )


NAMES = [
    *("queries id product title image_bytes attributes price k where ids").split(),
    *("max_distance only_similar exclude_ids products embedding values").split(),
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@FUZZ
@given(body=VALUES, method=st.sampled_from(["similar", "add", "remove"]))
def test_no_json_makes_the_server_fail(shared, body, method):
    text = json.dumps(body)
    answer = shared.rest.post(f"/simprod/v1/{method}", content=text)
    assert answer.status_code in (200, 400, 404)
    assert "Traceback" not in answer.text


@FUZZ
@given(
    body=st.binary(max_size=60), method=st.sampled_from(["Similar", "Add", "Remove"])
)
def test_no_bytes_make_the_server_fail(shared, body, method):
    call = shared.channel.unary_unary(f"/{SERVICE}/{method}")
    try:
        call(body, timeout=30)
    except grpc.RpcError as error:
        # INTERNAL is gRPC's own word for bytes that are no message.
        known = ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "INTERNAL")
        assert error.code().name in known
        assert error.code().name != "INTERNAL" or "deserializ" in error.details()


@FUZZ
@given(
    request=st.builds(
        lambda titles, k, where, farthest: pb.SimilarRequest(
            queries=[pb.Query(product=pb.Product(title=one)) for one in titles],
            k=k,
            where=where,
            max_distance=farthest,
        ),
        st.lists(st.text(max_size=4), max_size=3),
        st.integers(-3, 30),
        st.text(max_size=8) | st.sampled_from(["price > 5", "price"]),
        st.floats(width=32),
    )
)
def test_no_query_makes_the_server_fail(shared, request):
    try:
        answer = shared.stub.Similar(request, timeout=30)
    except grpc.RpcError as error:
        assert error.code().name == "INVALID_ARGUMENT"
    else:
        assert len(answer.results) == len(request.queries)
