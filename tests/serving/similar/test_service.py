"""SimilarProducts: what each request is answered, and with which words refused."""

from __future__ import annotations

import importlib.util
import math
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest

from simprod_tf.index.versions import publish
from simprod_tf.matching.decisions import write_decisions
from simprod_tf.serving.protos import similar_products_pb2 as pb
from simprod_tf.serving.similar.bundle import Bundle, BundleOptions
from simprod_tf.serving.similar.log_file import LogError
from simprod_tf.serving.similar.service import SimilarLimits, SimilarService
from simprod_tf.serving.similar.store import StoreOptions
from simprod_tf.serving.status import ServingError

_spec = importlib.util.spec_from_file_location(
    "similar_process", Path(__file__).with_name("similar_process.py")
)
shop = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(shop)

TITLES = ["mug", "cup", "shoe", "boot"]
ATTRIBUTES = {"price": [5.0, 6.0, 50.0, 80.0], "kind": ["pots"] * 2 + ["shoes"] * 2}


class Shop:
    """A service over four products with a price and a kind."""

    def __init__(self, folder, *, decisions=None, attributes=ATTRIBUTES):
        self.root = folder / "root"
        publish(shop.index_of(TITLES, attributes=attributes), self.root)
        path = None
        if decisions is not None:
            path = folder / "decisions.json"
            write_decisions(decisions, path)
        options = BundleOptions(
            folder,
            self.root,
            decisions=path,
            poll_seconds=0,
            store=StoreOptions(checkpoint_on_close=False),
        )
        self.bundle = Bundle(options, open_encoder=self.encoder)
        limits = SimilarLimits(k=20, queries=3, products=4, where_length=100)
        self.service = SimilarService(self.bundle, limits=limits)

    @staticmethod
    def encoder(model, fingerprint):
        return shop.FakeEncoder(fingerprint, version=7)

    def similar(self, *queries, **options):
        request = pb.SimilarRequest(queries=queries, **options)
        return self.service.similar(request)

    def found(self, *queries, **options):
        """Returns the ids found for each query."""
        results = self.similar(*queries, **options).results
        return [[one.id for one in line.matches] for line in results]

    def add(self, *products, **options):
        return self.service.add(pb.AddRequest(products=products, **options))

    def remove(self, *ids, **options):
        return self.service.remove(pb.RemoveRequest(ids=ids, **options))


@pytest.fixture
def opened(tmp_path):
    """A function that opens shops."""
    shops = []

    def open_shop(**options):
        folder = tmp_path / str(len(shops))
        folder.mkdir()
        shops.append(Shop(folder, **options))
        return shops[-1]

    yield open_shop
    for one in shops:
        one.bundle.close()


@pytest.fixture
def service(opened):
    return opened()


def by_id(id, *, exclude=()):
    return pb.Query(id=id, exclude_ids=exclude)


def by_title(title, **attributes):
    query = pb.Query(product=pb.Product(title=title))
    query.product.attributes.update(attributes)
    return query


def by_vector(vector):
    return pb.Query(embedding=pb.Vector(values=vector))


def refused(call, code, message):
    with pytest.raises(ServingError, match=message) as caught:
        call()
    assert caught.value.code is grpc.StatusCode[code]


def distances_from(title):
    """Returns what the oracle says: the other products by rising distance."""
    vector = shop.FakeEncoder().vector
    pairs = [
        (float(np.linalg.norm(vector(one) - vector(title))), one) for one in TITLES
    ]
    return sorted(pairs)


def test_the_nearest_come_first_with_their_distances(service):
    answer = service.similar(by_title("mug"))
    found = [(one.distance, one.id) for one in answer.results[0].matches]
    for (distance, id), (wanted, name) in zip(found, distances_from("mug")):
        assert id == name
        assert distance == pytest.approx(wanted, abs=1e-6)
    assert found[0] == (0, "mug")
    assert (answer.fingerprint, answer.index_version) == ("f1", 1)
    assert not answer.results[0].matches[0].HasField("probability")
    assert not answer.results[0].matches[0].HasField("similar")


