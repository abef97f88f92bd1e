"""Batches of unique products with all labelled pairs among them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.features.epoch_clock import EpochClock
from simprod_tf.features.unique_batches import unique_batches


def catalog_of(size):
    ids = text_array([f"p{i:03d}" for i in range(size)])
    empty = text_array([""] * size)
    return Catalog(ids, ids, empty, empty, pa.table({}))


def rows_input(size):
    return {"row": np.arange(size)[:, np.newaxis]}


def batches_of(data):
    """Returns (rows, label, weight) of each batch as numpy arrays."""
    return [(x["row"].numpy()[:, 0], y.numpy(), w.numpy()) for x, y, w in data]


@pytest.fixture
def pairs():
    return canonical_pairs(
        ["p000", "p000", "p001", "p003", "p004"],
        ["p001", "p002", "p002", "p004", "p005"],
        [1, 0, 0, 1, 0],
        weights=[1, 2, 1, 1, 0.5],
    )


def test_a_hand_worked_batch(pairs):
    data = unique_batches(rows_input(6), catalog_of(6), pairs, batch_size=3)
    assert int(data.cardinality()) == 2
    first, second = batches_of(data)
    assert first[0].tolist() == [0, 1, 2]
    assert first[1].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    # Nine entries: 4.5 for the two similar ones, 4.5 for weights 2, 1, 2, 1.
    assert first[2].tolist() == [[0, 2.25, 1.5], [2.25, 0, 0.75], [1.5, 0.75, 0]]
    assert second[0].tolist() == [3, 4, 5]
    assert second[1].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert second[2].tolist() == [[0, 2.25, 0], [2.25, 0, 2.25], [0, 2.25, 0]]


def test_unbalanced_weights_keep_their_proportions(pairs):
    data = unique_batches(
        rows_input(6), catalog_of(6), pairs, batch_size=3, balanced=False
    )
    # Weights 1, 2 and 1, each twice: nine entries share 8.
    found = batches_of(data)[0][2]
    assert found.tolist() == [[0, 1.125, 2.25], [1.125, 0, 1.125], [2.25, 1.125, 0]]


def test_pairs_drawn_elsewhere_count_where_both_products_are(pairs):
    # p3-p4 and p4-p5 fill a batch of their own, or join the rest of a larger one.
    whole = batches_of(unique_batches(rows_input(6), catalog_of(6), pairs))
    assert len(whole) == 1
    assert whole[0][0].tolist() == [0, 1, 2, 3, 4, 5]
    assert (whole[0][2] > 0).sum() == 10


def test_one_label_alone_has_all_the_weight(pairs):
    similar = pairs.where(pairs.labels == 1)
    found = batches_of(unique_batches(rows_input(6), catalog_of(6), similar))[0]
    assert found[0].tolist() == [0, 1, 3, 4]
    assert found[2].tolist() == [[0, 4, 0, 0], [4, 0, 0, 0], [0, 0, 0, 4], [0, 0, 4, 0]]


@pytest.fixture(scope="module")
def many():
    """400 pairs among 120 products, one of which has 60 of them."""
    rng = np.random.default_rng(0)
    ends = np.concatenate([rng.integers(120, size=(340, 2)), np.zeros((60, 2), int)])
    ends[340:, 1] = rng.permutation(np.arange(1, 120))[:60]
    names = catalog_of(120).ids
    labels = (ends.sum(axis=1) % 3 == 0).astype(int)
    weights = rng.uniform(0.1, 2, len(ends))
    return canonical_pairs(
        names[ends[:, 0]], names[ends[:, 1]], labels, weights=weights
    )


def oracle(rows, pairs, balanced):
    """Returns labels and weights the slow way."""
    known = {
        (int(a[1:]), int(b[1:])): (label, weight)
        for a, b, label, weight in zip(
            pairs.anchor_ids, pairs.other_ids, pairs.labels, pairs.weights
        )
    }
    size = len(rows)
    label, weight = np.zeros((size, size)), np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            pair = known.get((min(rows[i], rows[j]), max(rows[i], rows[j])))
            if pair is not None and i != j:
                label[i, j], weight[i, j] = pair
    if balanced:
        for kind in (0, 1):
            mask = (label == kind) & (weight > 0)
            if mask.any():
                weight[mask] /= weight[mask].sum()
    return label, weight / weight.mean()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("balanced", [False, True])
def test_each_batch_holds_all_labelled_pairs_among_its_products(
    many, training, balanced
):
    data = unique_batches(
        rows_input(120),
        catalog_of(120),
        many,
        batch_size=32,
        training=training,
        balanced=balanced,
    )
    for rows, label, weight in batches_of(data):
        assert 2 <= len(rows) <= 32
        assert len(set(rows)) == len(rows)
        expected = oracle(rows, many, balanced)
        assert (label == expected[0]).all()
        assert np.allclose(weight, expected[1], rtol=1e-5)
        assert (weight == weight.T).all()


def covered(batches):
    """Returns the pairs of rows that are in a batch."""
    return {
        (int(rows[i]), int(rows[j]))
        for rows, _, weight in batches
        for i, j in zip(*np.nonzero(weight))
        if i < j
    }


@pytest.mark.parametrize("batch_size", [2, 7, 32, 256])
def test_a_pass_without_training_has_every_pair(many, batch_size):
    data = unique_batches(rows_input(120), catalog_of(120), many, batch_size=batch_size)
    found = batches_of(data)
    assert len(covered(found)) == len(many)
    assert len(found) == int(data.cardinality())


def test_training_passes_have_equally_many_batches_and_nearly_every_pair(many):
    data = unique_batches(
        rows_input(120), catalog_of(120), many, batch_size=32, training=True
    )
    passes = [batches_of(data) for _ in range(6)]
    assert {len(one) for one in passes} == {int(data.cardinality())}
    shares = [len(covered(one)) / len(many) for one in passes]
    assert shares[0] == 1
    assert min(shares) > 0.9
    assert len({str(one[0][0]) for one in passes}) > 1


def test_batches_are_denser_than_of_pairs_in_random_order():
    # 60 groups of 5 products, all pairs of each group: a batch of 20 holds 4 groups.
    first, second = np.triu_indices(5, 1)
    ends = [(5 * g + first, 5 * g + second) for g in range(60)]
    anchors, others = (np.concatenate(one) for one in zip(*ends))
    names = catalog_of(300).ids
    pairs = canonical_pairs(names[anchors], names[others], [1] * 600)
    data = unique_batches(
        rows_input(300), catalog_of(300), pairs, batch_size=20, training=True
    )
    found = batches_of(data)
    assert len(found) == 15
    assert all((weight > 0).sum() == 80 for _, _, weight in found)


def test_passes_repeat_by_seed_and_epoch(many):
    def one_pass(seed, epoch):
        data = unique_batches(
            rows_input(120),
            catalog_of(120),
            many,
            batch_size=16,
            training=True,
            clock=EpochClock(seed, epoch),
        )
        return [rows.tolist() for rows, _, _ in batches_of(data)]

    assert one_pass(1, 3) == one_pass(1, 3)
    assert one_pass(1, 3) != one_pass(1, 4)
    assert one_pass(1, 3) != one_pass(2, 3)


def test_shards_part_the_batches_of_a_pass(many):
    def rows_of(**more):
        data = unique_batches(
            rows_input(120),
            catalog_of(120),
            many,
            batch_size=16,
            training=True,
            clock=EpochClock(1, 2),
            **more,
        )
        return [rows.tolist() for rows, _, _ in batches_of(data)]

    whole = rows_of()
    parts = [rows_of(shard=(index, 2)) for index in range(2)]
    assert len(parts[0]) == len(parts[1]) == len(whole) // 2
    joined = [batch for round in zip(*parts) for batch in round]
    assert joined == whole[: len(joined)]


def test_pairs_may_be_other_ones_each_pass(pairs):
    now = [pairs.where(np.arange(5) == 0)]
    data = unique_batches(rows_input(6), catalog_of(6), lambda: now[0], training=True)
    assert batches_of(data)[0][0].tolist() == [0, 1]
    now[0] = pairs.where(np.arange(5) == 4)
    assert batches_of(data)[0][0].tolist() == [4, 5]


def test_pictures_change_while_training_and_are_floats(pairs):
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3), dtype=np.uint8)
    for training in (False, True):
        data = unique_batches(
            {"a_pixels": pixels}, catalog_of(6), pairs, training=training
        )
        found = next(iter(data))[0]["a_pixels"]
        assert found.dtype == "float32"
        assert (found.numpy() == pixels).all() == (not training)


def test_a_pair_that_stands_there_twice_is_refused(pairs):
    twice = pairs.where(np.array([0, 1, 1]))
    with pytest.raises(ValueError, match="twice; put pairs together by join_pairs"):
        unique_batches(rows_input(6), catalog_of(6), twice)


def test_a_batch_of_one_product_is_refused(pairs):
    with pytest.raises(ValueError, match="batch_size must be at least 2, got 1"):
        unique_batches(rows_input(6), catalog_of(6), pairs, batch_size=1)
