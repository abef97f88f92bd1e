"""Fits the encoder on labelled pairs, with Keras' own `fit`.

Settings of one's own beyond these are an ordinary Keras script: build the encoder,
`build_siamese`, `compile` with `contrastive_loss`, `fit` on `pair_batches`.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs
from simprod_tf.features.batches import pair_batches
from simprod_tf.model.losses import MAX_DISTANCE, contrastive_loss
from simprod_tf.model.siamese import build_siamese

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSettings:
    """How the encoder is fitted.

    Attributes:
        epochs: Passes over the pairs, at most.
        batch_size: Pairs in a step.
        learning_rate: Of Adam.
        margin: Distance that dissimilar pairs are pushed to.
        patience: Epochs without a better validation PR-AUC before stopping.
        mined_weight: Factor on the weights of mined pairs, which are below 1 already.
        seed: Of everything random.
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 1e-3
    margin: float = 1.0
    patience: int = 6
    mined_weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}."
                )
        if not 0 < self.margin <= MAX_DISTANCE:
            raise ValueError(f"margin must be in (0, 2], got {self.margin}.")
        for name in ("learning_rate", "mined_weight"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}.")

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class EpochReport:
    """What one epoch came to; the last two are None without validation pairs."""

    epoch: int
    epochs: int
    loss: float
    validation_loss: float | None
    validation_pr_auc: float | None


@tf.keras.saving.register_keras_serializable(package="simprod")
class DistancePrAuc(tf.keras.metrics.AUC):
    """Area under the precision-recall curve of distances in [0, 2], label 1 = similar.

    It ranks, where the loss also judges the scale: pairs of new products may be told
    apart ever better while their loss rises.
    """

    def __init__(self, name: str = "pr_auc", **kw: object):
        super().__init__(curve="PR", name=name, **kw)

    def update_state(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: tf.Tensor | None = None,
    ) -> tf.Operation:
        """Takes [B, 1] labels and distances."""
        score = tf.clip_by_value(1.0 - y_pred / 2.0, 0.0, 1.0)
        return super().update_state(y_true, score, sample_weight)

    def get_config(self) -> dict:
        """Returns what rebuilds the metric."""
        return {"name": self.name}


def fit_encoder(
    encoder: tf.keras.Model,
    arrays: Mapping[str, Any],
    catalog: Catalog,
    train: Pairs,
    *,
    validation: Pairs | None,
    settings: TrainingSettings,
    callbacks: Sequence[tf.keras.callbacks.Callback] = (),
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> list[EpochReport]:
    """Fits `encoder` in place on the pairs and returns what each epoch came to.

    With validation pairs it stops early and keeps the best epoch's weights.

    Args:
        encoder: A model of one product, as `build_encoder` or `build_head` gives.
        arrays: Its inputs by name, each [P, ...], in the catalogue's order; see
            `pair_batches`.
        catalog: Whose rows the arrays follow.
        train, validation: Pairs with ids of the catalogue.
        settings: See there.
        callbacks: Further Keras callbacks.
        on_epoch: Called after each epoch.
    """
    if not len(train):
        raise ValueError("there is no training pair.")
    siamese = build_siamese(encoder)
    siamese.compile(
        optimizer=tf.keras.optimizers.Adam(settings.learning_rate),
        loss=contrastive_loss(settings.margin),
        metrics=[DistancePrAuc()],
        # Weights are the loss's business; without this Keras warns about it.
        weighted_metrics=[],
    )
    watch = _Watch(settings.epochs, on_epoch)
    batches = _Batches(arrays, catalog, settings)
    with tempfile.TemporaryDirectory() as folder:
        best = str(Path(folder) / "best.weights.h5")
        siamese.fit(
            batches.of(train, training=True),
            validation_data=None if validation is None else batches.of(validation),
            epochs=settings.epochs,
            callbacks=[*_callbacks(validation, settings, best), watch, *callbacks],
            verbose=0,
        )
        if validation is not None:
            siamese.load_weights(best)
    return watch.reports


@dataclass(frozen=True)
class _Batches:
    """Batches of pairs over one set of arrays."""

    arrays: Mapping[str, Any]
    catalog: Catalog
    settings: TrainingSettings

    def of(self, pairs: Pairs, training: bool = False) -> tf.data.Dataset:
        return pair_batches(
            self.arrays,
            self.catalog,
            pairs,
            batch_size=self.settings.batch_size,
            training=training,
            seed=self.settings.seed,
        )


def _callbacks(
    validation: Pairs | None, settings: TrainingSettings, best: str
) -> list[tf.keras.callbacks.Callback]:
    if validation is None:
        return []
    kit = tf.keras.callbacks
    return [
        kit.EarlyStopping("val_pr_auc", mode="max", patience=settings.patience),
        # EarlyStopping restores the best weights only where it did stop.
        kit.ModelCheckpoint(
            best,
            monitor="val_pr_auc",
            mode="max",
            save_best_only=True,
            save_weights_only=True,
        ),
    ]


class _Watch(tf.keras.callbacks.Callback):
    """Keeps and passes on what each epoch came to."""

    def __init__(
        self, epochs: int, on_epoch: Callable[[EpochReport], None] | None
    ) -> None:
        super().__init__()
        self._epochs, self._on_epoch = epochs, on_epoch
        self.reports: list[EpochReport] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs or {}
        report = EpochReport(
            epoch + 1,
            self._epochs,
            float(logs["loss"]),
            logs.get("val_loss"),
            logs.get("val_pr_auc"),
        )
        log.info("%s", report)
        self.reports.append(report)
        if self._on_epoch:
            self._on_epoch(report)
