"""What TFLite gets computes what the encoder's Keras model does."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.export.tflite_model import GatheredWordMean
from simprod_tf.model.text_tower import WordVectorMean


@pytest.mark.parametrize("num_words, buckets", [(3, 0), (3, 2), (0, 5)])
def test_word_vectors_are_gathered_to_the_same_mean(num_words, buckets):
    rng = np.random.default_rng(0)
    layers = [
        kind(num_words, 4, buckets=buckets)
        for kind in (WordVectorMean, GatheredWordMean)
    ]
    common = rng.normal(size=4).astype(np.float32)
    weights = rng.random(num_words + buckets).astype(np.float32)
    weights[1] = 0
    for layer in layers:
        if num_words:
            layer.set_vectors(np.arange(4 * num_words).reshape(num_words, 4) ** 2 / 10)
        layer.set_word_weights(weights)
        layer.set_common(common / np.linalg.norm(common))
    last = num_words + buckets
    ids = tf.constant([[1, 3, 0, 0], [2, 0, 0, 0], [0] * 4, [last, last, 1, 2]])
    (mean, there), (found, found_there) = (layer(ids) for layer in layers)
    assert np.abs(found - mean).max() < 1e-5
    assert there.numpy().ravel().tolist() == [1, 0, 0, 1]
    assert (found_there == there).numpy().all()
