"""Fits the encoder on labels: `compile`, `fit` and callbacks, as any Keras script does.

Settings of one's own beyond these are such a script: the README has three.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs
from simprod_tf.errors import SimprodError
from simprod_tf.features.augment import AugmentSettings
from simprod_tf.features.epoch_clock import EpochClock
from simprod_tf.features.pair_shards import PairStream
from simprod_tf.training.callbacks import (
    ClockHand,
    PairMetrics,
    RetrievalMetrics,
    epoch_report,
)
from simprod_tf.training.embedder import Embedder
from simprod_tf.training.freezing import set_trainable
from simprod_tf.training.layer_path import matches, weight_paths
from simprod_tf.training.negative_pool import NegativePool
from simprod_tf.training.objective import (
    Feed,
    Labels,
    build_loss,
    build_objective,
    loss_callbacks,
    training_batches,
    validation_batches,
)
from simprod_tf.training.optimizer import build_optimizer
from simprod_tf.training.settings import EpochReport, TrainingSettings
from simprod_tf.training.stopping import ResumableStopping
from simprod_tf.training.strategy import (
    FitInput,
    PassClock,
    distributed,
    wait_for_all,
    writes,
)

# Trainable tables of words, by the names of their weights.
_WORDS = "word_vector_mean/(?:bucket_)?vectors"


@dataclass(frozen=True, eq=False)
class TrainingSide:
    """What a training learns from.

    Attributes:
        pairs: Labelled pairs of products of the training side, or a stream of them.
        ids: The products of the training side, among which negatives are drawn.
        classes: [P] int64, -1 for none: for batches of groups.
        near: [P] int64, equal for near-identical pictures: no negatives of each other.
    """

    pairs: Pairs | PairStream
    ids: np.ndarray
    classes: np.ndarray | None = None
    near: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class ValidationSide:
    """What every epoch is judged by.

    Attributes:
        pairs: Labelled pairs, or None.
        groups: [P] str, "" for products of no group; or None.
        rows: Of the products that are searched among; None for all.
    """

    pairs: Pairs | None = None
    groups: np.ndarray | None = None
    rows: np.ndarray | None = None

    @property
    def has_both_labels(self) -> bool:
        """Whether some pairs are similar and some are not."""
        return self.pairs is not None and 0 < self.pairs.num_positives < len(self.pairs)

    @property
    def has_fellows(self) -> bool:
        """Whether two products are of one group."""
        if self.groups is None:
            return False
        among = self.groups if self.rows is None else self.groups[self.rows]
        found = among[among != ""]
        return len(np.unique(found)) < len(found)


def fit_encoder(
    encoder: tf.keras.Model,
    arrays: Mapping[str, Any],
    catalog: Catalog,
    train: TrainingSide,
    *,
    validation: ValidationSide | None = None,
    settings: TrainingSettings,
    towers: Sequence[str] = (),
    augment: AugmentSettings | None = None,
    backup: str | Path | None = None,
    callbacks: Sequence[tf.keras.callbacks.Callback] = (),
) -> list[EpochReport]:
    """Fits `encoder` in place and returns what each epoch came to.

    With a validation side it stops early and keeps the best epoch's weights. Under a
    `tf.distribute` strategy call it in its scope, where `encoder` was made.

    Args:
        encoder: A model of one product, as `build_encoder` or `build_head` gives.
        arrays: Its inputs by name, each [P, ...], in the catalogue's order.
        catalog: Whose rows the arrays follow.
        train, validation, settings: See each.
        towers: Names of the image towers in `encoder` that are to be trained.
        augment: How pictures are changed while training.
        backup: Folder from which the same training goes on after an interruption;
            removed at the end. None for none.
        callbacks: Further Keras callbacks; they see the measures of validation.

    Raises:
        SimprodError: the validation side lacks what `settings.monitor` watches, or the
            encoder what `settings.fine_tuning` speaks of.
    """
    clock = EpochClock(settings.seed)
    with tempfile.TemporaryDirectory() as scratch:
        fit = _Fit(
            encoder,
            Feed(arrays, catalog, augment or AugmentSettings(), clock),
            clock,
            train,
            validation or ValidationSide(),
            settings,
            tuple(towers),
            Path(scratch if backup is None else backup),
        )
        rows = fit.run(callbacks)
    if backup is not None:
        strategy = tf.distribute.get_strategy()
        # Of several workers one removes what the others may be reading.
        wait_for_all(strategy)
        if writes(strategy):
            shutil.rmtree(backup, ignore_errors=True)
    return [epoch_report(int(row["epoch"]), settings.epochs, row) for row in rows]


@dataclass(frozen=True)
class _Part:
    """Some epochs of a training, in which the same weights are trained."""

    first: int
    end: int
    with_towers: bool


class _Best:
    """The weights of the best of the parts: the last one's need not be it."""

    def __init__(self) -> None:
        """Has seen no part."""
        self._value = -math.inf
        self._weights: list[np.ndarray] = []

    def keep(self, encoder: tf.keras.Model, value: float | None) -> None:
        """Takes a part's best value and weights, or gives back better ones."""
        if value is None:
            return
        if value > self._value:
            self._value, self._weights = value, encoder.get_weights()
        else:
            encoder.set_weights(self._weights)


