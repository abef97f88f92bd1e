"""Negatives drawn at random."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.negatives.guards import GROUP, LABELLED, PICTURE, SIMILAR, TITLE
from simprod_tf.negatives.random import TWICE, random_negatives

NONE = canonical_pairs([], [], [])


def test_pairs_share_the_columns_value(make_catalog, pair_set):
    catalog = make_catalog(7, kind=["mug", "pan", "mug", "pan", "mug", "", "lid"])
    found = random_negatives(catalog, "kind", num_pairs=100, positives=NONE)
    # All there are: three of mugs, one of pans; nothing and a lone lid take no part.
    assert pair_set(found.pairs) == {
        ("p0", "p2"), ("p0", "p4"), ("p2", "p4"), ("p1", "p3")
    }  # fmt: skip
    assert found.dropped.keys() == {TWICE}
    assert found.pairs.labels.tolist() == [0] * 4
    assert found.pairs.sources.tolist() == ["mined"] * 4


def test_without_a_column_any_two_products_may_come(make_catalog, pair_set):
    found = random_negatives(make_catalog(4), num_pairs=50, positives=NONE, weight=0.25)
    assert len(pair_set(found.pairs)) == 6
    assert found.pairs.weights.tolist() == [0.25] * 6


@pytest.mark.parametrize(
    ("reason", "columns", "labelled", "near"),
    [
        (GROUP, {"groups": ["a", "a", ""]}, NONE, None),
        (TITLE, {"titles": ["mug", "mug", "cup"]}, NONE, None),
        (PICTURE, {}, NONE, np.array([4, 4, -1])),
        (LABELLED, {}, canonical_pairs(["p0"], ["p1"], [0]), None),
    ],
)
def test_each_guard_leaves_its_pairs_out_and_counts_them(
    make_catalog, pair_set, reason, columns, labelled, near
):
    found = random_negatives(
        make_catalog(3, **columns), num_pairs=9, positives=labelled, near=near
    )
    assert pair_set(found.pairs) == {("p0", "p2"), ("p1", "p2")}
    assert found.dropped.keys() == {reason, TWICE}
    # A third of 20 rounds of 9 draws: 60, give or take four deviations of 6.3.
    assert 35 < found.dropped[reason] < 85


def test_products_similar_by_way_of_others_are_no_negatives(make_catalog, pair_set):
    similar = canonical_pairs(["p0", "p1"], ["p2", "p2"], [1, 1])
    found = random_negatives(make_catalog(4), num_pairs=30, positives=similar)
    assert pair_set(found.pairs) == {("p0", "p3"), ("p1", "p3"), ("p2", "p3")}
    assert found.dropped.keys() == {LABELLED, SIMILAR, TWICE}


def test_only_allowed_products_take_part(make_catalog, pair_set):
    found = random_negatives(
        make_catalog(9), num_pairs=30, positives=NONE, ids_allowed=["p8", "p1", "p5"]
    )
    assert pair_set(found.pairs) == {("p1", "p5"), ("p1", "p8"), ("p5", "p8")}


def test_as_many_as_asked_by_seed_and_each_once(make_catalog, pair_set):
    catalog = make_catalog(200, kind=[f"k{i % 4}" for i in range(200)])

    def of(seed):
        found = random_negatives(
            catalog, "kind", num_pairs=500, positives=NONE, seed=seed
        )
        return found.pairs

    first = of(1)
    assert len(first) == len(pair_set(first)) == 500
    assert all(
        int(a[1:]) % 4 == int(b[1:]) % 4
        for a, b in zip(first.anchor_ids, first.other_ids)
    )
    assert first.anchor_ids.tolist() == of(1).anchor_ids.tolist()
    assert pair_set(first) != pair_set(of(2))


def test_the_other_product_is_drawn_evenly(make_catalog):
    # 6 pairs, each as likely: 2 of them drawn in each of 300 runs.
    counts = Counter()
    for seed in range(300):
        pairs = random_negatives(
            make_catalog(4), num_pairs=2, positives=NONE, seed=seed
        ).pairs
        counts.update(zip(pairs.anchor_ids, pairs.other_ids))
    assert sum(counts.values()) == 600
    # 100 each, a deviation of about 8.
    assert all(65 < count < 135 for count in counts.values())
    assert len(counts) == 6


def test_what_cannot_be_drawn_is_refused(make_catalog):
    catalog = make_catalog(3, kind=["a", "b", ""])
    with pytest.raises(ValueError, match="no two products share a 'kind'"):
        random_negatives(catalog, "kind", num_pairs=1, positives=NONE)
    with pytest.raises(ValueError, match="no two products are there"):
        random_negatives(catalog, num_pairs=1, positives=NONE, ids_allowed=["p0"])
    with pytest.raises(KeyError, match="no column 'brand'"):
        random_negatives(catalog, "brand", num_pairs=1, positives=NONE)
    with pytest.raises(ValueError, match="weight above 0, got 0 and 1.0"):
        random_negatives(catalog, num_pairs=0, positives=NONE)


def test_negatives_load_no_tensorflow():
    code = (
        "import sys, simprod_tf.negatives.hard, simprod_tf.negatives.random;"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
