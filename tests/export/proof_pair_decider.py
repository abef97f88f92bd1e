"""Pairs of texts through a SavedModel's `decide`, without simprod_tf.

Arguments: the version's folder, a JSON file of {"title", "other_title"}, the result.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import tensorflow as tf


def main(model: str, texts: str, out: str) -> None:
    with open(texts, encoding="utf-8") as file:
        content = json.load(file)
    decide = tf.saved_model.load(model).signatures["decide"]
    both = {name: tf.constant(value, tf.string) for name, value in content.items()}
    none = {name: value[:0] for name, value in both.items()}
    if any(name.split(".")[0] == "simprod_tf" for name in sys.modules):
        raise SystemExit("The proof must not import simprod_tf.")
    np.savez(
        out,
        probability=decide(**both)["probability"].numpy(),
        empty=decide(**none)["probability"].numpy(),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
