"""Encoders judged whole and by one modality, on a plane where all is seen by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, Product, text_array
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import SimprodError
from simprod_tf.features.product_inputs import VectorInput
from simprod_tf.matching.calibration import Calibration
from simprod_tf.matching.decision import Decision
from simprod_tf.pipeline.judge import MODALITIES, HeldOut, evaluate_encoder
from simprod_tf.pipeline.progress import silent

ANGLES = {"": None, "odd": None, "north": 90, "east": 0, "north-east": 45, "south": -90}


def direction(name: str) -> np.ndarray:
    """The unit vector of a name of the sky; zeros where nothing is known."""
    angle = ANGLES[name]
    if angle is None:
        return np.zeros(2)
    return np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))])


class Encoder:
    """Adds up what it sees of a product, then brings it to unit length."""

    inputs = SimpleNamespace(vectors=())

    def __init__(self, *, sees: tuple[str, ...] = MODALITIES, threshold=None):
        self.sees = sees
        self.manifest = {"decision": {"max_distance": threshold}} if threshold else {}
        self.asked: list[Product] = []
        self.tables: list = []

    def encode(self, products, *, tables=None, progress=None):
        self.asked += products
        self.tables.append(tables)
        found = np.zeros((len(products), 2), np.float32)
        for row, product in enumerate(products):
            parts = {"picture": product.image, "title": product.title}
            total = sum(direction(parts[one]) for one in self.sees)
            length = np.linalg.norm(total)
            found[row] = total / length if length else total
        if progress:
            progress(len(products), len(products))
        return found


def catalog(*rows: tuple[str, str, str, str], **attributes) -> Catalog:
    """Products as (id, title, image, group); a picture is its direction's name."""
    return Catalog(*map(text_array, zip(*rows)), pa.table(attributes))


def judge(encoder, test):
    return evaluate_encoder(
        "m", encoder, test, modalities=MODALITIES, seed=0, progress=silent
    )


FULL = catalog(
    ("a", "north", "east", "g"),
    ("b", "north", "north-east", "g"),
    ("c", "east", "east", "h"),
    ("d", "south", "north-east", "h"),
)
PAIRS = canonical_pairs(["a", "a", "c"], ["b", "c", "d"], [1, 0, 1])


def test_an_encoder_of_titles_does_as_well_by_the_title_and_not_at_all_by_pictures():
    judged = judge(Encoder(sees=("title",)), HeldOut(FULL, FULL, PAIRS))
    picture, title = judged.variants
    assert (picture.name, title.name) == ("m (picture only)", "m (title only)")
    whole = judged.evaluation
    assert np.array_equal(title.evaluation.pair_distances, whole.pair_distances)
    assert title.evaluation.metrics == whole.metrics
    assert picture.evaluation is None
    assert picture.unknown == 4
    assert str(picture) == (
        "m (picture only) was not judged: the encoder knows nothing of any product by "
        "its picture alone."
    )
    assert [one.name for one in judged.evaluations()] == ["m", "m (title only)"]


def test_an_encoder_of_pictures_is_the_other_way_round():
    judged = judge(Encoder(sees=("picture",)), HeldOut(FULL, FULL, PAIRS))
    picture, title = judged.variants
    assert picture.evaluation.metrics == judged.evaluation.metrics
    assert title.evaluation is None


def test_the_anchor_loses_a_modality_and_the_other_product_stays_whole():
    two = catalog(("a", "north", "east", ""), ("b", "north", "east", ""))
    test = HeldOut(two, two, canonical_pairs(["b"], ["a"], [1]))
    judged = judge(Encoder(), test)
    # Whole, both are north-east: 45 degrees from either of the anchor's parts.
    apart = 2 * math.sin(math.radians(45) / 2)
    assert judged.evaluation.pair_distances == pytest.approx([0], abs=1e-6)
    for variant in judged.variants:
        assert variant.evaluation.pair_distances == pytest.approx([apart])