def test_a_product_is_not_among_its_own_matches(service):
    assert service.found(by_id("mug")) == [
        [one for _, one in distances_from("mug")[1:]]
    ]


def test_queries_of_all_sorts_are_answered_in_order(service):
    vector = shop.FakeEncoder().vector("boot")
    found = service.found(
        by_title("mug"), by_id("shoe"), by_vector(vector), fingerprint="f1", k=1
    )
    assert [found[0], found[2]] == [["mug"], ["boot"]]
    assert found[1] == [distances_from("shoe")[1][1]]


def test_excluded_products_are_not_found_and_others_take_their_place(service):
    left = [one for _, one in distances_from("mug")[1:] if one != "cup"]
    assert service.found(by_id("mug", exclude=["cup", "nobody"]), k=2) == [left[:2]]


def test_a_condition_holds_for_all_matches(service):
    assert set(service.found(by_title("mug"), where="price > 20")[0]) == {
        "shoe",
        "boot",
    }
    assert service.found(by_title("mug"), where="kind = 'pots' AND price > 5") == [
        ["cup"]
    ]


def test_matches_lie_within_the_distance(service):
    (first, _), (second, _) = distances_from("mug")[1:3]
    between = (first + second) / 2
    assert len(service.found(by_id("mug"), max_distance=between)[0]) == 1
    assert service.found(by_id("mug"), max_distance=0) == [[]]


def test_a_decision_says_what_is_similar_and_how_probably(opened):
    (first, _), (second, _) = distances_from("mug")[1:3]
    limit = (first + second) / 2
    one = opened(decisions=shop.decisions_of(max_distance=limit))
    matches = one.similar(by_id("mug")).results[0].matches
    assert [match.similar for match in matches] == [True, False, False]
    assert matches[0].probability == pytest.approx(
        1 / (1 + math.exp(6 * first - 4)), rel=1e-5
    )
    assert [len(found) for found in one.found(by_id("mug"), only_similar=True)] == [1]


def test_the_querys_category_decides_where_thresholds_go_by_it(opened):
    decisions = shop.decisions_of(
        max_distance=0, category="kind", by_category={"pots": 2.0, "new": 2.0}
    )
    one = opened(decisions=decisions)
    wanted = dict(only_similar=True, k=3)
    assert len(one.found(by_id("mug"), **wanted)[0]) == 3
    assert one.found(by_id("shoe"), **wanted) == [[]]
    assert len(one.found(by_title("anything", kind="pots"), **wanted)[0]) == 3
    assert one.found(by_title("anything"), **wanted) == [[]]
    # What comes in, and goes, takes its category along.
    one.add(shop.product("vase", kind="new", price=1))
    assert len(one.found(by_id("vase"), **wanted)[0]) == 3
    one.add(shop.product("vase", kind="shoes"))
    assert one.found(by_id("vase"), **wanted) == [[]]


def test_an_added_product_is_found_by_what_is_known_of_it(service):
    answer = service.add(
        shop.product("vase", price=9, kind="pots"), shop.product("mug", price=4)
    )
    assert (answer.num_new, answer.num_products, answer.fingerprint) == (1, 5, "f1")
    assert service.found(by_title("vase"), k=1) == [["vase"]]
    assert service.found(by_title("vase"), where="price < 5") == [["mug"]]


def test_a_product_may_come_as_an_embedding(service):
    vector = np.eye(1, 8, dtype=np.float32)[0]
    service.add(
        pb.NewProduct(id="vase", embedding=pb.Vector(values=vector)), fingerprint="f1"
    )
    assert service.found(by_vector(vector), fingerprint="f1", k=1) == [["vase"]]


def test_removed_products_are_not_found(service):
    answer = service.remove("mug", "cup")
    assert (answer.num_removed, answer.num_products) == (2, 2)
    assert set(service.found(by_title("mug"))[0]) == {"shoe", "boot"}
    assert service.remove("mug", "shoe", allow_missing=True).num_removed == 1


