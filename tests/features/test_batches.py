"""Batches of pairs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.features.augment import AugmentSettings
from simprod_tf.features.batches import pair_batches
from simprod_tf.features.epoch_clock import EpochClock


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
    assert plain["anchor_tower_pixels"].dtype == "float32"
    assert changed["anchor_tower_pixels"].dtype == "float32"


def test_pictures_are_changed_as_the_settings_say(catalog, pairs):
    arrays = {"tower_pixels": np.full((6, 4, 4, 3), 100, np.uint8)}
    nothing = AugmentSettings(1.0, False, light=0, colour=0, erasing=0)
    data = pair_batches(arrays, catalog, pairs, training=True, augment=nothing)
    assert (next(iter(data))[0]["other_tower_pixels"].numpy() == 100).all()


def pictures_of(catalog, pairs, **more):
    """Returns the changed pictures of each batch's other product."""
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3), dtype=np.uint8)
    data = pair_batches({"a_pixels": pixels}, catalog, pairs, training=True, **more)
    return [inputs["other_a_pixels"].numpy() for inputs, _, _ in data]


def test_towers_see_the_same_changes_and_both_sides_other_ones(catalog):
    twins = canonical_pairs(["p0"], ["p1"], [1])
    ramp = np.tile(np.arange(8, dtype=np.uint8)[:, np.newaxis], (6, 8, 1, 3))
    towers = {"a_pixels": ramp, "b_pixels": ramp}
    found = next(iter(pair_batches(towers, catalog, twins, training=True)))[0]
    assert np.array_equal(found["anchor_a_pixels"], found["anchor_b_pixels"])
    assert not np.allclose(found["anchor_a_pixels"], found["other_a_pixels"])


def test_pictures_repeat_by_epoch_and_change_between(catalog, pairs):
    first, second = (EpochClock(3, epoch) for epoch in (4, 5))
    once = pictures_of(catalog, pairs, clock=first)
    again = pictures_of(catalog, pairs, clock=EpochClock(3, 4))
    later = pictures_of(catalog, pairs, clock=second)
    assert (once[0] == again[0]).all()
    assert not (once[0] == later[0]).all()


def test_shards_change_pictures_as_one_worker_does(catalog, pairs):
    whole = pictures_of(catalog, pairs, batch_size=1)
    second = pictures_of(catalog, pairs, batch_size=1, shard=(1, 3))
    assert (whole[1] == second[0]).all()


def test_halves_come_as_float32(catalog, pairs):
    arrays = {"f": np.arange(6, dtype=np.float16)[:, np.newaxis] / 3}
    found = next(iter(pair_batches(arrays, catalog, pairs)))[0]["other_f"]
    assert found.dtype == "float32"
    assert (found.numpy() == arrays["f"][[1, 5, 3]].astype(np.float32)).all()


def others_of(data):
    """Returns the rows of the other product, a list a batch."""
    return [inputs["other_row"].numpy()[:, 0].tolist() for inputs, _, _ in data]


ROWS = {"row": np.arange(6)[:, np.newaxis]}


@pytest.fixture
def star():
    """p0 with each of the others."""
    return canonical_pairs(["p0"] * 5, [f"p{i}" for i in range(1, 6)], [1, 0, 1, 0, 1])


def test_a_pass_begun_anew_repeats_by_its_epoch(catalog, star):
    clock = EpochClock(seed=1)
    data = pair_batches(ROWS, catalog, star, batch_size=2, training=True, clock=clock)
    passes = []
    for epoch in (0, 1, 2, 1):
        clock.epoch = epoch
        passes.append(others_of(data))
    assert passes[3] == passes[1]
    assert len({str(one) for one in passes[:3]}) > 1
    restarted = EpochClock(seed=1, epoch=2)
    anew = pair_batches(
        ROWS, catalog, star, batch_size=2, training=True, clock=restarted
    )
    assert others_of(anew) == passes[2]


def test_the_number_of_batches_is_known(catalog, star):
    data = pair_batches(ROWS, catalog, star, batch_size=2)
    assert int(data.cardinality()) == 3
    assert others_of(data) == [[1, 2], [3, 4], [5]]


def test_shards_part_a_pass_into_equally_many_batches(catalog, star):
    def shard(index, count, **more):
        data = pair_batches(
            ROWS, catalog, star, batch_size=1, shard=(index, count), **more
        )
        assert int(data.cardinality()) == 5 // count
        return others_of(data)

    assert shard(0, 2) == [[1], [3]]
    assert shard(1, 2) == [[2], [4]]
    whole = shard(0, 1, training=True)
    parts = [shard(index, 2, training=True) for index in range(2)]
    assert [batch for round in zip(*parts) for batch in round] == whole[:4]


def test_pairs_may_be_other_ones_each_pass(catalog, star):
    few, many = star.where(np.arange(5) < 2), star
    now = [few]
    data = pair_batches(ROWS, catalog, lambda: now[0], batch_size=1, training=True)
    assert sorted(others_of(data)) == [[1], [2]]
    now[0] = many
    # Still two batches a pass, now of five pairs.
    seen = [others_of(data) for _ in range(20)]
    assert {len(one) for one in seen} == {2}
    assert {row for one in seen for batch in one for row in batch} == {1, 2, 3, 4, 5}
    now[0] = star.where(np.arange(5) == 4)
    assert others_of(data) == [[5], [5]]


def test_no_pair_is_refused(catalog, star):
    nothing = star.where(np.zeros(5, bool))
    with pytest.raises(ValueError, match="there is no pair to make batches of"):
        pair_batches(ROWS, catalog, nothing)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"shard": (2, 2)}, r"0 <= index < count: \(2, 2\)"),
        ({"shard": (0, 9)}, "1 batches cannot be shared among 9 workers"),
    ],
)
def test_numbers_out_of_range_are_refused(catalog, star, more, says):
    with pytest.raises(ValueError, match=says):
        pair_batches(ROWS, catalog, star, **more)


def test_inputs_of_another_catalogue_are_refused(catalog, star):
    with pytest.raises(ValueError, match="input 'row' has 4 rows for 6 products"):
        pair_batches({"row": np.zeros((4, 1))}, catalog, star)
