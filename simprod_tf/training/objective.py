"""Name of a loss -> the Keras model that it is computed on, and the batches it needs.

Each is an ordinary Keras model around the same encoder: whatever is fitted, the
encoder is what remains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs
from simprod_tf.features.augment import AugmentSettings
from simprod_tf.features.batches import PairsNow, pair_batches
from simprod_tf.features.epoch_clock import EpochClock
from simprod_tf.features.group_batches import (
    group_batches,
    num_classes,
    pairs_of_classes,
)
from simprod_tf.features.pair_shards import PairStream, stream_batches
from simprod_tf.features.unique_batches import unique_batches
from simprod_tf.model.arcface import ArcFaceLoss, MarginRamp, build_classifier
from simprod_tf.model.losses import contrastive_loss, double_margin_loss, npairs_loss
from simprod_tf.model.siamese import build_pairwise, build_siamese
from simprod_tf.model.triplet import triplet_hard_loss, triplet_semihard_loss
from simprod_tf.training.settings import LossSettings, TrainingSettings

Shard = tuple[int, int]

_LOSSES: dict[str, Callable[[LossSettings], tf.keras.losses.Loss]] = {
    "contrastive": lambda s: contrastive_loss(s.own_margin),
    "double_margin": lambda s: double_margin_loss(s.similar_margin, s.own_margin),
    "npairs": lambda s: npairs_loss(s.temperature),
    "triplet_hard": lambda s: triplet_hard_loss(s.own_margin),
    "triplet_semihard": lambda s: triplet_semihard_loss(s.own_margin),
    "arcface": lambda s: ArcFaceLoss(s.own_margin, s.scale),
}
_ON_PAIRS = ("contrastive", "double_margin", "npairs")


@dataclass(frozen=True, eq=False)
class Labels:
    """What a training learns from: labelled pairs, or classes of products, or both.

    Attributes:
        pairs: Labelled pairs, or what gives those of the coming pass, or a stream.
        classes: [P] int64, -1 for products of no class; needed for batches of groups.
    """

    pairs: PairsNow | PairStream | None = None
    classes: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Feed:
    """The encoder's inputs of a catalogue, from which batches are gathered.

    Attributes:
        arrays: By input name, each [P, ...], in the catalogue's order.
        catalog: Whose rows they follow.
        augment: How pictures are changed while training.
        clock: Which epoch runs; None for passes that are counted.
    """

    arrays: Mapping[str, Any]
    catalog: Catalog
    augment: AugmentSettings
    clock: EpochClock | None


def build_objective(
    encoder: tf.keras.Model, labels: Labels, settings: TrainingSettings
) -> tf.keras.Model:
    """Returns the model to compile: the encoder with what its loss is computed on."""
    if settings.loss.name == "arcface":
        return build_classifier(encoder, num_classes(_classes(labels)))
    if settings.loss.name not in _ON_PAIRS:
        return encoder
    return (
        build_siamese(encoder) if settings.form == "twin" else build_pairwise(encoder)
    )


def build_loss(settings: LossSettings) -> tf.keras.losses.Loss:
    """Returns the loss by its name."""
    return _LOSSES[settings.name](settings)


def loss_callbacks(
    loss: tf.keras.losses.Loss, settings: LossSettings
) -> list[tf.keras.callbacks.Callback]:
    """Returns what a loss needs told while training: arcface its margin."""
    if not isinstance(loss, ArcFaceLoss) or not settings.ramp_epochs:
        return []
    return [MarginRamp(loss, end=settings.own_margin, epochs=settings.ramp_epochs)]


def training_batches(
    feed: Feed,
    labels: Labels,
    settings: TrainingSettings,
    *,
    shard: Shard = (0, 1),
) -> tf.data.Dataset:
    """Returns the batches of a pass over the labels, in the form of the settings.

    Args:
        feed: Inputs.
        labels: Pairs, or classes where the form is "groups".
        settings: See there.
        shard: See `pair_batches`, or `stream_batches`.
    """
    common: dict[str, Any] = {
        "clock": feed.clock,
        "seed": settings.seed,
        "augment": feed.augment,
        "shard": shard,
    }
    size = settings.batch.size
    if settings.form == "groups":
        each = settings.batch.per_group
        batches = group_batches(
            feed.arrays,
            _classes(labels),
            groups_per_batch=max(2, size // each),
            products_per_group=each,
            training=True,
            **common,
        )
        on_pairs = settings.loss.name in _ON_PAIRS
        return batches.map(pairs_of_classes) if on_pairs else batches
    pairs = _pairs(labels)
    if isinstance(pairs, PairStream):
        unique = settings.form == "unique"
        return stream_batches(
            feed.arrays, pairs, unique=unique, batch_size=size, **common
        )
    form = pair_batches if settings.form == "twin" else unique_batches
    return form(
        feed.arrays, feed.catalog, pairs, batch_size=size, training=True, **common
    )


def validation_batches(
    feed: Feed, pairs: Pairs, settings: TrainingSettings
) -> tf.data.Dataset | None:
    """Returns labelled pairs to compute the same loss on, where it is one of pairs."""
    if settings.loss.name not in _ON_PAIRS:
        return None
    form = pair_batches if settings.form == "twin" else unique_batches
    return form(feed.arrays, feed.catalog, pairs, batch_size=settings.batch.size)


def _pairs(labels: Labels) -> PairsNow | PairStream:
    if labels.pairs is None:
        raise ValueError("batches of pairs need labelled pairs.")
    return labels.pairs


def _classes(labels: Labels) -> np.ndarray:
    if labels.classes is None:
        raise ValueError("batches of groups need classes of products.")
    return labels.classes
