"""Prints the losses of a fit on two replicas as JSON.

`resumed_replicas.py FOLDER [EPOCH]`: dies in the middle of that epoch, from 0; FOLDER
is where the next one goes on from.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import tensorflow as tf

EPOCHS = 4


class Death(tf.keras.callbacks.Callback):
    """Ends the process in the middle of an epoch, as a kill does."""

    def __init__(self, epoch):
        super().__init__()
        self.at, self.epoch = epoch, -1

    def on_epoch_begin(self, epoch, logs=None):
        """Notes the epoch."""
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        """Ends the process."""
        if (self.epoch, batch) == (self.at, 0):
            os._exit(9)


def main(folder: Path, *deaths: int) -> list[float]:
    """Returns the loss of each epoch."""
    devices = tf.config.list_physical_devices("CPU")
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(devices[0], two)

    import toy_shop as toy

    from simprod_tf.training.fit import TrainingSide, fit_encoder
    from simprod_tf.training.optimizer import OptimizerSettings
    from simprod_tf.training.settings import BatchSettings, FineTuning, TrainingSettings

    catalog = toy.toy_catalog()
    # Five batches: the fifth is left out, and does not begin the next epoch.
    settings = TrainingSettings(
        epochs=EPOCHS,
        batch=BatchSettings("unique", size=14),
        optimizer=OptimizerSettings(0.02, schedule="cosine"),
        fine_tuning=FineTuning(head_epochs=1),
    )

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        found = fit_encoder(
            toy.toy_encoder(0.3),
            toy.toy_pictures(),
            catalog,
            TrainingSide(toy.toy_pairs(), catalog.ids),
            settings=settings,
            towers=("tiny",),
            backup=folder,
            callbacks=[Death(epoch) for epoch in deaths],
        )
    return [one.loss for one in found]


if __name__ == "__main__":
    folder, *deaths = sys.argv[1:]
    losses = main(Path(folder), *map(int, deaths))
    sys.stdout.write(json.dumps(losses) + "\n")
