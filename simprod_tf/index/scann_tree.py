"""ScaNN's tree over some embeddings, trained, and searched for a wanted recall."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np

from simprod_tf.errors import RecallError
from simprod_tf.index.scann_files import tree_searcher
from simprod_tf.index.tuning import (
    TUNED_K,
    ScannSettings,
    Tuned,
    Tuning,
    judged_rows,
    leaves_of,
    recalls_of,
    tune,
)
from simprod_tf.index.vectors import CLOSE_DOT, Neighbours, settled_neighbours

logger = logging.getLogger(__name__)

# From so many queries on, ScaNN's threads share them.
_PARALLEL_FROM = 512
_BATCH = 256


class Tree:
    """ScaNN's searcher with a tree, and how it is searched."""

    def __init__(self, searcher: Any, tuned: Tuned) -> None:
        """Takes a trained searcher, whose points may change later."""
        self.searcher = searcher
        self.tuned = tuned

    @classmethod
    def trained(cls, embeddings: np.ndarray, tuning: Tuning) -> Tree:
        """Returns a tree over [N, D] float32, unit length.

        Raises:
            RecallError: the wanted recall is not reached.
            ModelError: ScaNN cannot do it with the settings given.
        """
        settings = tuning.settings or ScannSettings(leaves_of(len(embeddings)), 1)
        searcher = tree_searcher(embeddings, settings)

        def search(queries: np.ndarray, k: int, way: ScannSettings) -> np.ndarray:
            return _ask(searcher, queries, k=k, settings=way)[0]

        if tuning.settings is None:
            tuned = tune(embeddings, search, settings=settings, wanted=tuning)
        else:
            rows = judged_rows(len(embeddings), tuning.seed)
            recalls = recalls_of(embeddings, search, settings, rows=rows)
            tuned = Tuned(settings, float(recalls.mean()), len(rows), tuning.recall)
        if not tuned.suffices and not tuning.allow_miss:
            raise RecallError(
                f"the index reaches {tuned}, but {tuned.wanted} was asked for. Ask for "
                "less, give other settings, keep it all the same (--allow-low-recall, "
                "allow_low_recall=True), or build an exact index (--kind exact)."
            )
        logger.info("ScaNN: %s", tuned)
        return cls(searcher, tuned)

    def nearest(
        self, queries: np.ndarray, embeddings: np.ndarray, *, k: int
    ) -> Neighbours:
        """Returns k neighbours of each of [Q, D] queries; 1 <= k <= N."""
        rows, dots = self._asked(queries, k)
        return settled_neighbours(queries, embeddings, rows=rows, dots=dots)

    def nearest_of_one(self, query: np.ndarray, *, k: int) -> Neighbours | None:
        """Returns the neighbours of one [D] query, or None where it is not that simple.

        Around ScaNN's answer in 20 us, the ordinary way would take as long again. What
        is not simple: ties, distances near 0, too few in the leaves, k above 10.
        """
        if not 1 <= k <= TUNED_K:
            return None
        settings = self.tuned.settings
        rows, dots = self.searcher.search(
            query, k, settings.reordered, settings.leaves_to_search
        )
        if len(rows) < k or dots[0] >= CLOSE_DOT or len(set(dots.tolist())) < k:
            return None
        return Neighbours(rows.astype(np.int64)[None], np.sqrt(2 - 2 * dots)[None])

    def recall_of(self, rows: np.ndarray, embeddings: np.ndarray) -> float:
        """Returns the recall@10 with these rows of [N, D] embeddings for queries."""
        recalls = recalls_of(
            embeddings,
            lambda queries, k, way: self._asked(queries, k)[0],
            self.tuned.settings,
            rows=rows,
        )
        return float(recalls.mean())

    def _asked(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns [Q, k] rows and their dot products, highest first."""
        settings = self.tuned.settings
        rows, dots = _ask(self.searcher, queries, k=k, settings=settings)
        # The searched leaves may hold too few: then all of them are searched.
        short = np.flatnonzero(np.isnan(dots[:, -1]))
        if len(short):
            thorough = dataclasses.replace(
                settings,
                leaves_to_search=settings.num_leaves,
                reordered=self.searcher.size(),
            )
            rows[short], dots[short] = _ask(
                self.searcher, queries[short], k=k, settings=thorough
            )
        return rows, dots


def ask_all(
    searcher: Any, queries: np.ndarray, *, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the [Q, k] rows and dot products of a search by brute force."""
    parallel = len(queries) >= _PARALLEL_FROM
    found, dots = searcher.search_batched(queries, k, -1, -1, parallel, _BATCH)
    return found.astype(np.int64), dots


def _ask(
    searcher: Any, queries: np.ndarray, *, k: int, settings: ScannSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Returns ScaNN's [Q, k] rows and dot products; -1 and NaN where it found fewer."""
    leaves, reordered = settings.leaves_for(k), settings.reordered_for(k)
    if len(queries) == 1:
        found, dots = searcher.search(queries[0], k, reordered, leaves)
        missing = (0, k - len(found))
        rows = np.pad(found.astype(np.int64), missing, constant_values=-1)
        return rows[None], np.pad(dots, missing, constant_values=np.nan)[None]
    parallel = len(queries) >= _PARALLEL_FROM
    found, dots = searcher.search_batched(
        queries, k, reordered, leaves, parallel, _BATCH
    )
    rows = found.astype(np.int64)
    # ScaNN pads with row 0 and NaN.
    rows[np.isnan(dots)] = -1
    return rows, dots
