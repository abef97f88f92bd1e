"""TensorFlow's v1 loader and Session.run, every signature that takes raw products.

python proof_v1.py MODEL PRODUCTS.json OUT.npz
"""

from __future__ import annotations

import sys

import tensorflow as tf
from proof_io import finish, read_products


def main(model: str, products: str, out: str) -> None:
    """Runs each signature over all products and over none."""
    raw = read_products(products)
    found = {}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], model)
        for key, signature in meta.signature_def.items():
            if not {"image_bytes", "title"} == set(signature.inputs):
                continue
            fetches = {name: one.name for name, one in signature.outputs.items()}
            for size, prefix in ((None, key), (0, f"{key}/empty")):
                feed = {
                    one.name: raw[name][:size] for name, one in signature.inputs.items()
                }
                for name, array in session.run(fetches, feed).items():
                    found[f"{prefix}/{name}"] = array
    finish(out, **found)


main(*sys.argv[1:])
