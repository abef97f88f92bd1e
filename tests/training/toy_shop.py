"""A small catalogue as arrays, for tests of training; run by child processes too."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import tensorflow as tf

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import Pairs, canonical_pairs
from simprod_tf.model.encoder import EncoderSettings, build_encoder, build_head
from simprod_tf.model.source import VectorSource

PRODUCTS, GROUPS, DIM = 48, 12, 6


def toy_catalog() -> Catalog:
    """Returns 48 products, four of each of twelve groups."""
    ids = [f"p{row:02}" for row in range(PRODUCTS)]
    groups = [f"g{row % GROUPS}" for row in range(PRODUCTS)]
    empty = text_array([""] * PRODUCTS)
    return Catalog(text_array(ids), empty, empty, text_array(groups), pa.table({}))


def toy_arrays() -> dict[str, np.ndarray]:
    """Returns features that tell groups apart, but not well."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(GROUPS, DIM))[np.arange(PRODUCTS) % GROUPS]
    features = signal + rng.normal(size=(PRODUCTS, DIM)) * 0.8
    return {
        "tower_features": features.astype(np.float32),
        "has_image": np.ones((PRODUCTS, 1), np.float32),
    }


def toy_pairs(count: int = 64) -> Pairs:
    """Returns pairs, half of them of one group."""
    rng = np.random.default_rng(1)
    group = np.arange(PRODUCTS) % GROUPS
    same = [(a, b) for a in range(PRODUCTS) for b in range(a) if group[a] == group[b]]
    other = [(a, b) for a in range(PRODUCTS) for b in range(a) if group[a] != group[b]]
    chosen = [same[row] for row in rng.permutation(len(same))[: count // 2]]
    chosen += [other[row] for row in rng.permutation(len(other))[: count // 2]]
    order = rng.permutation(count)
    ids = toy_catalog().ids
    labels = np.repeat([1, 0], count // 2)
    return canonical_pairs(
        [ids[chosen[row][0]] for row in order],
        [ids[chosen[row][1]] for row in order],
        [int(labels[row]) for row in order],
    )


def toy_head(dropout: float = 0.0) -> tf.keras.Model:
    """Returns an encoder of the arrays, the same each time."""
    tf.keras.utils.set_random_seed(0)
    settings = EncoderSettings(embedding_dim=4, hidden_units=8, dropout=dropout)
    return build_head([VectorSource("tower", DIM, "image")], settings)


def toy_pictures() -> dict[str, np.ndarray]:
    """Returns pictures of 8 x 8 pixels, each group of a colour, as inputs."""
    rng = np.random.default_rng(2)
    colour = rng.integers(0, 256, (GROUPS, 1, 1, 3))[np.arange(PRODUCTS) % GROUPS]
    pixels = colour + rng.integers(-40, 41, (PRODUCTS, 8, 8, 3))
    return {
        "tiny_pixels": np.clip(pixels, 0, 255).astype(np.uint8),
        "has_image": np.ones((PRODUCTS, 1), np.float32),
    }


def toy_encoder(dropout: float = 0.0) -> tf.keras.Model:
    """Returns an encoder of the pictures by a tower of two layers, conv and fc."""
    tf.keras.utils.set_random_seed(0)
    layers = tf.keras.layers
    pixels = tf.keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, 2, activation="relu", name="conv")(pixels / 255.0)
    x = layers.Dense(DIM, name="fc")(layers.GlobalAveragePooling2D()(x))
    tower = tf.keras.Model(pixels, x)
    settings = EncoderSettings(embedding_dim=4, hidden_units=8, dropout=dropout)
    head = build_head([VectorSource("tiny", DIM, "image")], settings)
    return build_encoder({"tiny": tower}, head)
