"""Keras 3: the SavedModel as a layer, keras.layers.TFSMLayer, of a functional model.

python proof_keras3.py MODEL PRODUCTS.json OUT.npz
"""

from __future__ import annotations

import sys

import keras
import tensorflow as tf
from proof_io import finish, read_products


def main(model: str, products: str, out: str) -> None:
    """Embeds all products by a functional model with a layer of its own behind."""
    assert keras.__version__.startswith("3."), keras.__version__
    raw = {
        name: tf.constant(list(column), tf.string)
        for name, column in read_products(products).items()
    }
    inputs = {name: keras.Input([], dtype="string", name=name) for name in raw}
    # A signature takes its tensors by name alone, and a layer's call must take one
    # argument: the reusable form does.
    layer = keras.layers.TFSMLayer(model, call_endpoint="__call__")
    embedding = layer(inputs)
    doubled = keras.layers.Rescaling(2.0)(embedding)
    functional = keras.Model(inputs, {"embedding": embedding, "doubled": doubled})
    found = {name: one.numpy() for name, one in functional(raw).items()}
    versions = [tf.__version__.encode(), keras.__version__.encode()]
    finish(out, versions=versions, **found)


main(*sys.argv[1:])
