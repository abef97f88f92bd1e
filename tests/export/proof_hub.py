"""TensorFlow Hub: hub.KerasLayer, whose weights a step of training moves.

python proof_hub.py MODEL PRODUCTS.json OUT.npz
"""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras
from proof_io import finish, read_products


def main(model: str, products: str, out: str) -> None:
    """Embeds all products, fits one step, and embeds them again."""
    raw = {
        name: tf.constant(list(column), tf.string)
        for name, column in read_products(products).items()
    }
    inputs = {name: tf_keras.Input([], dtype=tf.string, name=name) for name in raw}
    layer = hub.KerasLayer(model, trainable=True)
    functional = tf_keras.Model(inputs, layer(inputs))
    before = functional(raw).numpy()
    functional.compile(tf_keras.optimizers.SGD(1.0), "mse")
    targets = np.roll(before, 1, axis=0)
    functional.fit(raw, targets, batch_size=len(targets), epochs=1, verbose=0)
    finish(
        out,
        embedding=before,
        trained=functional(raw).numpy(),
        trainable=len(layer.trainable_weights),
        versions=[tf.__version__.encode(), hub.__version__.encode()],
    )


main(*sys.argv[1:])
