"""Pairs as batches of words: what is joined, weighted, padded and shuffled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.training.pair_batches import (
    examples_of,
    implied_pairs,
    padded_words,
    training_batches,
    validation_batches,
    with_implied,
)
from simprod_tf.training.pair_decider_settings import PairDeciderSettings

PLAIN = PairDeciderSettings(batch_size=2, changed=0, renamed=0)
WORDS = [[f"w{row}"] * (row % 3 + 1) for row in range(20)]


@pytest.fixture(scope="module")
def catalog():
    ids = text_array([f"p{row:02}" for row in range(20)])
    none = text_array([""] * 20)
    return Catalog(ids, none, none, none, pa.table({}))


@pytest.fixture(scope="module")
def pairs(catalog):
    """0 = 1 = 2 = 3 leaves (0, 2), (0, 3) and (1, 3); the last is labelled not so."""
    one, other = catalog.ids[[0, 1, 2, 1, 5]], catalog.ids[[1, 2, 3, 3, 6]]
    return canonical_pairs(one, other, [1, 1, 1, 0, 1]).weighted(2.0)


def test_what_follows_from_similar_pairs_is_joined_once(catalog, pairs):
    assert implied_pairs(catalog, pairs).tolist() == [[0, 2], [0, 3]]


def test_implied_pairs_stand_behind_the_labelled_ones_with_weight_1(catalog, pairs):
    found = with_implied(catalog, pairs)
    assert found.labels.tolist() == [1, 1, 1, 0, 1, 1, 1]
    assert found.weights.tolist() == [2, 2, 2, 2, 2, 1, 1]
    assert found.starts[-2:].tolist() == [0, 0]
    assert found.ends[-2:].tolist() == [2, 3]


def test_large_groups_are_not_joined(catalog):
    ids = catalog.ids
    chain = canonical_pairs(ids[:12], ids[1:13], [1] * 12)
    assert implied_pairs(catalog, chain).shape == (0, 2)


def test_words_are_padded_to_the_longest():
    found = padded_words([["a", "\u00e9"], [], ["b"]])
    assert found.tolist() == [[b"a", b"\xc3\xa9"], [b"", b""], [b"b", b""]]
    assert padded_words([[]]).tolist() == [[b""]]


def test_validation_has_each_pair_once_in_its_order(catalog, pairs):
    (texts, labels, weights), *more = validation_batches(
        WORDS, examples_of(catalog, pairs)
    )
    assert more == []
    assert [row[0].decode() for row in texts[0].numpy()] == "w0 w1 w2 w1 w5".split()
    assert labels.numpy().tolist() == [1, 1, 1, 0, 1]
    assert weights.numpy().tolist() == [2] * 5


def test_training_goes_through_the_pairs_in_a_new_order_each_time(catalog, pairs):
    known = examples_of(catalog, pairs.where(np.arange(5) != 4))
    batches = training_batches(WORDS, known, PLAIN, seed=1).take(20)
    drawn = []
    for (one, other), _, _ in batches:
        drawn += [
            frozenset([a[0].decode(), b[0].decode()])
            for a, b in zip(one.numpy(), other.numpy())
        ]
    expected = {frozenset(p) for p in (("w0", "w1"), ("w1", "w2"), ("w2", "w3"))}
    expected.add(frozenset(("w1", "w3")))
    passes = [drawn[first : first + 4] for first in range(0, 40, 4)]
    assert all(set(one) == expected for one in passes)
    assert len({tuple(map(tuple, map(sorted, one))) for one in passes}) > 1


def test_fewer_pairs_than_a_batch_are_one_batch(catalog, pairs):
    found = training_batches(
        WORDS, examples_of(catalog, pairs), replace(PLAIN, batch_size=64), seed=0
    )
    assert [len(labels) for _, labels, _ in found.take(2)] == [5, 5]
