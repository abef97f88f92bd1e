"""An encoder of a picture and a title, small and of random weights."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.features.product_inputs import ProductInputs, TextInput
from simprod_tf.model.encoder import EncoderSettings, build_head
from simprod_tf.model.image_tower import build_image_tower
from simprod_tf.model.source import TextSource, VectorSource
from simprod_tf.trained import TrainedEncoder


def _with_random_weights(head):
    """As after training: a missing modality has a vector, and biases are not zero."""
    for weight in head.trainable_weights:
        weight.assign_add(tf.random.normal(weight.shape, stddev=0.05, seed=2))
    return head


@pytest.fixture(scope="session")
def with_random_weights():
    return _with_random_weights


@pytest.fixture(scope="package")
def trained():
    tf.keras.utils.set_random_seed(1)
    tower = build_image_tower("small")
    vectors = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    sources = [VectorSource(tower.name, tower.dim, "image"), TextSource(vectors)]
    settings = EncoderSettings(embedding_dim=16, hidden_units=32)
    head = _with_random_weights(build_head(sources, settings))
    details = {"decision": {"refused": "no pairs"}}
    inputs = ProductInputs(TextInput(("red", "mug", "350ml")))
    return TrainedEncoder(head, (tower,), inputs, details)
