"""The clock of a training, and that a pass tells its time as it begins."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.features.batch_dataset import ORDER
from simprod_tf.features.batches import pair_batches
from simprod_tf.features.epoch_clock import EpochClock, each_pass


def test_draws_depend_on_seed_epoch_and_stream_alone():
    clock = EpochClock(seed=3)
    first = clock.rng(0).random(4)
    clock.epoch = 2
    second = clock.rng(0).random(4)
    clock.epoch = 0
    assert (clock.rng(0).random(4) == first).all()
    assert (EpochClock(3, 2).rng(0).random(4) == second).all()
    others = [second, clock.rng(1).random(4), EpochClock(4).rng(0).random(4)]
    assert not any((first == other).any() for other in others)


def test_passes_are_counted_without_a_clock():
    begin = each_pass(7, None)
    assert [begin(), begin()] == [EpochClock(7, 0), EpochClock(7, 1)]


def test_a_pass_keeps_its_time_while_the_clock_goes_on():
    clock = EpochClock(7, 4)
    time = each_pass(0, clock)()
    clock.epoch = 5
    assert time == EpochClock(7, 4)


class Hand(tf.keras.callbacks.Callback):
    """Sets the clock as a training does."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def on_epoch_begin(self, epoch, logs=None):
        self.clock.epoch = epoch


class Keeper(tf.keras.Model):
    """Keeps the products that it was shown."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def train_step(self, data):
        self.seen.append(data[0]["other_row"].numpy()[:, 0].tolist())
        return {"loss": tf.constant(0.0)}


@pytest.mark.parametrize(("further", "first_epoch"), [(0, 0), (3, 2)])
def test_fit_sees_each_epochs_own_order(further, first_epoch):
    ids = text_array([f"p{i}" for i in range(9)])
    empty = text_array([""] * 9)
    catalog = Catalog(ids, ids, empty, empty, pa.table({}))
    pairs = canonical_pairs(["p0"] * 8, ids[1:], [1, 0] * 4)
    # Wrong on purpose: what is drawn before the first epoch begins is seen.
    clock = EpochClock(seed=5, epoch=99)
    data = pair_batches(
        {"row": np.arange(9)[:, np.newaxis]},
        catalog,
        pairs,
        batch_size=3,
        training=True,
        clock=clock,
    )
    model = Keeper()
    model.compile(run_eagerly=True)
    model.fit(
        data.prefetch(further) if further else data,
        epochs=4,
        initial_epoch=first_epoch,
        callbacks=[Hand(clock)],
        verbose=0,
    )
    expected = []
    for epoch in range(first_epoch, 4):
        order = 1 + EpochClock(5, epoch).rng(ORDER).permutation(8)
        expected += [order[:3].tolist(), order[3:6].tolist(), order[6:].tolist()]
    assert model.seen == expected
