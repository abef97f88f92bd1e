"""Client and AsyncClient against the real SimilarProducts over a small index."""

from __future__ import annotations

import importlib.util
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Product
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import InputError, ModelError, SimprodError
from simprod_tf.index.answer import Match
from simprod_tf.index.build import build_index
from simprod_tf.index.versions import publish
from simprod_tf.serving import Client
from simprod_tf.serving.client.error import NotFoundError
from simprod_tf.serving.client.similar import IndexChange, matches
from simprod_tf.serving.protos import similar_products_pb2 as pb
from simprod_tf.serving.similar.bundle import Bundle, BundleOptions
from simprod_tf.serving.similar.parts import parts_of
from simprod_tf.serving.similar.trio import Encoded
from simprod_tf.serving.status import ServingError

_spec = importlib.util.spec_from_file_location(
    "client_awaited", Path(__file__).with_name("client_awaited.py")
)
client_awaited = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(client_awaited)

FINGERPRINT = "f" * 16


class AngleEncoder:
    """A product's embedding has the angle, in degrees, that its title or vector says.

    A picture turns it by 90 degrees; a title that is no number is a fault.
    """

    fingerprint, version, columns = FINGERPRINT, 1, frozenset({"colour"})

    def __init__(self):
        self.seen = []

    def encode(self, products, *, timeout=None):
        self.seen += products
        faults = tuple("" if one.title != "x" else "no angle" for one in products)
        return Encoded(np.stack([self.one(product) for product in products]), faults)

    def one(self, product):
        degrees = 0.0 if product.title == "x" else float(product.title)
        degrees += 90.0 * bool(product.image_bytes)
        degrees += sum(product.vectors["angle"].values) if product.vectors else 0.0
        return at(degrees)


def at(degrees):
    angle = np.radians(degrees)
    return np.array([np.cos(angle), np.sin(angle)], np.float32)


