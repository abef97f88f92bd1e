"""The encoder's Keras model in ops that TFLite has."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from simprod_tf.model.encoder import build_encoder
from simprod_tf.model.text_tower import WordVectorMean
from simprod_tf.trained import TrainedEncoder


class GatheredWordMean(WordVectorMean):
    """The same mean of word vectors, by gathering them: TFLite has no sparse product.

    It writes [B, L, dim] vectors first, which for one short title is nothing.
    """

    def call(
        self, word_ids: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the mean [B, dim] float32, and whether there is a word [B, 1]."""
        tables = [self.vectors] if self.num_words else []
        tables += [self.bucket_vectors] if self.buckets else []
        at = tf.maximum(word_ids - 1, 0)
        weights = tf.gather(tf.convert_to_tensor(self.word_weights), at)
        weights *= tf.cast(word_ids > 0, tf.float32)
        total = tf.reduce_sum(weights, axis=1, keepdims=True)
        found = total > 0
        vectors = tf.gather(tf.concat(tables, axis=0), at)
        mean = tf.reduce_sum(vectors * weights[:, :, tf.newaxis], axis=1)
        mean /= tf.where(found, total, 1.0)
        common = tf.convert_to_tensor(self.common)
        mean -= tf.reduce_sum(mean * common, axis=1, keepdims=True) * common
        return mean, tf.cast(found, tf.float32)


def tflite_function(trained: TrainedEncoder) -> Any:
    """Returns a module whose `embed` is a concrete function of one product.

    It takes the Keras model's inputs, [1, ...], pixels as uint8, and gives `embedding`
    [1, D] float32.
    """
    head = tf.keras.models.clone_model(trained.head, clone_function=_without_sparse)
    head.set_weights(trained.head.get_weights())
    model = build_encoder({one.name: one.model for one in trained.towers}, head)
    types = {name: tensor.dtype for name, tensor in model.input.items()}
    specs = {
        name: tf.TensorSpec(
            [1, *tensor.shape[1:]],
            tf.uint8 if name.endswith("_pixels") else tensor.dtype,
            name,
        )
        for name, tensor in model.input.items()
    }

    def embed(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = {name: tf.cast(raw[name], types[name]) for name in types}
        return {"embedding": model(inputs, training=False)}

    module = tf.train.Checkpoint(model=model)
    module.embed = tf.function(embed, autograph=False).get_concrete_function(**specs)
    return module


def _without_sparse(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    """Returns a new layer of the same settings."""
    kind = GatheredWordMean if type(layer) is WordVectorMean else type(layer)
    return kind.from_config(layer.get_config())