def test_the_status_tells_what_is_served(opened):
    one = opened(decisions=shop.decisions_of(max_distance=0.4))
    one.remove("mug")
    status = one.service.status(pb.StatusRequest())
    assert (status.fingerprint, status.index_version, status.encoder_version) == (
        "f1",
        1,
        7,
    )
    assert (status.num_products, status.index_kind, status.dim) == (3, "exact", 8)
    assert [(a.name, a.type) for a in status.attributes] == [
        ("price", "double"),
        ("kind", "string"),
    ]
    assert status.decision.max_distance == 0.4
    assert (status.drift.recall, status.drift.due) == (1.0, False)
    assert status.log.num_records == 1
    assert status.problem == ""


def test_a_stated_fingerprint_must_be_the_one_in_use(service):
    message = "for encoder f9, but f1 is in use"
    refused(
        lambda: service.similar(by_id("mug"), fingerprint="f9"),
        "FAILED_PRECONDITION",
        message,
    )
    refused(
        lambda: service.add(shop.product("a"), fingerprint="f9"),
        "FAILED_PRECONDITION",
        message,
    )
    refused(
        lambda: service.remove("mug", fingerprint="f9"), "FAILED_PRECONDITION", message
    )
    refused(
        lambda: service.service.status(pb.StatusRequest(fingerprint="f9")),
        "FAILED_PRECONDITION",
        message,
    )


BAD_PICTURE = pb.Product(image_bytes=b"bad", title="mug")
WRONG_QUERIES = {
    "queries must be between 1 and 3, got 0": {"queries": []},
    "queries must be between 1 and 3, got 4": {"queries": [by_id("mug")] * 4},
    "Query 1 has no id, product or embedding": {"queries": [by_id("mug"), pb.Query()]},
    "k must be between 1 and 20, got 0": {"k": 0},
    "k must be between 1 and 20, got 21": {"k": 21},
    "Query 0 excludes 21 ids, at most 20": {
        "queries": [by_id("mug", exclude="x" * 21)]
    },
    "`where` has 101 characters, at most 100": {"where": "x" * 101},
    r"max_distance lies in \[0, 2\], got 2.5": {"max_distance": 2.5},
    r"max_distance lies in \[0, 2\], got nan": {"max_distance": float("nan")},
    "there is no column 'prize'": {"where": "prize < 5"},
    "The condition 'price' cannot be used: it is a value": {"where": "price"},
    "Query 0: the picture cannot be used: of an unknown format": {
        "queries": [pb.Query(product=BAD_PICTURE)]
    },
    "Query 0: the encoder knows nothing of it": {"queries": [by_title("")]},
    "Query 0 has an attribute 'price' that is a list or an object": {
        "queries": [by_title("mug", price=[5])]
    },
    "state its fingerprint in the request": {"queries": [by_vector([1.0] * 8)]},
    "embedding of query 0 has 2 numbers, expected 8": {
        "queries": [by_vector([1.0, 0.0])],
        "fingerprint": "f1",
    },
    "query 0 has length 2.828, expected 1": {
        "queries": [by_vector([1.0] * 8)],
        "fingerprint": "f1",
    },
    "query 0 holds NaN": {
        "queries": [by_vector([float("nan")] * 8)],
        "fingerprint": "f1",
    },
}


@pytest.mark.parametrize("message", WRONG_QUERIES)
def test_a_wrong_query_is_told(service, message):
    options = {"queries": [by_id("mug")], **WRONG_QUERIES[message]}
    request = pb.SimilarRequest(**options)
    refused(lambda: service.service.similar(request), "INVALID_ARGUMENT", message)


def test_an_unknown_id_is_not_found(service):
    refused(
        lambda: service.similar(by_id("mug"), by_id("nobody")),
        "NOT_FOUND",
        "Query 1: the index holds no product 'nobody'",
    )


def test_similar_alone_needs_a_decision(service):
    refused(
        lambda: service.similar(by_id("mug"), only_similar=True),
        "FAILED_PRECONDITION",
        "choose one with `simprod threshold`",
    )


def test_a_condition_needs_attributes(opened):
    one = opened(attributes=None)
    refused(
        lambda: one.similar(by_id("mug"), where="price < 5"),
        "INVALID_ARGUMENT",
        "the index holds no attributes",
    )