@pytest.fixture
def service(tmp_path):
    """The address, and the encoder behind it: products a, b, c at 0, 60 and 180."""
    encoder = AngleEncoder()
    attributes = pa.table(
        {
            "colour": ["red", "blue", "red"],
            "price": [1.0, 2.0, 3.0],
            "stock": [1, 2, 3],
            "new": [True, False, True],
        }
    )
    index = build_index(
        ["a", "b", "c"],
        np.stack([at(0), at(60), at(180)]),
        encoder_fingerprint=FINGERPRINT,
        attributes=attributes,
    )
    publish(index, tmp_path / "index")
    options = BundleOptions(tmp_path, tmp_path / "index", poll_seconds=0)
    parts = parts_of(Bundle(options, open_encoder=lambda *_: encoder))
    server = grpc.server(futures.ThreadPoolExecutor(2))
    parts.servicer(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", encoder
    server.stop(None).wait()
    parts.close()


@pytest.fixture(params=[Client, client_awaited.Awaited], ids=["sync", "asyncio"])
def client(request, service):
    made = request.param(service[0], model="shop", chunk=2)
    yield made
    made.close()


def test_a_product_of_the_index_is_asked_for_by_its_id(client):
    found = client.similar("a", k=2)
    assert [(one.query_id, one.id) for one in found] == [("a", "b"), ("a", "c")]
    # The chords of 60 and 180 degrees.
    assert [one.distance for one in found] == pytest.approx([1.0, 2.0], abs=1e-6)
    assert all(isinstance(one, Match) and one.probability is None for one in found)


def test_a_product_that_is_not_there_is_asked_for_by_what_it_is(client, picture):
    found = client.similar(Product("new", "90", str(picture)), k=1)
    assert [(one.query_id, one.id) for one in found] == [("new", "c")]
    assert found[0].distance == pytest.approx(0.0, abs=1e-3)


def test_precomputed_vectors_go_along(client):
    angle = VectorTable("angle", ["new"], np.array([[100, 80]], np.float32))
    found = client.similar(Product("new", "0"), k=1, tables={"angle": angle})
    assert found[0].id == "c"


def test_conditions_go_along(client):
    assert [one.id for one in client.similar("a", where="price > 2")] == ["c"]
    assert [one.id for one in client.similar("a", max_distance=1.5)] == ["b"]
    assert [one.id for one in client.similar("a", exclude=["b"])] == ["c"]


def test_without_a_decision_nothing_is_called_similar(client):
    with pytest.raises(ServingError, match="FAILED_PRECONDITION"):
        client.similar("a", only_similar=True)


def test_probabilities_come_along():
    one = pb.Match(id="b", distance=0.5, probability=0.75)
    response = pb.SimilarResponse(results=[pb.Matches(matches=[one])])
    assert matches(response, "a") == [Match("a", "b", 0.5, 0.75)]


def test_an_answer_to_other_questions_is_refused():
    with pytest.raises(
        ModelError, match="matches of 1 query from the server, got .* 2"
    ):
        matches(pb.SimilarResponse(results=[pb.Matches()] * 2), "a")


def test_an_unknown_id_is_not_found(client):
    with pytest.raises(NotFoundError, match="'nobody'"):
        client.similar("nobody")


def test_what_is_added_is_found_and_what_is_removed_is_not(client):
    attributes = {"colour": "green", "price": "4.5", "stock": "7", "new": "True"}
    products = [Product(f"n{row}", str(10 * row), "", "", attributes) for row in (1, 2)]
    products.append(Product("b", "30"))
    assert client.add(products) == IndexChange(2, 5)
    found = client.similar("a", where="stock = 7 AND new AND price > 4")
    assert [one.id for one in found] == ["n1", "n2"]
    assert [one.id for one in client.similar("a", k=3)] == ["n1", "n2", "b"]
    assert client.remove(["n1", "b"]) == IndexChange(2, 3)
    assert [one.id for one in client.similar("a")] == ["n2", "c"]


def test_additions_go_in_chunks(client, service):
    client.add([Product(f"n{row}", str(row)) for row in range(5)])
    assert len(service[1].seen) == 5


def test_removing_what_is_not_there_is_refused_unless_allowed(client):
    with pytest.raises(NotFoundError, match="'nobody'"):
        client.remove(["a", "nobody"])
    assert client.remove(["a", "nobody"], allow_missing=True) == IndexChange(1, 2)


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"price": "five"}, "product 'n': price is double in the index, got 'five'"),
        ({"stock": "1 or 2"}, "product 'n': stock is int64 in the index, got '1 or 2'"),
        ({"new": "perhaps"}, "product 'n': new is bool in the index, got 'perhaps'"),
    ],
)
def test_attributes_that_do_not_fit_the_index_are_refused(client, attributes, told):
    with pytest.raises(SimprodError, match=told):
        client.add([Product("n", "1", attributes=attributes)])


def test_a_missing_attribute_is_missing_in_the_index(client):
    client.add([Product("n", "5", attributes={"price": ""})])
    assert [one.id for one in client.similar("a", where="price IS NULL")] == ["n"]


def test_what_the_server_refuses_names_the_product(client):
    with pytest.raises(ServingError, match=r"INVALID_ARGUMENT: .*'n'.*no angle"):
        client.add([Product("n", "x")])


def test_nothing_to_add_is_refused(client):
    with pytest.raises(ValueError, match="at least one product to add"):
        client.add([])


def test_a_missing_picture_is_named(client):
    query = Product("q", "1", "no-such.jpg")
    for call in (lambda: client.similar(query), lambda: client.add([query])):
        with pytest.raises(InputError, match="no-such.jpg: the picture cannot be read"):
            call()


def test_the_fingerprint_is_that_of_the_index(client):
    assert client.fingerprint == FINGERPRINT


def test_a_server_without_the_service_tells_no_fingerprint_and_says_so():
    server = grpc.server(futures.ThreadPoolExecutor(1))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with Client(address, model="shop") as client:
        assert client.fingerprint is None
        with pytest.raises(ServingError, match="is of `simprod serve --index`"):
            client.similar("a")
    server.stop(None).wait()
