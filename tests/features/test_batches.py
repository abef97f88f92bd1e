"""Batches of pairs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.features.batches import pair_batches


@pytest.fixture
def catalog():
    ids = [f"p{i}" for i in range(6)]
    empty = text_array([""] * 6)
    return Catalog(text_array(ids), text_array(ids), empty, empty, pa.table({}))


@pytest.fixture
def pairs():
    return canonical_pairs(
        ["p0", "p2", "p1"], ["p1", "p5", "p3"], [1, 0, 1], weights=[1, 0.5, 0.25]
    )


def test_each_pair_brings_its_products_label_and_weight(catalog, pairs):
    arrays = {"word_ids": np.arange(12, dtype=np.int32).reshape(6, 2)}
    batches = list(pair_batches(arrays, catalog, pairs, batch_size=2))
    assert [len(labels) for _, labels, _ in batches] == [2, 1]
    inputs, labels, weights = batches[0]
    assert inputs["anchor_word_ids"].numpy().tolist() == [[0, 1], [4, 5]]
    assert inputs["other_word_ids"].numpy().tolist() == [[2, 3], [10, 11]]
    assert labels.numpy().tolist() == [[1.0], [0.0]]
    assert weights.numpy().tolist() == [1.0, 0.5]


def test_training_shuffles_anew_each_pass_and_repeats_by_seed(catalog):
    many = canonical_pairs(["p0"] * 5, [f"p{i}" for i in range(1, 6)], [1, 0, 1, 0, 1])
    arrays = {"word_ids": np.arange(6, dtype=np.int32)[:, np.newaxis]}

    def order(seed):
        data = pair_batches(arrays, catalog, many, training=True, seed=seed)
        return [
            [tuple(x) for x in inputs["other_word_ids"].numpy().tolist()]
            for _ in range(4)
            for inputs, _, _ in data
        ]

    first = order(1)
    assert len({tuple(one) for one in first}) > 1
    assert all(sorted(one) == [(1,), (2,), (3,), (4,), (5,)] for one in first)
    assert first == order(1)
    assert first != order(2)


def test_pictures_change_while_training_and_only_then(catalog, pairs):
    rng = np.random.default_rng(0)
    arrays = {
        "tower_pixels": rng.integers(0, 255, (6, 8, 8, 3), dtype=np.uint8),
        "has_image": np.ones((6, 1), np.float32),
    }
    plain = next(iter(pair_batches(arrays, catalog, pairs)))[0]
    assert (
        plain["anchor_tower_pixels"].numpy() == arrays["tower_pixels"][[0, 2, 1]]
    ).all()
    changed = next(iter(pair_batches(arrays, catalog, pairs, training=True)))[0]
    assert changed["anchor_tower_pixels"].shape == (3, 8, 8, 3)
    pixels = changed["anchor_tower_pixels"].numpy()
    assert pixels.min() >= 0
    assert pixels.max() <= 255
    assert not any((p == q).all() for p in pixels for q in arrays["tower_pixels"])
    assert (changed["anchor_has_image"].numpy() == 1).all()