WRONG_PRODUCTS = {
    "products must be between 1 and 4, got 0": [],
    "products must be between 1 and 4, got 5": [shop.product("a")] * 5,
    "got 'a' twice": [shop.product("a"), shop.product("a")],
    "non-empty strings, got ''": [shop.product("", title="mug")],
    "The product 'a': the picture cannot be used: of an unknown format": [
        shop.product("b"),
        pb.NewProduct(id="a", product=BAD_PICTURE),
    ],
    "The product 'a' has an attribute 'prize'; there are: colour, kind, price": [
        shop.product("a", prize=3)
    ],
    "product 'a' has price 'cheap', but the index holds price as double": [
        shop.product("a", price="cheap")
    ],
    "The product 'a' has an attribute 'colour' that is a list or an object": [
        shop.product("a", colour={"a": [1]})
    ],
    "state its fingerprint in the request": [
        pb.NewProduct(id="a", embedding=pb.Vector(values=[1.0] * 8))
    ],
}


@pytest.mark.parametrize("message", WRONG_PRODUCTS)
def test_one_wrong_product_keeps_all_out(service, message):
    products = WRONG_PRODUCTS[message]
    refused(lambda: service.add(*products), "INVALID_ARGUMENT", message)
    assert service.bundle.trio.index.ids == tuple(TITLES)
    assert service.bundle.store.num_records == 0


def test_an_embedding_of_another_length_is_told_with_its_product(service):
    one = pb.NewProduct(id="a", embedding=pb.Vector(values=[1.0]))
    refused(
        lambda: service.add(one, fingerprint="f1"),
        "INVALID_ARGUMENT",
        "embedding of product 'a' has 1 numbers, expected 8",
    )


def test_a_removal_of_nobody_is_not_found(service):
    refused(
        lambda: service.remove("mug", "nobody"),
        "NOT_FOUND",
        "^NOT_FOUND: The index holds no product 'nobody'.$",
    )
    refused(lambda: service.remove(), "INVALID_ARGUMENT", "ids must be between 1 and 4")
    refused(lambda: service.remove("a", "a"), "INVALID_ARGUMENT", "got 'a' twice")


def test_a_log_that_cannot_be_written_makes_it_unavailable(service, monkeypatch):
    def fail(records):
        raise LogError("the disk is full")

    monkeypatch.setattr(service.bundle.store._log, "append", fail)
    refused(lambda: service.remove("mug"), "UNAVAILABLE", "the disk is full")


def test_a_closed_server_is_unavailable(service):
    service.bundle.close()
    refused(lambda: service.remove("mug"), "UNAVAILABLE", "closing")
    refused(
        lambda: service.service.status(pb.StatusRequest()), "UNAVAILABLE", "closing"
    )


def test_a_deadline_is_kept(service):
    request = pb.RemoveRequest(ids=["mug"])
    store, free = service.bundle.store, threading.Event()
    store._run(free.wait)
    refused(
        lambda: service.service.remove(request, timeout=0.01),
        "DEADLINE_EXCEEDED",
        "the change may still be made",
    )
    free.set()


def test_products_encoded_for_an_old_trio_are_encoded_anew(service, monkeypatch):
    """A new encoder comes into use between the encoding and the change."""
    other = shop.FakeEncoder("f2")
    publish(shop.index_of(["theirs"], encoder=other), service.root)
    encode, switched = shop.FakeEncoder.encode, []

    def encode_and_switch(encoder, products, *, timeout=None):
        found = encode(encoder, products, timeout=timeout)
        if not switched:
            switched.append(True)
            service.bundle.refresh()
        return found

    monkeypatch.setattr(shop.FakeEncoder, "encode", encode_and_switch)
    assert service.add(shop.product("vase")).fingerprint == "f2"
    held = service.bundle.trio.index.embedding("vase")
    np.testing.assert_array_equal(held, other.vector("vase"))


def test_limits_are_checked():
    with pytest.raises(ValueError, match="Limits are at least 1"):
        SimilarLimits(k=0)