@dataclass(frozen=True, eq=False)
class _Fit:
    """One training: its parts, and what they are put together to."""

    encoder: tf.keras.Model
    feed: Feed
    clock: EpochClock
    train: TrainingSide
    validation: ValidationSide
    settings: TrainingSettings
    towers: tuple[str, ...]
    folder: Path

    def run(self, further: Sequence[Any]) -> list[dict[str, float]]:
        """Returns the logs of each epoch."""
        monitor = self.monitor()
        labels, drawing = self.labels()
        model = build_objective(self.encoder, labels, self.settings)
        loss = build_loss(self.settings.loss)
        fed = self.fed(labels)
        steps = fed.steps_per_epoch or int(fed.dataset.cardinality())
        measures = [
            *loss_callbacks(loss, self.settings.loss),
            *drawing,
            *self.measures(),
        ]
        hand = ClockHand(self.clock, model)
        rows: list[dict[str, float]] = []
        best = _Best()
        for part in self.parts():
            self.compile(model, loss, part, steps)
            stopping = self.stopping(monitor, part)
            model.fit(
                fed.dataset,
                validation_data=self.judged(),
                steps_per_epoch=fed.steps_per_epoch,
                initial_epoch=part.first,
                epochs=part.end,
                # The order matters: what stands later sees what came before.
                callbacks=[
                    *measures,
                    stopping,
                    self.backup(part),
                    hand,
                    *self.first_epoch(part),
                    *further,
                ],
                verbose=0,
            )
            rows += stopping.rows
            best.keep(self.encoder, stopping.best_value)
        return rows

    def monitor(self) -> str | None:
        """Returns what of the validation side decides, or None without one."""
        there = {
            "pr_auc": self.validation.has_both_labels,
            "map_at_r": self.validation.has_fellows,
            "recall_at_1": self.validation.has_fellows,
        }
        wanted = self.settings.monitor
        if wanted is None:
            return next((name for name in there if there[name]), None)
        if not there[wanted]:
            lacking = {"pr_auc": "labelled pairs of both kinds"}
            raise SimprodError(
                f"{wanted} cannot be watched: the validation side has no "
                f"{lacking.get(wanted, 'two products of one group')}."
            )
        return wanted

    def labels(self) -> tuple[Labels, list[NegativePool]]:
        """Returns what batches are drawn by, and what draws negatives to it."""
        if self.settings.form == "groups":
            return Labels(classes=self.train.classes), []
        negatives = self.settings.negatives
        if not negatives.hard and not negatives.random:
            return Labels(self.train.pairs), []
        if isinstance(self.train.pairs, PairStream):
            raise ValueError("negatives are drawn from pairs in memory alone.")
        pool = NegativePool(
            Embedder(self.encoder, self.feed.arrays),
            self.feed.catalog,
            self.train.pairs,
            ids=self.train.ids,
            near=self.train.near,
            settings=negatives,
            seed=self.settings.seed,
            folder=self.folder / "negatives",
        )
        return Labels(pool), [pool]

    def fed(self, labels: Labels) -> FitInput:
        """Returns what to fit on: the batches, of this worker where there are more."""
        feed, passes = self.feed, None
        if _replicas() > 1:
            # One iterator runs through all epochs, ahead of them: a clock of its own.
            passes = PassClock(self.clock, EpochClock(self.clock.seed))
            feed = replace(feed, clock=passes.now)
        return distributed(
            tf.distribute.get_strategy(),
            lambda shard: training_batches(feed, labels, self.settings, shard=shard),
            clock=passes,
        )

    def judged(self) -> tf.data.Dataset | None:
        """Returns the validation pairs as batches, where the loss is one of pairs."""
        pairs = self.validation.pairs
        # On several replicas Keras would cut the labels of all pairs, [B, B], in two.
        if pairs is None or not len(pairs) or _replicas() > 1:
            return None
        return validation_batches(self.feed, pairs, self.settings)

    def measures(self) -> list[tf.keras.callbacks.Callback]:
        """Returns what measures the validation side after each epoch."""
        found: list[tf.keras.callbacks.Callback] = []
        arrays, catalog = self.feed.arrays, self.feed.catalog
        if self.validation.pairs is not None and self.validation.has_both_labels:
            found.append(
                PairMetrics(self.encoder, arrays, catalog, self.validation.pairs)
            )
        if self.validation.groups is not None and self.validation.has_fellows:
            groups, rows = self.validation.groups, self.validation.rows
            found.append(RetrievalMetrics(self.encoder, arrays, groups, rows=rows))
        return found

    def parts(self) -> list[_Part]:
        """Returns the epochs with the towers as they are, if any, then the others."""
        head = min(self.settings.fine_tuning.head_epochs, self.settings.epochs)
        if not self.towers or not head:
            return [_Part(0, self.settings.epochs, with_towers=True)]
        parts = [_Part(0, head, with_towers=False)]
        if head < self.settings.epochs:
            parts.append(_Part(head, self.settings.epochs, with_towers=True))
        return parts

    def compile(
        self, model: tf.keras.Model, loss: tf.keras.losses.Loss, part: _Part, steps: int
    ) -> None:
        """Freezes what the part leaves as it is, and compiles."""
        rates = self.tower_rates(part)
        if self.settings.fine_tuning.word_rate != 1:
            if not any(matches(_WORDS, path) for path in weight_paths(model)):
                raise SimprodError(
                    "word_rate is of word vectors that are trained, and there are none."
                )
            rates[_WORDS] = self.settings.fine_tuning.word_rate
        model.compile(
            optimizer=build_optimizer(
                self.settings.optimizer,
                model,
                epochs=part.end - part.first,
                steps_per_epoch=steps,
                rates=rates,
            ),
            loss=loss,
            # Weights are the loss's business; without this Keras warns about it.
            weighted_metrics=[],
            jit_compile=self.settings.hardware.xla,
        )

    def first_epoch(self, part: _Part) -> list[tf.keras.callbacks.Callback]:
        """Returns what sets the clock to a part that begins, before its iterator."""

        def begin(logs: dict | None = None) -> None:
            # `ClockHand` knows of epochs that were restored, and of no other start.
            self.clock.epoch = max(self.clock.epoch, part.first)

        return [tf.keras.callbacks.LambdaCallback(on_train_begin=begin)]

    def tower_rates(self, part: _Part) -> dict[str, float]:
        """Freezes what the part leaves of the towers; returns the others' rates."""
        if not part.with_towers:
            for name in self.towers:
                self.encoder.get_layer(name).trainable = False
            return {}
        if not self.towers:
            return {}
        tuning = self.settings.fine_tuning
        try:
            chosen = set_trainable(self.encoder, tuning.layers, within=self.towers)
        except ValueError as error:
            raise SimprodError(str(error)) from error
        trained = dict.fromkeys(path.split("/")[0] for path in chosen)
        return {re.escape(name): tuning.tower_rate for name in trained}

    def stopping(self, monitor: str | None, part: _Part) -> ResumableStopping:
        """Returns what keeps the best epoch, and the logs of all."""
        return ResumableStopping(
            self.folder / f"epochs-{part.first}",
            monitor=f"val_{monitor}",
            # Without anything to watch no epoch is the best, and the last one stays.
            patience=self.settings.patience if monitor else self.settings.epochs + 1,
            keep=True,
        )

    def backup(self, part: _Part) -> tf.keras.callbacks.Callback:
        """Returns what takes up an interrupted part after its last whole epoch."""
        return tf.keras.callbacks.BackupAndRestore(
            str(self.folder / f"backup-{part.first}"), delete_checkpoint=False
        )


def _replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync
