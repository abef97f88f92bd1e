"""What happens around each epoch: measures on validation data, seeds.

Measures put their values into Keras' `logs`: whatever stands after them in the list of
callbacks (early stopping, checkpoints, CSV, TensorBoard, Keras' own history) sees them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs
from simprod_tf.evaluation.metrics import pr_auc
from simprod_tf.evaluation.retrieval import retrieval_metrics
from simprod_tf.features.epoch_clock import EpochClock
from simprod_tf.model.regularisation import reset_generators
from simprod_tf.training.embedder import Embedder
from simprod_tf.training.settings import EpochReport


class RetrievalMetrics(tf.keras.callbacks.Callback):
    """Searches each product among all others; is the nearest of its own group?

    Puts `<name>_recall_at_1` and `<name>_map_at_r` into the logs, means over the
    products that have a fellow: see `simprod_tf.evaluation.retrieval.Retrieval`.
    """

    def __init__(
        self,
        encoder: tf.keras.Model,
        arrays: Mapping[str, Any],
        groups: np.ndarray,
        *,
        rows: np.ndarray | None = None,
        name: str = "val",
        batch_size: int = 256,
        every: int = 1,
    ) -> None:
        """Takes the validation catalogue.

        Args:
            encoder: Of one product; shares its weights with the model that is fitted.
            arrays: Its inputs by name, each [P, ...].
            groups: [P] str, "" where there is none: such products are candidates only.
            rows: Of the arrays, those to search among; None for all.
            name: What the measures' names begin with.
            batch_size: Products embedded at once.
            every: Epochs from one measurement to the next. In between the logs hold
                no value, which early stopping and CSV files do not bear.

        Raises:
            ValueError: no product has a fellow.
        """
        super().__init__()
        self._embedder = Embedder(encoder, arrays, batch_size=batch_size)
        if len(groups) != len(self._embedder):
            raise ValueError(
                f"there are {len(groups)} groups for {len(self._embedder)} products."
            )
        self._rows = np.arange(len(groups)) if rows is None else np.asarray(rows)
        self._groups = _apart(np.asarray(groups)[self._rows])
        _, inverse, counts = np.unique(
            self._groups, return_inverse=True, return_counts=True
        )
        self._queries = np.flatnonzero(counts[inverse] > 1)
        if not len(self._queries):
            raise ValueError("no two products to search among are of one group.")
        self._name, self._every = name, every

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Measures."""
        if logs is None or (epoch + 1) % self._every:
            return
        embeddings = self._embedder.embed(self._rows)
        # A product's place serves as its id: it is no answer to itself.
        found = retrieval_metrics(
            embeddings[self._queries],
            embeddings,
            self._groups[self._queries],
            self._groups,
            ks=(1,),
            query_ids=self._queries,
            candidate_ids=np.arange(len(self._rows)),
        )
        logs[f"{self._name}_recall_at_1"] = float(found.recall_at[1].mean())
        logs[f"{self._name}_map_at_r"] = float(found.map_at_r.mean())


class PairMetrics(tf.keras.callbacks.Callback):
    """Ranks labelled pairs by distance: `<name>_pr_auc`, whatever the loss.

    It needs pairs of both kinds.
    """

    def __init__(
        self,
        encoder: tf.keras.Model,
        arrays: Mapping[str, Any],
        catalog: Catalog,
        pairs: Pairs,
        *,
        name: str = "val",
        batch_size: int = 256,
    ) -> None:
        """Takes the validation pairs; `catalog` says which rows of the arrays they are.

        Raises:
            ValueError: all pairs are similar, or none is.
        """
        super().__init__()
        if not 0 < pairs.num_positives < len(pairs):
            raise ValueError(
                "validation needs similar and dissimilar pairs; of "
                f"{len(pairs)} pairs {pairs.num_positives} are similar."
            )
        self._embedder = Embedder(encoder, arrays, batch_size=batch_size)
        self._anchors = catalog.rows_of(pairs.anchor_ids)
        self._others = catalog.rows_of(pairs.other_ids)
        self._labels, self._name = pairs.labels, name

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Measures."""
        if logs is None:
            return
        distances = self._embedder.distances(self._anchors, self._others)
        logs[f"{self._name}_pr_auc"] = pr_auc(self._labels, distances)


class ClockHand(tf.keras.callbacks.Callback):
    """Tells the input pipeline and the layers that draw at random which epoch it is.

    With all draws made from (seed, epoch), a training that goes on after an
    interruption draws what it would have drawn. In the list it stands AFTER
    `tf.keras.callbacks.BackupAndRestore`, and after those that read the clock.
    """

    def __init__(self, clock: EpochClock, model: tf.keras.Model | None = None) -> None:
        """Takes the pipeline's clock, and the model to reseed: None for the fitted."""
        super().__init__()
        self._clock, self._reseeded = clock, model

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Sets the clock to the epoch that a restored training goes on with.

        Keras makes an epoch's iterator before the epoch begins, and on several devices
        that fetches batches at once.
        """
        restored = getattr(self.model, "_training_state", None)
        if restored is not None:
            # Keras says it nowhere in public before the iterator is made. -1 if new.
            self._clock.epoch = int(restored._ckpt_saved_epoch.numpy()) + 1

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Sets the clock and reseeds the layers."""
        self._clock.epoch = epoch
        model = self.model if self._reseeded is None else self._reseeded
        reset_generators(model, seed=self._clock.seed, epoch=epoch)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Sets the clock on, for the iterator of the epoch to come."""
        self._clock.epoch = epoch + 1


def epoch_report(epoch: int, epochs: int, logs: Mapping[str, Any]) -> EpochReport:
    """Returns Keras' logs of an epoch, counted from 0, as a report."""
    measures = {name: float(value) for name, value in logs.items() if name != "epoch"}
    return EpochReport(epoch + 1, epochs, measures)


def _apart(groups: np.ndarray) -> np.ndarray:
    """Returns groups as [P] numbers; what had none is a group of its own."""
    numbers = np.unique(groups, return_inverse=True)[1]
    alone = np.arange(len(groups)) + len(groups)
    return np.where(groups == "", alone, numbers)
