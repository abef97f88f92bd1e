"""What may not be taken for dissimilar."""

from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.negatives.guards import (
    GROUP,
    LABELLED,
    PICTURE,
    SIMILAR,
    TITLE,
    guards_of,
    negative_pairs,
    pair_numbers,
)


def forbidden(guards, size):
    """Returns the forbidden pairs (first < second) of rows by reason."""
    first, second = np.triu_indices(size, 1)
    return {
        reason: list(zip(first[mask].tolist(), second[mask].tolist()))
        for reason, mask in guards.reasons(first, second).items()
        if mask.any()
    }


def test_each_guard_forbids_its_own_pairs(make_catalog):
    catalog = make_catalog(
        6,
        titles=["mug", "cup", "", "mug", "", "Mug"],
        groups=["a", "", "a", "b", "", ""],
    )
    labelled = canonical_pairs(["p1", "p4", "p0"], ["p4", "p5", "p5"], [1, 1, 0])
    near = np.array([3, -1, 4, -1, 4, 5])
    assert forbidden(guards_of(catalog, labelled, near), 6) == {
        LABELLED: [(0, 5), (1, 4), (4, 5)],
        GROUP: [(0, 2)],
        # p1 ~ p4 ~ p5, so p1 and p5 as well.
        SIMILAR: [(1, 4), (1, 5), (4, 5)],
        TITLE: [(0, 3)],
        PICTURE: [(2, 4)],
    }


def test_which_of_two_comes_first_does_not_matter(make_catalog):
    labelled = canonical_pairs(["p0"], ["p2"], [0])
    guards = guards_of(make_catalog(3), labelled, None)
    found = guards.reasons(np.array([2, 0, 2]), np.array([0, 2, 1]))
    assert found[LABELLED].tolist() == [True, True, False]


def test_without_pictures_no_pair_is_a_near_duplicate(make_catalog):
    none = canonical_pairs([], [], [])
    assert forbidden(guards_of(make_catalog(3), none, None), 3) == {}
    assert forbidden(guards_of(make_catalog(3), none, np.full(3, -1)), 3) == {}


def test_near_duplicates_of_another_catalogue_are_refused(make_catalog):
    none = canonical_pairs([], [], [])
    with pytest.raises(ValueError, match="near has 2 rows for 3 products"):
        guards_of(make_catalog(3), none, np.zeros(2))


def test_pair_numbers_are_each_pairs_own():
    first, second = np.triu_indices(7, 1)
    numbers = pair_numbers(first, second, 7)
    assert len(set(numbers.tolist())) == 21
    assert (pair_numbers(second, first, 7) == numbers).all()


def test_negatives_are_canonical_mined_and_weighted(make_catalog):
    found = negative_pairs(make_catalog(3), np.array([2, 1]), np.array([0, 2]), 0.5)
    assert set(zip(found.anchor_ids, found.other_ids)) == {("p0", "p2"), ("p1", "p2")}
    assert found.labels.tolist() == [0, 0]
    assert found.weights.tolist() == [0.5, 0.5]
    assert found.sources.tolist() == ["mined", "mined"]
