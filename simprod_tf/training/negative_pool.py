"""Negatives drawn while training: hard ones are searched anew every few epochs."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs, join_pairs, read_pairs, write_pairs
from simprod_tf.negatives.guards import Negatives
from simprod_tf.negatives.hard import HardNegativeSettings, hard_negatives
from simprod_tf.negatives.random import random_negatives
from simprod_tf.training.embedder import Embedder
from simprod_tf.training.settings import NegativeSettings

log = logging.getLogger(__name__)


class NegativePool(tf.keras.callbacks.Callback):
    """Labelled pairs and the negatives of the present epoch; call it to have them.

    Hard negatives are the current encoder's, so each draw is kept in a file: a training
    that goes on after an interruption has those that it had.
    """

    def __init__(
        self,
        embedder: Embedder,
        catalog: Catalog,
        labelled: Pairs,
        *,
        ids: np.ndarray,
        near: np.ndarray | None,
        settings: NegativeSettings,
        seed: int,
        folder: Path | None,
    ) -> None:
        """Draws for the first epoch.

        Args:
            embedder: Of the catalogue, by the encoder that is fitted.
            catalog: The products.
            labelled: Pairs to train on.
            ids: The training side's products: no others are drawn.
            near: [P] int64, equal for near-identical pictures, -1 without; or None.
            settings: How many are drawn, and how often.
            seed: Of the random ones.
            folder: Where draws are kept, or None.
        """
        super().__init__()
        self._embedder, self._catalog, self._labelled = embedder, catalog, labelled
        self._ids, self._near, self._settings = ids, near, settings
        self._seed, self._folder = seed, folder
        self._drawn_for = 0
        self._pairs = self._draw(0)

    def __call__(self) -> Pairs:
        """Returns the pairs of the coming pass."""
        return self._pairs

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Draws anew where it is time to, or takes up what was drawn."""
        due = epoch - epoch % self._settings.refresh_epochs
        if due == self._drawn_for:
            return
        path = self._path(due)
        if due < epoch and path is not None and path.is_file():
            self._pairs = read_pairs(path, source="mined")
        else:
            self._pairs = self._draw(due)
            if path is not None:
                self._write(path)
        self._drawn_for = due

    def _draw(self, epoch: int) -> Pairs:
        pairs = self._labelled
        for draw in (self._hard, self._random):
            found = draw(epoch)
            if found is not None:
                log.info("epoch %d: %s", epoch + 1, found)
                # What is labelled is believed before what is drawn.
                pairs = join_pairs(pairs, found.pairs)
        return pairs

    def _hard(self, epoch: int) -> Negatives | None:
        if not self._settings.hard:
            return None
        return hard_negatives(
            self._embedder.embed(np.arange(len(self._catalog))),
            self._catalog,
            self._labelled,
            near=self._near,
            ids_allowed=self._ids,
            settings=HardNegativeSettings(
                per_product=self._settings.hard, weight=self._settings.weight
            ),
        )

    def _random(self, epoch: int) -> Negatives | None:
        number = int(self._settings.random * len(self._ids))
        if not number:
            return None
        return random_negatives(
            self._catalog,
            self._settings.column,
            num_pairs=number,
            positives=self._labelled,
            near=self._near,
            ids_allowed=self._ids,
            weight=self._settings.weight,
            seed=self._seed + epoch,
        )

    def _path(self, epoch: int) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"negatives-{epoch}.parquet"

    def _write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_pairs(self._pairs, path)
