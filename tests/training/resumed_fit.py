"""Fits the toy shop; `resumed_fit.py FOLDER EPOCH MOMENT` dies there on the way.

MOMENT is "batch" for the middle of the epoch, "backup" for between the record of
the epoch and its backup, "end" for after its backup.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import toy_shop as toy

from simprod_tf.features.epoch_clock import EpochClock
from simprod_tf.model.losses import contrastive_loss
from simprod_tf.model.siamese import build_siamese
from simprod_tf.training.callbacks import ClockHand, PairMetrics
from simprod_tf.training.optimizer import OptimizerSettings, build_optimizer
from simprod_tf.training.stopping import ResumableStopping

EPOCHS, BATCH = 8, 16


def batches(arrays, catalog, pairs, clock):
    """Returns pairs in an order of the epoch's own."""
    rows = [catalog.rows_of(ids) for ids in (pairs.anchor_ids, pairs.other_ids)]

    def draw():
        order = clock.rng(0).permutation(len(pairs))
        for some in np.split(order, len(order) // BATCH):
            inputs = {
                f"{side}_{name}": array[which[some]]
                for side, which in zip(("anchor", "other"), rows)
                for name, array in arrays.items()
            }
            yield inputs, pairs.labels[some].astype(np.float32)[:, np.newaxis]

    inputs = {
        f"{side}_{name}": tf.TensorSpec([None, *array.shape[1:]], tf.float32)
        for side in ("anchor", "other")
        for name, array in arrays.items()
    }
    labels = tf.TensorSpec([None, 1], tf.float32)
    dataset = tf.data.Dataset.from_generator(draw, output_signature=(inputs, labels))
    # Without a known length, Keras asks for a batch too many in the first epoch of each
    # process, and the optimizer counts a step that it does not take.
    steps = tf.data.experimental.assert_cardinality(len(pairs) // BATCH)
    return dataset.apply(steps)


class Death(tf.keras.callbacks.Callback):
    """Ends the process at once, as a kill does."""

    def __init__(self, epoch, moment, wanted):
        super().__init__()
        self.at, self.moment, self.wanted, self.epoch = epoch, moment, wanted, -1

    def on_epoch_begin(self, epoch, logs=None):
        """Notes the epoch."""
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        """Dies in the middle of an epoch."""
        if (self.wanted, self.epoch, batch) == ("batch", self.at, 1):
            os._exit(9)

    def on_epoch_end(self, epoch, logs=None):
        """Dies at the end of an epoch."""
        if (self.wanted, epoch) == (self.moment, self.at):
            os._exit(9)


def fit(folder, at=-1, wanted="", *, patience=9):
    """Returns the fitted encoder's weights and the epochs' rows."""
    catalog, arrays, clock = toy.toy_catalog(), toy.toy_arrays(), EpochClock(seed=4)
    head = toy.toy_head(dropout=0.3)
    model = build_siamese(head)
    settings = OptimizerSettings(
        learning_rate=0.05, schedule="cosine", warmup_epochs=0.75
    )
    optimizer = build_optimizer(settings, model, steps_per_epoch=4, epochs=EPOCHS)
    model.compile(optimizer, contrastive_loss(1.0))
    pairs = toy.toy_pairs()
    stopping = ResumableStopping(Path(folder) / "best", patience=patience)
    model.fit(
        batches(arrays, catalog, pairs, clock),
        epochs=EPOCHS,
        verbose=0,
        callbacks=[
            PairMetrics(head, arrays, catalog, pairs),
            stopping,
            Death(at, "backup", wanted),
            tf.keras.callbacks.BackupAndRestore(str(Path(folder) / "backup")),
            Death(at, "end", wanted),
            ClockHand(clock),
        ],
    )
    return head.get_weights(), stopping.rows


if __name__ == "__main__":
    weights, rows = fit(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    named = {str(row): one for row, one in enumerate(weights)}
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    np.savez(Path(sys.argv[1]) / "final.npz", **named, **columns)
