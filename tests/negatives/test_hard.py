"""Hard negatives, on products that lie on a circle."""

from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.negatives.guards import GROUP, LABELLED, PICTURE, SIMILAR, TITLE
from simprod_tf.negatives.hard import (
    NO_EMBEDDING,
    TOO_NEAR,
    HardNegativeSettings,
    hard_negatives,
)

NONE = canonical_pairs([], [], [])


def on_circle(*degrees):
    """Returns unit vectors at these angles; None gives zeros."""
    angles = np.radians([0 if one is None else one for one in degrees])
    found = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    found[[one is None for one in degrees]] = 0
    return found


def settings(**more):
    return HardNegativeSettings(**{"neighbours": 1, "guard_quantile": None, **more})


# p0 and p1 are each other's nearest, p1 is p2's.
THREE = on_circle(0, 10, 60)


def test_the_nearest_become_negatives_each_pair_once(make_catalog, pair_set):
    found = hard_negatives(THREE, make_catalog(3), NONE, settings=settings(weight=0.5))
    assert pair_set(found.pairs) == {("p0", "p1"), ("p1", "p2")}
    assert found.pairs.labels.tolist() == [0, 0]
    assert found.pairs.weights.tolist() == [0.5, 0.5]
    assert found.pairs.sources.tolist() == ["mined", "mined"]
    assert found.dropped == {}


@pytest.mark.parametrize(
    ("reason", "columns", "labelled", "near"),
    [
        (GROUP, {"groups": ["a", "a", ""]}, NONE, None),
        (TITLE, {"titles": ["mug", "mug", "cup"]}, NONE, None),
        (PICTURE, {}, NONE, np.array([4, 4, -1])),
        (LABELLED, {}, canonical_pairs(["p0"], ["p1"], [0]), None),
        (LABELLED, {}, canonical_pairs(["p0"], ["p1"], [1]), None),
    ],
)
def test_each_guard_leaves_its_pairs_out_and_counts_them(
    make_catalog, pair_set, reason, columns, labelled, near
):
    found = hard_negatives(
        THREE, make_catalog(3, **columns), labelled, near=near, settings=settings()
    )
    assert pair_set(found.pairs) == {("p1", "p2")}
    # Found from p0 and from p1.
    assert found.dropped == {reason: 2}


def test_products_similar_by_way_of_others_are_no_negatives(make_catalog, pair_set):
    # p0 ~ p3 ~ p1, though p3 lies far away.
    similar = canonical_pairs(["p0", "p1"], ["p3", "p3"], [1, 1])
    found = hard_negatives(
        on_circle(0, 10, 60, 200), make_catalog(4), similar, settings=settings()
    )
    assert pair_set(found.pairs) == {("p1", "p2"), ("p2", "p3")}
    assert found.dropped == {SIMILAR: 2}


def test_nearer_than_similar_pairs_usually_are_is_not_believed(make_catalog, pair_set):
    # The similar pairs are 20 and 40 degrees apart: at a quantile of one half the
    # bound is the mean of 0.347 and 0.684, which is 0.516, or 30 degrees.
    embeddings = on_circle(0, 20, 100, 140, 220, 249, 310, 341)
    similar = canonical_pairs(["p0", "p2"], ["p1", "p3"], [1, 1])

    def found(quantile):
        return hard_negatives(
            embeddings,
            make_catalog(8),
            similar,
            settings=settings(guard_quantile=quantile),
        )

    half = found(0.5)
    # p0's nearest is p7, 19 degrees away; p4 and p5 are 29 apart, p6 and p7 31.
    assert ("p4", "p5") in pair_set(found(None).pairs)
    assert ("p4", "p5") not in pair_set(half.pairs)
    assert ("p4", "p5") in pair_set(found(0.0).pairs)
    # p0-p7 from both sides, p4-p5 from both.
    assert half.dropped == {LABELLED: 3, TOO_NEAR: 4}
    assert pair_set(half.pairs) == {("p6", "p7")}


def test_a_bound_needs_similar_pairs(make_catalog, pair_set):
    found = hard_negatives(
        THREE, make_catalog(3), NONE, settings=settings(guard_quantile=1.0)
    )
    assert len(found.pairs) == 2


def test_ranks_neighbours_and_pairs_a_product(make_catalog, pair_set):
    embeddings = on_circle(0, 1, 3, 7, 15)

    def of(**more):
        catalog = make_catalog(5)
        return pair_set(
            hard_negatives(embeddings, catalog, NONE, settings=settings(**more)).pairs
        )

    # Each product's nearest, then its second nearest.
    assert of() == {("p0", "p1"), ("p1", "p2"), ("p2", "p3"), ("p3", "p4")}
    assert of(min_rank=1) == {("p0", "p2"), ("p1", "p2"), ("p1", "p3"), ("p2", "p4")}
    assert of(neighbours=2, per_product=1) == of()
    assert of(neighbours=2, per_product=2) == of() | of(min_rank=1)