def test_queries_lose_a_modality_and_candidates_stay_whole():
    shop = catalog(
        ("a", "north", "east", "g"),
        ("b", "north-east", "north-east", "g"),
        ("c", "north", "north", "h"),
        ("d", "east", "east", "h"),
    )
    judged = judge(Encoder(), HeldOut(shop, shop))
    picture, title = (one.evaluation.retrieval for one in judged.variants)
    # "a" whole is at "b"; by its picture at "d", by its title at "c".
    assert judged.evaluation.retrieval.recall_at[1][0] == 1
    assert picture.recall_at[1][0] == 0
    assert title.recall_at[1][0] == 0
    assert title.recall_at[10].tolist() == [1, 1, 1, 1]


def test_who_lacks_the_modality_is_left_out_and_counted():
    shop = catalog(
        ("a", "north", "", "g"),
        ("b", "north", "east", "g"),
        ("c", "", "east", "h"),
        ("d", "east", "east", "h"),
        ("e", "east", "east", ""),
    )
    pairs = canonical_pairs(["a", "a", "b", "c"], ["b", "c", "d", "d"], [1, 0, 0, 1])
    judged = judge(Encoder(), HeldOut(shop, shop, pairs))
    picture, title = judged.variants
    assert (picture.queries, picture.queries_left_out) == (3, 1)
    assert (picture.pairs, picture.pairs_left_out) == (2, 2)
    assert len(picture.evaluation.pair_labels) == 2
    assert len(picture.evaluation.retrieval) == 3
    assert (title.queries, title.queries_left_out) == (3, 1)
    assert (title.pairs, title.pairs_left_out) == (3, 1)
    assert title.evaluation.pair_labels.tolist() == [1, 0, 0]
    assert str(picture) == (
        "m (picture only): queries and anchors have their picture alone; left out for "
        "want of it: 1 of 4 queries and 2 of 4 pairs."
    )


def test_a_modality_that_nobody_has_is_skipped_with_the_reason():
    shop = catalog(("a", "north", "", "g"), ("b", "north", "", "g"))
    picture, title = judge(Encoder(), HeldOut(shop, shop)).variants
    assert picture.evaluation is None
    assert str(picture) == (
        "m (picture only) was not judged: no query and no anchor has a picture."
    )
    assert (picture.queries, picture.queries_left_out) == (0, 2)
    assert title.evaluation.metrics["recall_at_1"].value == 1


def test_what_nothing_is_known_of_is_far_from_all_and_finds_nothing():
    # Without care "a" and "b", both of them zero vectors, would be the best match.
    shop = catalog(
        ("a", "odd", "east", "g"), ("b", "odd", "", "g"), ("c", "north", "", "g")
    )
    pairs = canonical_pairs(["a", "a", "b"], ["b", "c", "c"], [1, 1, 0])
    judged = judge(Encoder(sees=("title",), threshold=1.5), HeldOut(shop, shop, pairs))
    assert judged.evaluation.pair_distances.tolist() == [2, 2, 2]
    assert judged.evaluation.metrics["recall"].value == 0
    assert math.isnan(judged.evaluation.metrics["precision"].value)
    retrieval = judged.evaluation.retrieval
    assert retrieval.recall_at[10].tolist() == [0, 0, 0]
    assert retrieval.first_ranks.tolist() == [0, 0, 0]
    title = judged.variants[1]
    assert title.unknown == 2
    assert str(title).endswith("; nothing is known of 2 products asked with.")
    for one in judged.evaluations():
        assert np.isfinite(one.pair_distances).all()


