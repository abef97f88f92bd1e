"""Sources of features -> one unit-length embedding.

Each source is brought to unit length, then they are concatenated, then projected,
then brought to unit length again. A missing modality is a presence flag of 0 and a
vector of its own, zero until trained. A product of which nothing is known, no picture,
no known word, no attribute, has the embedding 0: no answer, rather than the same
answer for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import tensorflow as tf

from simprod_tf.model.regularisation import EpochDropout, ModalityDropout
from simprod_tf.model.source import Source

# Squared length under which a vector counts as zero.
TINY = 1e-12
FUSIONS = ("normalise", "concatenate")


@dataclass(frozen=True)
class EncoderSettings:
    """The sizes of the projection, and what is left out while training.

    Attributes:
        embedding_dim: Length of the embeddings; 0 leaves the projection out.
        hidden_units: Of a ReLU layer before it; 0 for none. A linear projection keeps
            what the features tell of products unlike those it was trained on.
        dropout: Share of the fused features left out in a training step.
        modality_dropout: Share of the products that, in a training step, lose one of
            the modalities that they have: so that one alone is enough later.
        batch_norm: Whether the projection is normalised over the batch (Ioffe and
            Szegedy 2015) before it is brought to unit length.
        fusion: "normalise" brings each source to unit length, then joins them;
            "concatenate" joins them as they are, then brings the whole to unit length.
    """

    embedding_dim: int = 128
    hidden_units: int = 0
    dropout: float = 0.1
    modality_dropout: float = 0.0
    batch_norm: bool = False
    fusion: str = "normalise"

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.embedding_dim < 0 or self.hidden_units < 0:
            raise ValueError(
                "embedding_dim and hidden_units must be at least 0, got "
                f"{self.embedding_dim} and {self.hidden_units}."
            )
        for name in ("dropout", "modality_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be in [0, 1), got {getattr(self, name)}."
                )
        if self.fusion not in FUSIONS:
            raise ValueError(
                f"fusion must be one of {', '.join(FUSIONS)}, got {self.fusion!r}."
            )

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


@tf.keras.saving.register_keras_serializable(package="simprod")
class Column(tf.keras.layers.Layer):
    """One column of a matrix: [B, M] -> [B, 1]."""

    def __init__(self, position: int, **kw: object):
        super().__init__(**kw)
        self.position = position

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the column at `position`."""
        return x[:, self.position : self.position + 1]

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "position": self.position}


def build_head(sources: Sequence[Source], settings: EncoderSettings) -> tf.keras.Model:
    """Returns the encoder behind the image towers.

    A model of the sources' inputs, by name, to unit-length embeddings [B, D] float32.
    """
    if not sources:
        raise ValueError("an encoder needs pictures, titles or attributes; got none.")
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise ValueError(f"sources must have names of their own, got {names}.")
    inputs: dict[str, tf.Tensor] = {}
    built = [_Built(s.name, s.modality, *s.build(inputs)) for s in sources]
    project = _projection if settings.embedding_dim else _raw
    return tf.keras.Model(inputs, project(built, settings), name="head")


def build_encoder(
    towers: Mapping[str, tf.keras.Model], head: tf.keras.Model
) -> tf.keras.Model:
    """Returns the whole encoder: image towers, where there are any, and the head.

    Its inputs are the head's, but for each tower `<name>_pixels` [B, H, W, 3] in
    [0, 255] in place of `<name>_features`; it gives embeddings [B, D] float32.
    """
    computed = {f"{name}_features": name for name in towers}
    inputs: dict[str, tf.Tensor] = {}
    into_head: dict[str, tf.Tensor] = {}
    for name, tensor in head.input.items():
        if name in computed:
            tower = towers[computed[name]]
            pixels = f"{computed[name]}_pixels"
            inputs[pixels] = tf.keras.Input(tower.input_shape[1:], name=pixels)
            # Named anew: two towers may be of one kind, and Keras wants names apart.
            named = tf.keras.Model(tower.input, tower.output, name=computed[name])
            into_head[name] = named(inputs[pixels])
        else:
            inputs[name] = tf.keras.Input(
                tensor.shape[1:], dtype=tensor.dtype, name=name
            )
            into_head[name] = inputs[name]
    return tf.keras.Model(inputs, head(into_head), name="encoder")


@dataclass(frozen=True, eq=False)
class _Built:
    """A source in the graph: features [B, F], presence [B, 1]."""

    name: str
    modality: str
    features: tf.Tensor
    present: tf.Tensor


def _projection(sources: list[_Built], settings: EncoderSettings) -> tf.Tensor:
    layers = tf.keras.layers
    flags = _flags(sources, settings.modality_dropout)
    parts = [
        MissingVector(name=f"missing_{one.name}")([features, flags[one.modality]])
        for one, features in zip(sources, _to_join(sources, settings.fusion))
    ]
    if settings.fusion == "concatenate":
        parts = [_unit("unit_sources")(_side_by_side(parts, "sources"))]
    x = layers.Concatenate(name="fused")([*parts, *flags.values()])
    if settings.hidden_units:
        x = layers.Dense(settings.hidden_units, "relu", name="hidden")(x)
    x = EpochDropout(settings.dropout, name="drop_fused")(x)
    # Orthogonal: distances at first are nearly those of the features themselves.
    x = layers.Dense(
        settings.embedding_dim, kernel_initializer="orthogonal", name="projection"
    )(x)
    if settings.batch_norm:
        norm = layers.BatchNormalization(
            momentum=0.9, name="norm_projection", dtype="float32"
        )
        x = norm(x)
    x = _unit("unit_embedding")(x)
    present = list(flags.values())
    any_of = layers.Maximum(name="has_any")(present) if present[1:] else present[0]
    return layers.Multiply(name="embedding", dtype="float32")([x, any_of])


def _unit(name: str) -> UnitLength:
    """Returns a layer that squares and adds up in float32 under any Keras policy."""
    return UnitLength(name=name, dtype="float32")


def _to_join(sources: list[_Built], fusion: str) -> list[tf.Tensor]:
    """Returns the features [B, F] of each source as they enter the fused vector."""
    if fusion == "concatenate":
        return [one.features for one in sources]
    return [_unit(f"unit_{one.name}")(one.features) for one in sources]


def _side_by_side(parts: list[tf.Tensor], name: str) -> tf.Tensor:
    return tf.keras.layers.Concatenate(name=name)(parts) if parts[1:] else parts[0]


def _flags(sources: list[_Built], dropout: float) -> dict[str, tf.Tensor]:
    """Returns the presence [B, 1] of each modality."""
    flags = {one.modality: one.present for one in sources}
    if len(flags) == 1 or not dropout:
        return flags
    stacked = tf.keras.layers.Concatenate(name="presence")(list(flags.values()))
    kept = ModalityDropout(dropout, seed=1, name="drop_modality")(stacked)
    return {
        modality: Column(position, name=f"{modality}_present")(kept)
        for position, modality in enumerate(flags)
    }


def _raw(sources: list[_Built], settings: EncoderSettings) -> tf.Tensor:
    """The joined features themselves, nothing trained: what training has to beat."""
    parts = [
        tf.keras.layers.Multiply(name=f"present_{one.name}")([features, one.present])
        for one, features in zip(sources, _to_join(sources, settings.fusion))
    ]
    return _unit("embedding")(_side_by_side(parts, "fused"))
