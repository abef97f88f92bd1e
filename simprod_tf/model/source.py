"""The sources of features that an encoder joins: each gives vectors and presence.

A source adds its inputs, by name, to those of the encoder's head, and returns its
features [B, F] with their presence [B, 1], 1.0 where the product has any, else 0.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf

from simprod_tf.model.attributes import CategoryVector, HasValue, NumberVector
from simprod_tf.model.text_tower import WordVectorMean

Inputs = dict[str, tf.Tensor]


class Source(Protocol):
    """What `build_head` takes."""

    @property
    def name(self) -> str:
        """Unique among an encoder's sources."""

    @property
    def modality(self) -> str:
        """Sources of one modality (all image towers) are there or missing together."""

    def build(self, inputs: Inputs) -> tuple[tf.Tensor, tf.Tensor]:
        """Adds its inputs and returns features [B, F] and presence [B, 1]."""


@dataclass(frozen=True)
class VectorSource:
    """Vectors computed elsewhere: an image tower's features, or precomputed ones.

    Inputs: `<name>_features` [B, dim] float32 and `has_<modality>` [B, 1] float32.
    """

    name: str
    dim: int
    modality: str

    def build(self, inputs: Inputs) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Source`."""
        features = _input(inputs, f"{self.name}_features", self.dim)
        return features, _input(inputs, f"has_{self.modality}", 1)


@dataclass(frozen=True, eq=False)
class TextSource:
    """The weighted mean of a title's word vectors. Input: `word_ids` [B, L] int32.

    Attributes:
        vectors: [V, E] float32, the vector of word id i in row i - 1.
        weights: [V + buckets] float32 of words and buckets, or None for ones.
        common: [E] float32 unit vector whose direction is removed, or None.
        buckets: How many vectors unknown words share; ids V + 1 and on.
        train_words: Whether word vectors are trained with the rest; buckets always are.
    """

    vectors: np.ndarray
    weights: np.ndarray | None = None
    common: np.ndarray | None = None
    buckets: int = 0
    train_words: bool = True
    name: str = "text"
    modality: str = "text"

    def build(self, inputs: Inputs) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Source`."""
        mean = WordVectorMean(
            *self.vectors.shape,
            buckets=self.buckets,
            train_words=self.train_words,
            name="word_vector_mean",
        )
        features, present = mean(_input(inputs, "word_ids", None, "int32"))
        mean.set_vectors(self.vectors)
        if len(self.vectors):
            mean.scale_buckets(float(self.vectors.std()))
        if self.weights is not None:
            mean.set_word_weights(self.weights)
        if self.common is not None:
            mean.set_common(self.common)
        return features, present


@dataclass(frozen=True)
class CategorySource:
    """A category's trained vector. Input: `<name>_id` [B, 1] int32, 0 = missing."""

    name: str
    num_values: int
    dim: int = 16

    @property
    def modality(self) -> str:
        """Its own name: each attribute may be missing alone."""
        return self.name

    def build(self, inputs: Inputs) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Source`."""
        ids = _input(inputs, f"{self.name}_id", 1, "int32")
        vector = CategoryVector(self.num_values, self.dim, name=f"{self.name}_vector")
        return vector(ids), HasValue(name=f"{self.name}_known")(ids)


@dataclass(frozen=True)
class NumberSource:
    """A number among `points`, which rise.

    Inputs: `<name>_number` and `has_<name>`, [B, 1] float32.
    """

    name: str
    points: Sequence[float]

    @property
    def modality(self) -> str:
        """Its own name: each attribute may be missing alone."""
        return self.name

    def build(self, inputs: Inputs) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Source`."""
        vector = NumberVector(self.points, name=f"{self.name}_vector")
        numbers = _input(inputs, f"{self.name}_number", 1)
        return vector(numbers), _input(inputs, f"has_{self.name}", 1)


def _input(
    inputs: Inputs, name: str, width: int | None, dtype: str = "float32"
) -> tf.Tensor:
    """Returns the input of that name, made on first use."""
    if name not in inputs:
        inputs[name] = tf.keras.Input([width], dtype=dtype, name=name)
    return inputs[name]
