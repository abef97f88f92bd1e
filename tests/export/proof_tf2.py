"""TensorFlow 2's loader: signatures, the reusable form, tf.data and tf.distribute.

python proof_tf2.py MODEL PRODUCTS.json OUT.npz
"""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf
from proof_io import finish, read_products


def main(model: str, products: str, out: str) -> None:
    """Embeds all products in every way, and none."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, halves)
    raw = {
        name: tf.constant(list(column), tf.string)
        for name, column in read_products(products).items()
    }
    loaded = tf.saved_model.load(model)
    found = {}
    for key in ("serving_default", "embed"):
        for name, tensor in loaded.signatures[key](**raw).items():
            found[f"{key}/{name}"] = tensor.numpy()
    empty = {name: column[:0] for name, column in raw.items()}
    for name, tensor in loaded.signatures["embed"](**empty).items():
        found[f"embed/empty/{name}"] = tensor.numpy()
    found["call"] = loaded(raw).numpy()
    found["call/training=False"] = loaded(raw, training=False).numpy()
    found["call/empty"] = loaded(empty).numpy()
    found["variables"] = [len(loaded.variables), len(loaded.trainable_variables)]
    found["map"] = mapped(loaded, raw)
    found["distributed"], found["replicas"] = distributed(model, raw)
    finish(out, **found)


def mapped(loaded, raw: dict[str, tf.Tensor]) -> np.ndarray:
    """Returns the embeddings by a Dataset's map, three products at a time."""
    batches = tf.data.Dataset.from_tensor_slices(raw).batch(3)
    return np.concatenate([one.numpy() for one in batches.map(loaded)])


def distributed(model: str, raw: dict[str, tf.Tensor]) -> tuple[np.ndarray, int]:
    """Returns the embeddings by two replicas, and how many there were."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        loaded = tf.saved_model.load(model)
    batches = tf.data.Dataset.from_tensor_slices(raw).batch(4)

    @tf.function
    def step(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        return strategy.run(loaded, args=(batch,))

    found = []
    for batch in strategy.experimental_distribute_dataset(batches):
        for one in strategy.experimental_local_results(step(batch)):
            found.append(one.numpy())
    return np.concatenate(found), strategy.num_replicas_in_sync


main(*sys.argv[1:])