def test_guarded_neighbours_make_room_for_the_next(make_catalog, pair_set):
    catalog = make_catalog(4, groups=["a", "a", "", ""])
    found = hard_negatives(
        on_circle(0, 10, 60, 200),
        catalog,
        NONE,
        settings=settings(neighbours=2, per_product=1),
    )
    assert {("p0", "p2"), ("p1", "p2")} <= pair_set(found.pairs)


def test_only_allowed_products_with_an_embedding_take_part(make_catalog, pair_set):
    embeddings = on_circle(0, 1, None, 5, 60)
    found = hard_negatives(
        embeddings,
        make_catalog(5),
        NONE,
        ids_allowed=["p4", "p3", "p2", "p0"],
        settings=settings(),
    )
    assert pair_set(found.pairs) == {("p0", "p3"), ("p3", "p4")}
    assert found.dropped == {NO_EMBEDDING: 1}


def test_positives_beyond_the_allowed_set_no_bound(make_catalog, pair_set):
    similar = canonical_pairs(["p0"], ["p3"], [1])
    found = hard_negatives(
        on_circle(0, 10, 60, 180),
        make_catalog(4),
        similar,
        ids_allowed=["p0", "p1", "p2"],
        settings=settings(guard_quantile=1.0),
    )
    assert pair_set(found.pairs) == {("p0", "p1"), ("p1", "p2")}


def random_case(make_catalog, size=150):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(size, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    catalog = make_catalog(size, groups=[f"g{i % 40}" for i in range(size)])
    ends = rng.integers(size, size=(60, 2))
    pairs = canonical_pairs(
        catalog.ids[ends[:, 0]], catalog.ids[ends[:, 1]], rng.integers(2, size=60)
    )
    return vectors, catalog, pairs


def test_all_pairs_are_those_of_a_slow_search(make_catalog, pair_set):
    vectors, catalog, labelled = random_case(make_catalog)
    chosen = HardNegativeSettings(
        neighbours=8, per_product=3, min_rank=2, guard_quantile=0.05
    )
    found = hard_negatives(vectors, catalog, labelled, settings=chosen)
    parent = list(range(150))
    rows = catalog.rows_of(labelled.anchor_ids), catalog.rows_of(labelled.other_ids)
    known, distances = set(), []
    for a, b, label in zip(*rows, labelled.labels):
        known.add(frozenset((a, b)))
        if label:
            distances.append(np.linalg.norm(vectors[a] - vectors[b]))
            parent = [parent[a] if one == parent[b] else one for one in parent]
    bound = np.quantile(distances, 0.05)
    expected = set()
    for row in range(150):
        apart = np.linalg.norm(vectors - vectors[row], axis=1)
        apart[row] = np.inf
        kept = [
            other
            for other in np.argsort(apart)[2:10]
            if frozenset((row, other)) not in known
            and row % 40 != other % 40
            and parent[row] != parent[other]
            and apart[other] >= bound
        ]
        for other in kept[:3]:
            expected.add(tuple(sorted((f"p{row}", f"p{other}"))))
    assert pair_set(found.pairs) == expected
    assert len(expected) > 50


def test_the_same_call_gives_the_same_pairs_and_tells_how_far_it_is(make_catalog):
    told = []
    runs = [
        hard_negatives(
            *random_case(make_catalog), progress=lambda *now: told.append(now)
        )
        for _ in range(2)
    ]
    assert runs[0].pairs.anchor_ids.tolist() == runs[1].pairs.anchor_ids.tolist()
    assert runs[0].pairs.other_ids.tolist() == runs[1].pairs.other_ids.tolist()
    assert runs[0].dropped == runs[1].dropped
    assert told == [(150, 150)] * 2


def test_embeddings_of_another_catalogue_are_refused(make_catalog):
    with pytest.raises(ValueError, match="got 3 embeddings for 4 products"):
        hard_negatives(THREE, make_catalog(4), NONE)


def test_one_product_is_refused(make_catalog):
    with pytest.raises(ValueError, match="take two products with an embedding"):
        hard_negatives(on_circle(0, None), make_catalog(2), NONE)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("neighbours", 0, "neighbours must be at least 1, got 0"),
        ("per_product", 0, "per_product must be at least 1, got 0"),
        ("min_rank", -1, "min_rank must be at least 0, got -1"),
        ("guard_quantile", 1.5, r"guard_quantile must be in \[0, 1\], got 1.5"),
        ("weight", 0.0, "weight must be above 0, got 0.0"),
    ],
)
def test_settings_out_of_range_are_refused(name, value, says):
    with pytest.raises(ValueError, match=says):
        HardNegativeSettings(**{name: value})
