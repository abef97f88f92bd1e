"""Prints the losses of the toy shop's training under a strategy, as JSON.

`distributed_fit.py none | mirrored | multi-worker`. "none" takes in each
step what two replicas take together.
"""

from __future__ import annotations

import json
import sys

import tensorflow as tf

BATCH, EPOCHS = 8, 3


def main(name: str) -> list[float]:
    """Returns the loss of each epoch."""
    if name == "mirrored":
        devices = tf.config.list_physical_devices("CPU")
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(devices[0], two)

    import toy_shop as toy

    from simprod_tf.features.batches import pair_batches
    from simprod_tf.model.losses import contrastive_loss
    from simprod_tf.model.siamese import build_siamese
    from simprod_tf.training.optimizer import OptimizerSettings, build_optimizer
    from simprod_tf.training.strategy import distributed, strategy_of

    # CPUs in place of the GPUs that a machine has.
    strategy = (
        tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        if name == "mirrored"
        else strategy_of(name)
    )
    arrays, catalog, pairs = toy.toy_arrays(), toy.toy_catalog(), toy.toy_pairs()

    def make(shard):
        row, count = shard
        size = 2 * BATCH if name == "none" else BATCH
        batches = pair_batches(arrays, catalog, pairs, batch_size=size)
        return batches.shard(count, row)

    with strategy.scope():
        model = build_siamese(toy.toy_head())
        settings = OptimizerSettings(
            learning_rate=0.02, weight_decay=0.01, clip_norm=0.5, warmup_epochs=0.5
        )
        optimizer = build_optimizer(
            settings, model, steps_per_epoch=4, epochs=EPOCHS, rates={"hidden": 0.1}
        )
        model.compile(optimizer, contrastive_loss(1.0))
    given = distributed(strategy, make)
    history = model.fit(
        given.dataset,
        steps_per_epoch=given.steps_per_epoch,
        epochs=EPOCHS,
        verbose=0,
    )
    return history.history["loss"]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1])) + "\n")