def test_the_decisions_curve_gives_probabilities_for_pairs_like_its_own():
    # Distance 0 has even odds where a tenth of the pairs is similar; the labelled
    # pairs that it is from were half similar, and had nine times these odds.
    decision = Decision(
        max_distance=0.5, target_precision=0.9, precision=0.9,
        precision_lower_bound=0.8, recall=0.5, num_pairs=10, num_positives=5,
        num_accepted=3, labelled_prior=0.5, prior=0.1, prior_source="given",
        confidence=0.95, method="m", date="", encoder_fingerprint="",
        calibration=Calibration(slope=-1.0, intercept=0.0),
    )  # fmt: skip
    encoder = Encoder(sees=("title",))
    encoder.manifest = {"decision": decision.to_json()}
    judged = judge(encoder, HeldOut(FULL, FULL, PAIRS))
    said = judged.evaluation.pair_probabilities
    assert judged.evaluation.pair_distances[0] == 0
    assert said[0] == pytest.approx(9 / 10)
    assert "brier" in judged.evaluation.metrics
    assert judged.evaluation.pair_ids.tolist() == [["a", "b"], ["a", "c"], ["c", "d"]]
    assert judged.encoder is encoder
    certain = replace(decision, prior=1.0)
    encoder.manifest = {"decision": certain.to_json()}
    judged = judge(encoder, HeldOut(FULL, FULL, PAIRS))
    assert judged.evaluation.pair_probabilities[0] == pytest.approx(1 / 2)


def test_a_decision_without_a_curve_gives_no_probabilities():
    judged = judge(Encoder(threshold=1.0), HeldOut(FULL, FULL, PAIRS))
    assert judged.evaluation.pair_probabilities is None
    assert "brier" not in judged.evaluation.metrics


def test_candidates_are_embedded_once_and_so_is_who_is_asked_with_twice():
    encoder = Encoder()
    queries = FULL.take(np.array([0, 1]))
    judge(encoder, HeldOut(FULL, queries, PAIRS))
    # Anchors a, a, c; queries a, b.
    assert [one.id for one in encoder.asked] == [*"abcd", *"abc", *"abc"]
    by_picture = encoder.asked[4:7]
    assert all(one.title == "" and one.image for one in by_picture)


def test_attributes_are_hidden_too():
    shop = catalog(
        ("a", "north", "east", "g"), ("b", "north", "east", "g"), brand=["x", "y"]
    )
    encoder = Encoder()
    judge(encoder, HeldOut(shop, shop))
    assert [one.attributes for one in encoder.asked[2:]] == [{}] * 4


def test_queries_of_another_catalogue_are_asked_with():
    photos = catalog(("q", "", "east", "h"), ("r", "", "", "h"))
    judged = judge(Encoder(), HeldOut(FULL, photos))
    picture, title = judged.variants
    assert (picture.queries, picture.queries_left_out) == (1, 1)
    assert picture.evaluation.retrieval.recall_at[1].tolist() == [1]
    assert title.skipped == "no query and no anchor has a title"


def test_without_modalities_the_whole_is_judged_alone():
    judged = evaluate_encoder(
        "m", Encoder(), HeldOut(FULL, FULL, PAIRS), seed=0, progress=silent
    )
    assert judged.variants == ()
    assert judged.queries is judged.candidates


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(ValueError, match="a modality is one of .*, got 'smell'"):
        evaluate_encoder(
            "m", Encoder(), HeldOut(FULL, FULL), modalities=["smell"], seed=0,
            progress=silent,
        )  # fmt: skip
    nothing = catalog(("a", "north", "", ""))
    with pytest.raises(SimprodError, match="no product has a 'group', and there are"):
        HeldOut(nothing, nothing)


def test_precomputed_vectors_go_with_whole_products_alone():
    encoder = Encoder()
    encoder.inputs = SimpleNamespace(vectors=(VectorInput("clip", 3),))
    clip = VectorTable("clip", list(FULL.ids), np.ones((4, 3), np.float32))
    judge(encoder, HeldOut(FULL, FULL, PAIRS, files=(clip,)))
    assert encoder.tables == [{"clip": clip}, None, None]
