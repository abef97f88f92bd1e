"""ScannIndex: approximate search with Google's ScaNN, brute force while small.

After Guo et al. (2020), "Accelerating large-scale inference with anisotropic vector
quantization", https://arxiv.org/abs/1908.10396. Importing this module does not import
ScaNN: that loads TensorFlow, whose C++ library it is built on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simprod_tf.errors import ModelError
from simprod_tf.index.answer import Drift
from simprod_tf.index.base import Index
from simprod_tf.index.folder import Stored
from simprod_tf.index.rows import Change
from simprod_tf.index.scann_files import (
    brute_searcher,
    read_searcher,
    require_scann,
    write_searcher,
)
from simprod_tf.index.scann_tree import Tree, ask_all
from simprod_tf.index.tuning import NUM_QUERIES, Tuned, Tuning
from simprod_tf.index.vectors import (
    DOT_MARGIN,
    Neighbours,
    is_unit_query,
    nearest_candidates,
    no_neighbours,
)

# Below, a tree saves nothing worth its training and its misses.
TREE_FROM = 20_000
_SPARE = 16
_QUERY_BLOCK = 1024
_BLOCK_CANDIDATES = 1 << 21
# A filter that leaves less than this is answered from its products alone, exactly;
# one that leaves more by searching wider and dropping the others.
_BRUTE_ROWS = 50_000
_BRUTE_SHARE = 0.02
_WIDER = 1.5
_WIDENINGS = 3


class ScannIndex(Index):
    """ScaNN finds the nearest products by dot product; distances are those of L2.

    Below 20,000 products every one is looked at. Above, a tree of 2 sqrt(n) leaves is
    searched by quantised scores, and the best of them are scored again: how many leaves
    and how many products is chosen on a sample, so that the wanted recall is reached.
    """

    kind = "scann"

    def __init__(self, stored: Stored, tuning: Tuning) -> None:
        """Takes what the index holds; the searcher is trained, or read, afterwards."""
        super().__init__(stored)
        self._tuning = tuning
        # Brute force has a searcher and no tree; no products, neither.
        self._searcher: Any = None
        self._tree: Tree | None = None

    @property
    def is_exact(self) -> bool:
        """True while ScaNN works by brute force."""
        return self._tree is None

    @property
    def tuned(self) -> Tuned | None:
        """How the tree is searched, and the recall measured; None for brute force."""
        return None if self._tree is None else self._tree.tuned

    @classmethod
    def _made(cls, stored: Stored, tuning: Tuning) -> ScannIndex:
        require_scann()
        index = cls(stored, tuning)
        index._train(tuning)
        return index

    @classmethod
    def _opened(cls, stored: Stored, folder: Path) -> ScannIndex:
        require_scann()
        try:
            content = stored.search.get("tuned")
            tuned = None if content is None else Tuned.from_json(content)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"The manifest of the index in {folder} holds no settings of ScaNN "
                f"({error}); build the index again."
            ) from error
        index = cls(stored, Tuning() if tuned is None else Tuning(tuned.wanted))
        if stored.ids:
            index._searcher = read_searcher(folder)
            index._tree = None if tuned is None else Tree(index._searcher, tuned)
        return index

    def _write_searcher(self, folder: Path) -> None:
        if self._searcher is not None:
            write_searcher(self._searcher, folder)

    def _search_facts(self) -> dict[str, Any]:
        return {"tuned": None if self.tuned is None else self.tuned.to_json()}

    def _train(self, tuning: Tuning) -> None:
        """Makes the searcher over the products that are here now.

        Raises:
            RecallError: the wanted recall is not reached; the index stays as it was.
        """
        embeddings = self._rows.embeddings
        if len(embeddings) >= TREE_FROM or tuning.settings is not None:
            self._tree = Tree.trained(embeddings, tuning)
            self._searcher = self._tree.searcher
        else:
            self._tree = None
            self._searcher = brute_searcher(embeddings) if len(embeddings) else None

    def _train_anew(self) -> None:
        """Chooses settings, too: an expert's may fit the products no longer."""
        self._train(dataclasses.replace(self._tuning, settings=None))

    def drift(self) -> Drift:
        """Returns the recall measured anew, on all products and on changed ones."""
        changed = np.flatnonzero(self._rows.changed)
        share = len(changed) / max(1, len(self))
        if self._tree is None:
            return Drift(share, recall=1.0, recall_of_changed=1.0, wanted=1.0)
        random = np.random.default_rng(self._tuning.seed)
        embeddings = self._rows.embeddings
        rows = random.permutation(len(self))[:NUM_QUERIES]
        new = random.permutation(changed)[:NUM_QUERIES]
        recall = of_changed = self._tree.recall_of(rows, embeddings)
        if len(new):
            of_changed = self._tree.recall_of(new, embeddings)
        wanted = self._tree.tuned.wanted
        return Drift(
            share, recall, of_changed, wanted, len(rows), len(new) or len(rows)
        )

    def _took_in(self, change: Change, vectors: np.ndarray) -> None:
        if self._searcher is None:
            # The rows are written already: from here on nothing may fail.
            way = dataclasses.replace(self._tuning, settings=None, allow_miss=True)
            self._train(way)
            return
        rows = change.rows.tolist()
        # ScaNN numbers new points by itself, as the rows are: one after the other.
        places = [None if row >= change.first_new else row for row in rows]
        if places:
            self._searcher.upsert(places, vectors, len(places))

    def _let_go(self, rows: Sequence[int]) -> None:
        if not len(self):
            self._searcher = self._tree = None
        elif rows:
            self._searcher.delete(list(rows))

    def search_rows(
        self, queries: np.ndarray, *, k: int = 10, where: str | None = None
    ) -> Neighbours:
        """Returns the k nearest rows of each query: see `Index.search_rows`."""
        if where is None and self._tree is not None:
            if is_unit_query(queries, self._dim):
                found = self._tree.nearest_of_one(queries[0], k=k)
                if found is not None:
                    return found
        return super().search_rows(queries, k=k, where=where)

    def _nearest(self, queries: np.ndarray, k: int) -> Neighbours:
        if self._tree is None:
            return self._by_brute_force(queries, k)
        return self._tree.nearest(queries, self._rows.embeddings, k=k)

    def _nearest_among(
        self, queries: np.ndarray, k: int, rows: np.ndarray
    ) -> Neighbours:
        share = len(rows) / len(self)
        if self._tree is None or len(rows) <= _BRUTE_ROWS or share < _BRUTE_SHARE:
            return self._where.nearest(queries, k, rows)
        allowed = np.zeros(len(self), bool)
        allowed[rows] = True
        return self._by_searching_wider(queries, k, rows, allowed)

    def _by_searching_wider(
        self, queries: np.ndarray, k: int, rows: np.ndarray, allowed: np.ndarray
    ) -> Neighbours:
        """Asks for more than k and drops what is not allowed, until k are left."""
        share = len(rows) / len(self)
        found = no_neighbours(len(queries), k)
        open_lines = np.arange(len(queries))
        wider = math.ceil(_WIDER * k / share) + _SPARE
        for _ in range(_WIDENINGS):
            if not len(open_lines) or wider >= len(self):
                break
            near = self._in_blocks(queries[open_lines], wider)
            kept = _allowed_first(near, allowed, k)
            full = kept.rows[:, -1] >= 0
            found.rows[open_lines[full]] = kept.rows[full]
            found.distances[open_lines[full]] = kept.distances[full]
            open_lines, wider = open_lines[~full], 4 * wider
        if len(open_lines):
            rest = self._where.nearest(queries[open_lines], k, rows)
            found.rows[open_lines] = rest.rows
            found.distances[open_lines] = rest.distances
        return found

    def _in_blocks(self, queries: np.ndarray, k: int) -> Neighbours:
        """Returns `_nearest`, asked in blocks whose answers fit in memory."""
        step = max(1, _BLOCK_CANDIDATES // k)
        parts = [
            self._nearest(queries[start : start + step], k)
            for start in range(0, len(queries), step)
        ]
        return Neighbours(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.distances for part in parts]),
        )

    def _by_brute_force(self, queries: np.ndarray, k: int) -> Neighbours:
        # Where many products are the same, brute force gives all of them at once.
        step = max(1, min(_QUERY_BLOCK, _BLOCK_CANDIDATES // len(self)))
        parts = []
        for start in range(0, len(queries), step):
            part = queries[start : start + step]
            lines, rows = self._brute_candidates(part, k)
            parts.append(
                nearest_candidates(
                    part, self._rows.embeddings, lines=lines, rows=rows, k=k
                )
            )
        return Neighbours(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.distances for part in parts]),
        )

    def _brute_candidates(
        self, queries: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns (lines, rows) that hold each query's k nearest, ties included."""
        rows, dots = ask_all(self._searcher, queries, k=min(k + _SPARE, len(self)))
        cut = dots[:, k - 1] - dots[:, -1] <= DOT_MARGIN
        if dots.shape[1] == len(self):
            cut[:] = False
        lines, candidates = _flat(rows[~cut])
        again = np.flatnonzero(cut)
        if not len(again):
            return lines, candidates
        all_rows, _ = ask_all(self._searcher, queries[again], k=len(self))
        more, more_candidates = _flat(all_rows)
        return (
            np.concatenate([np.flatnonzero(~cut)[lines], again[more]]),
            np.concatenate([candidates, more_candidates]),
        )


def _flat(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(np.arange(len(rows)), rows.shape[1]), rows.ravel()


def _allowed_first(near: Neighbours, allowed: np.ndarray, k: int) -> Neighbours:
    """Returns the first k allowed neighbours of each query, padded."""
    good = allowed[near.rows] & (near.rows >= 0)
    # Stable: the allowed ones come first, and keep their order.
    order = np.argsort(~good, axis=1, kind="stable")[:, :k]
    rows = np.take_along_axis(near.rows, order, axis=1)
    distances = np.take_along_axis(near.distances, order, axis=1)
    good = np.take_along_axis(good, order, axis=1)
    return Neighbours(
        np.where(good, rows, -1), np.where(good, distances, np.float32(np.inf))
    )
