"""Both towers' features -> one unit-length embedding.

Each modality is brought to unit length, then they are concatenated, then projected,
then brought to unit length again. A missing modality is a presence flag of 0 and a
vector of its own, zero until trained. A product of which nothing is known, neither a
picture nor a known word, has the embedding 0: no answer, rather than the same answer
for all of them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.model.text_tower import HasWords, WordVectorMean

# Squared length under which a vector counts as zero.
TINY = 1e-12

# A modality: its name, features [B, F] and presence [B, 1].
Source = tuple[str, tf.Tensor, tf.Tensor]


@dataclass(frozen=True)
class EncoderSettings:
    """The sizes of the projection.

    Attributes:
        embedding_dim: Length of the embeddings; 0 leaves the projection out.
        hidden_units: Of a ReLU layer before it; 0 for none. A linear projection keeps
            what the features tell of products unlike those it was trained on.
        dropout: Share of the fused features left out in a training step.
    """

    embedding_dim: int = 128
    hidden_units: int = 0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.embedding_dim < 0 or self.hidden_units < 0:
            raise ValueError(
                "embedding_dim and hidden_units must be at least 0, got "
                f"{self.embedding_dim} and {self.hidden_units}."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}.")

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as plain values."""
        return asdict(self)


@tf.keras.saving.register_keras_serializable(package="simprod")
class UnitLength(tf.keras.layers.Layer):
    """x / |x| along the last axis; zeros stay zeros, with a finite gradient."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns [B, D] of length 1, or 0."""
        squared = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)
        return x * tf.math.rsqrt(tf.maximum(squared, TINY))


@tf.keras.saving.register_keras_serializable(package="simprod")
class MissingVector(tf.keras.layers.Layer):
    """Puts a learned vector, zero at first, where a modality is missing."""

    def build(self, input_shape: list[tf.TensorShape]) -> None:
        """Makes the vector [D]."""
        self.vector = self.add_weight(
            name="vector", shape=(int(input_shape[0][-1]),), initializer="zeros"
        )

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Returns [B, D] of features [B, D] and presence [B, 1], 0 or 1."""
        features, present = inputs
        return features * present + self.vector * (1.0 - present)


def build_head(
    image_dim: int, vectors: np.ndarray, settings: EncoderSettings
) -> tf.keras.Model:
    """Returns the encoder behind the image tower.

    Args:
        image_dim: Length of the tower's features; 0 where no product has a picture.
        vectors: [V, E] float32 word vectors; V = 0 where no product has a title.
        settings: Sizes of the projection.

    Returns:
        A model to unit-length embeddings [B, D] float32, of `image_features`
        [B, image_dim] float32 and `has_image` [B, 1] float32, and of `word_ids` [B, L]
        int32: of those modalities that there are.
    """
    if not image_dim and not len(vectors):
        raise ValueError("an encoder needs pictures or titles; got neither.")
    inputs: dict[str, tf.Tensor] = {}
    sources: list[Source] = []
    if image_dim:
        inputs["image_features"] = tf.keras.Input([image_dim], name="image_features")
        inputs["has_image"] = tf.keras.Input([1], name="has_image")
        sources.append(("image", inputs["image_features"], inputs["has_image"]))
    if len(vectors):
        ids = tf.keras.Input([None], dtype="int32", name="word_ids")
        inputs["word_ids"] = ids
        mean = WordVectorMean(*vectors.shape, name="word_vector_mean")
        sources.append(("text", mean(ids), HasWords(name="has_words")(ids)))
        mean.set_vectors(vectors)
    project = _projection if settings.embedding_dim else _raw
    return tf.keras.Model(inputs, project(sources, settings), name="head")


def build_encoder(
    image_tower: tf.keras.Model | None, head: tf.keras.Model
) -> tf.keras.Model:
    """Returns the whole encoder: the image tower, where there is one, and the head.

    A model to unit-length embeddings [B, D] float32, of `image` [B, H, W, 3] in
    [0, 255] in place of the head's `image_features`, and of its other inputs.
    """
    inputs = {
        name: tf.keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)
        for name, tensor in head.input.items()
        if name != "image_features"
    }
    into_head = dict(inputs)
    if image_tower is not None:
        inputs["image"] = tf.keras.Input(image_tower.input_shape[1:], name="image")
        into_head["image_features"] = image_tower(inputs["image"])
    return tf.keras.Model(inputs, head(into_head), name="encoder")


def _projection(sources: list[Source], settings: EncoderSettings) -> tf.Tensor:
    layers = tf.keras.layers
    parts = [
        MissingVector(name=f"missing_{name}")([UnitLength(name=f"unit_{name}")(x), has])
        for name, x, has in sources
    ]
    flags = [has for _, _, has in sources]
    x = layers.Concatenate(name="fused")(parts + flags)
    if settings.hidden_units:
        x = layers.Dense(settings.hidden_units, "relu", name="hidden")(x)
    x = layers.Dropout(settings.dropout, name="drop_fused")(x)
    # Orthogonal: distances at first are nearly those of the features themselves.
    x = layers.Dense(
        settings.embedding_dim, kernel_initializer="orthogonal", name="projection"
    )(x)
    x = UnitLength(name="unit_embedding")(x)
    any_of = layers.Maximum(name="has_any")(flags) if len(flags) > 1 else flags[0]
    return layers.Multiply(name="embedding")([x, any_of])


def _raw(sources: list[Source], settings: EncoderSettings) -> tf.Tensor:
    """The features as they are, `settings` unused: what training has to beat."""
    layers = tf.keras.layers
    parts = [
        layers.Multiply(name=f"present_{name}")(
            [UnitLength(name=f"unit_{name}")(x), has]
        )
        for name, x, has in sources
    ]
    x = layers.Concatenate(name="fused")(parts) if len(parts) > 1 else parts[0]
    return UnitLength(name="embedding")(x)
