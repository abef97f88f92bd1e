"""Batches of groups of the same product."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.features.epoch_clock import EpochClock
from simprod_tf.features.group_batches import (
    group_batches,
    num_classes,
    pairs_of_classes,
    product_classes,
)


def catalog_of(groups):
    ids = text_array([f"p{i}" for i in range(len(groups))])
    empty = text_array([""] * len(groups))
    return Catalog(ids, ids, empty, text_array(groups), pa.table({}))


def rows_input(size):
    return {"row": np.arange(size)[:, np.newaxis]}


def batches_of(data):
    """Returns (rows, classes, weights) of each batch as lists."""
    return [
        (x["row"].numpy()[:, 0].tolist(), y.numpy()[:, 0].tolist(), w.numpy().tolist())
        for x, y, w in data
    ]


def test_a_class_is_a_group_of_two_and_more():
    classes = product_classes(catalog_of(["b", "a", "", "b", "c", "a", ""]))
    assert classes.tolist() == [1, 0, -1, 1, -1, 0, -1]
    assert num_classes(classes) == 2


def test_without_groups_a_class_hangs_together_by_similar_pairs():
    pairs = canonical_pairs(
        ["p0", "p3", "p1", "p2"], ["p3", "p4", "p5", "p0"], [1, 1, 1, 0]
    )
    classes = product_classes(catalog_of([""] * 6), pairs)
    assert classes.tolist() == [0, 1, -1, 0, 0, 1]


def test_pairs_that_are_given_come_before_groups():
    pairs = canonical_pairs(["p0"], ["p2"], [1])
    classes = product_classes(catalog_of(["a", "a", "", ""]), pairs)
    assert classes.tolist() == [0, -1, 0, -1]


def test_only_the_products_that_take_part_make_classes():
    catalog = catalog_of(["a", "a", "b", "b", "b"])
    assert product_classes(catalog, ids=["p1", "p2", "p4"]).tolist() == [
        -1, -1, 0, -1, 0,
    ]  # fmt: skip
    # p1 ties p0 and p2 together, but is on another side.
    pairs = canonical_pairs(["p0", "p1", "p3"], ["p1", "p2", "p4"], [1, 1, 1])
    found = product_classes(catalog_of([""] * 5), pairs, ids=["p0", "p2", "p3", "p4"])
    assert found.tolist() == [-1, -1, -1, 0, 0]


def test_no_class_is_refused():
    with pytest.raises(ValueError, match="no two products are of one class"):
        product_classes(catalog_of(["", ""]))
    with pytest.raises(ValueError, match="no two products are of one class"):
        product_classes(catalog_of(["a", "b"]))
    with pytest.raises(ValueError, match="no two products are of one class"):
        group_batches(rows_input(2), np.array([0, 1]))


SIZES = (2, 3, 5, 9, 1)
CLASSES = np.array([-1, *np.repeat(np.arange(5), SIZES)])


@pytest.mark.parametrize("products_per_group", [2, 3, 4])
def test_a_pass_has_every_product_once_with_a_fellow(products_per_group):
    data = group_batches(
        rows_input(21),
        CLASSES,
        groups_per_batch=2,
        products_per_group=products_per_group,
    )
    for _ in range(3):
        found = batches_of(data)
        rows = [row for batch in found for row in batch[0]]
        assert sorted(rows) == list(range(1, 20))
        for own, classes, weights in found:
            assert classes == CLASSES[own].tolist()
            assert min(Counter(classes).values()) > 1
            # One more than asked where the size does not divide; two parts a batch.
            assert len(own) <= 2 * (products_per_group + 1)
            assert weights == [1] * len(own)


def test_large_groups_come_in_as_many_parts_as_they_need():
    # Parts of at most 4: 2 -> 1, 3 -> 1, 5 -> 2, 9 -> 3; seven, so four batches of 2.
    data = group_batches(rows_input(21), CLASSES, groups_per_batch=2)
    assert int(data.cardinality()) == 4
    one_each = group_batches(rows_input(21), CLASSES, groups_per_batch=1)
    parts = [(len(rows), classes[0]) for rows, classes, _ in batches_of(one_each)]
    assert sorted(parts) == [(2, 0), (2, 2), (3, 1), (3, 2), (3, 3), (3, 3), (3, 3)]


def test_without_training_all_products_of_a_class_come_in_order():
    data = group_batches(
        rows_input(21),
        CLASSES,
        groups_per_batch=2,
        products_per_group=4,
        weights=np.arange(21) / 2,
        training=False,
    )
    found = batches_of(data)
    assert [rows for rows, _, _ in found] == [
        list(range(1, 9)), list(range(9, 17)), list(range(17, 21))
    ]  # fmt: skip
    assert found[2][2] == [8.5, 9, 9.5, 10]
    assert found[2][1] == [3, 3, 3, 4]


def test_passes_repeat_by_seed_and_epoch_and_shards_part_them():
    def rows_of(epoch, shard=(0, 1)):
        clock = EpochClock(1, epoch)
        data = group_batches(
            rows_input(21), CLASSES, groups_per_batch=2, clock=clock, shard=shard
        )
        return [rows for rows, _, _ in batches_of(data)]

    assert rows_of(2) == rows_of(2)
    assert rows_of(2) != rows_of(3)
    parts = rows_of(2, (0, 2)), rows_of(2, (1, 2))
    assert [batch for round in zip(*parts) for batch in round] == rows_of(2)


def test_classes_become_pairs():
    inputs = {"x": tf.constant([[1.0], [2.0], [3.0]])}
    kept, label, weight = pairs_of_classes(
        inputs, tf.constant([[7], [3], [7]]), tf.constant([1.0, 4.0, 4.0])
    )
    assert kept is inputs
    assert label.numpy().tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    # Roots 1, 2, 2: similar 2 and 2; others 2, 4, each twice. Nine in all, by half.
    expected = [[0, 0.75, 2.25], [0.75, 0, 1.5], [2.25, 1.5, 0]]
    assert np.allclose(weight, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([5, 5], [[0, 2], [2, 0]]),
        ([5, 6], [[0, 2], [2, 0]]),
        ([5], [[0]]),
    ],
)
def test_one_kind_alone_has_all_the_weight(classes, expected):
    ids = tf.constant(classes)[:, tf.newaxis]
    _, _, weight = pairs_of_classes({}, ids, tf.ones(len(classes)))
    assert weight.numpy().tolist() == expected


def test_batches_of_groups_map_to_batches_of_pairs():
    data = group_batches(rows_input(21), CLASSES, groups_per_batch=3)
    for inputs, label, weight in data.map(pairs_of_classes):
        own = CLASSES[inputs["row"].numpy()[:, 0]]
        same = own[:, None] == own
        np.fill_diagonal(same, False)
        assert (label.numpy() == same).all()
        assert np.isclose(weight.numpy().mean(), 1)
        assert (np.diag(weight) == 0).all()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"groups_per_batch": 0}, "groups_per_batch must be at least 1, got 0"),
        ({"products_per_group": 1}, "products_per_group must be at least 2, got 1"),
        ({"weights": np.ones(3)}, "got 3 weights for 21 products"),
    ],
)
def test_numbers_out_of_range_are_refused(more, says):
    with pytest.raises(ValueError, match=says):
        group_batches(rows_input(21), CLASSES, **more)
