"""Index: unit-length embeddings in, the nearest products out, by their ids."""

from __future__ import annotations

import abc
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Union

import numpy as np

from simprod_tf.atomic import whole_folder
from simprod_tf.index.folder import Stored, seal, write_stored
from simprod_tf.index.vectors import (
    Neighbours,
    checked_ids,
    checked_vectors,
    nearest_candidates,
)

Excluded = Union[str, Collection[str], None]


@dataclass(frozen=True)
class Match:
    """One product found for one query.

    Attributes:
        query_id: what was asked for.
        id: the product found.
        distance: L2 between the two unit-length embeddings, in [0, 2].
        probability: that they are similar, where a calibration is at hand.
    """

    query_id: str
    id: str
    distance: float
    probability: float | None = None


class Index(abc.ABC):
    """The embeddings of a catalogue, searchable. `build` makes one, `load_index` too.

    A subclass proposes candidates; this class computes every distance that leaves,
    from the stored embeddings, and orders by (distance, row).
    """

    kind: ClassVar[str]

    def __init__(self, stored: Stored) -> None:
        """Takes over what `build` or `load_index` checked."""
        self._stored = stored
        self._row_of = {id: row for row, id in enumerate(stored.ids)}

    @classmethod
    def build(
        cls,
        ids: Sequence[str],
        embeddings: np.ndarray,
        *,
        encoder_fingerprint: str,
        extra: Mapping[str, Any] | None = None,
    ) -> Index:
        """Returns an index over a copy of the embeddings.

        Args:
            ids: N product ids, each there once.
            embeddings: [N, D] float32, unit length within 1e-3.
            encoder_fingerprint: of the encoder that made the embeddings.
            extra: what to keep beside them (a decision, say), as JSON can hold it.

        Raises:
            ValueError, TypeError: ids or embeddings are not as described; names the id.
        """
        if not isinstance(encoder_fingerprint, str) or not encoder_fingerprint:
            raise ValueError(
                f"encoder_fingerprint is a non-empty str, got {encoder_fingerprint!r}."
            )
        checked = checked_ids(ids)
        vectors = checked_vectors(embeddings, names=checked)
        return cls._made(Stored(checked, vectors, encoder_fingerprint, extra or {}))

    @property
    def ids(self) -> tuple[str, ...]:
        """The product ids; the position of an id is its row."""
        return self._stored.ids

    @property
    def embeddings(self) -> np.ndarray:
        """[N, D] float32 in row order, unit length, read-only."""
        view = self._stored.embeddings.view()
        view.flags.writeable = False
        return view

    @property
    def dim(self) -> int:
        """D, the length of an embedding."""
        return int(self._stored.embeddings.shape[1])

    @property
    def encoder_fingerprint(self) -> str:
        """The fingerprint of the encoder that made the embeddings."""
        return self._stored.encoder_fingerprint

    @property
    def extra(self) -> dict[str, Any]:
        """What the caller of `build` or `save` kept beside the embeddings."""
        return dict(self._stored.extra)

    @property
    @abc.abstractmethod
    def is_exact(self) -> bool:
        """Whether no nearer product can be missed."""

    def __len__(self) -> int:
        """The number of products."""
        return len(self._stored.ids)

    def __contains__(self, id: object) -> bool:
        """Whether the index holds the product with this id."""
        return id in self._row_of

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """Returns [len(ids)] int64 rows; KeyError names an id that is not here."""
        missing = [id for id in ids if id not in self._row_of]
        if missing:
            raise KeyError(f"The index holds no product {missing[0]!r}.")
        return np.array([self._row_of[id] for id in ids], np.int64)

    def embedding(self, id: str) -> np.ndarray:
        """Returns the [D] float32 embedding of one product."""
        return self.embeddings_of([id])[0]

    def embeddings_of(self, ids: Sequence[str]) -> np.ndarray:
        """Returns the [len(ids), D] float32 embeddings of these products, a copy."""
        return np.asarray(self._stored.embeddings[self.rows_of(ids)])

    def search(
        self,
        queries: np.ndarray,
        *,
        k: int = 10,
        query_ids: Sequence[str] | None = None,
        exclude: Sequence[Excluded] | None = None,
    ) -> list[list[Match]]:
        """Returns for each query its k nearest products, or all where there are fewer.

        Args:
            queries: [Q, D] float32, unit length within 1e-3.
            k: how many products a query, at least 1.
            query_ids: what to call the queries; by default "0", "1" and so on.
            exclude: per query an id, or several, that shall not be returned.
        """
        num_queries = len(queries)
        names = _one_per_query(query_ids, num_queries, what="query_ids")
        barred = _one_per_query(exclude, num_queries, what="exclude")
        checked = self._checked_queries(queries, query_ids)
        hidden = [self._rows_hidden(ids) for ids in barred]
        # Enough to drop the hidden ones from, but no wider than the catalogue.
        wanted = _checked_k(k) + max(map(len, hidden), default=0)
        found = self._nearest(checked, min(wanted, max(1, len(self))))
        answers = []
        for line in range(num_queries):
            label = str(line) if names[line] is None else names[line]
            matches = self._matches(label, found, line=line, hidden=hidden[line])
            answers.append(matches[:k])
        return answers

    def search_rows(self, queries: np.ndarray, *, k: int = 10) -> Neighbours:
        """Returns the k nearest rows of each query, as arrays: for whole catalogues.

        Args:
            queries: [Q, D] float32, unit length within 1e-3.
            k: how many rows a query, at least 1.
        """
        return self._nearest(self._checked_queries(queries, None), _checked_k(k))

    def save(
        self, folder: str | os.PathLike[str], *, extra: Mapping[str, Any] | None = None
    ) -> None:
        """Writes the index as one folder, whole or not at all.

        Args:
            folder: its place; an index that is there is replaced.
            extra: replaces what `build` was given under this name.
        """
        with whole_folder(folder) as temporary:
            write_stored(temporary, self._stored)
            self._write_searcher(temporary)
            seal(temporary, self._stored, kind=self.kind, extra=extra)

    @classmethod
    @abc.abstractmethod
    def _made(cls, stored: Stored) -> Index:
        """Returns a new index over checked ids and embeddings."""

    @classmethod
    @abc.abstractmethod
    def _opened(cls, stored: Stored, folder: Path) -> Index:
        """Returns the index that `folder` holds, its files already verified."""

    @abc.abstractmethod
    def _write_searcher(self, folder: Path) -> None:
        """Writes what this type needs beside ids and embeddings."""

    @abc.abstractmethod
    def _candidates(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (lines, rows), both [C] int64, holding each query's k nearest rows.

        More may come; the caller computes the distances. 1 <= k <= len(self).
        """

    @abc.abstractmethod
    def _query_block(self, k: int) -> int:
        """How many queries `_candidates` may get at once."""

    def _nearest(self, queries: np.ndarray, k: int) -> Neighbours:
        rows = np.full((len(queries), k), -1, np.int64)
        distances = np.full((len(queries), k), np.inf, np.float32)
        wanted = min(k, len(self))
        if not wanted:
            return Neighbours(rows, distances)
        step = self._query_block(wanted)
        for start in range(0, len(queries), step):
            part = queries[start : start + step]
            lines, candidates = self._candidates(part, wanted)
            found = nearest_candidates(
                part,
                self._stored.embeddings,
                lines=lines,
                rows=candidates,
                k=wanted,
            )
            rows[start : start + step, :wanted] = found.rows
            distances[start : start + step, :wanted] = found.distances
        return Neighbours(rows, distances)

    def _matches(
        self, query_id: str, found: Neighbours, *, line: int, hidden: set[int]
    ) -> list[Match]:
        pairs = zip(found.rows[line].tolist(), found.distances[line].tolist())
        return [
            Match(query_id, self.ids[row], distance)
            for row, distance in pairs
            if row >= 0 and row not in hidden
        ]

    def _checked_queries(
        self, queries: np.ndarray, names: Sequence[str] | None
    ) -> np.ndarray:
        if names is None:
            names = [f"query {line}" for line in range(len(queries))]
        return checked_vectors(queries, names=names, dim=self.dim)

    def _rows_hidden(self, ids: Excluded) -> set[int]:
        if ids is None:
            return set()
        several = [ids] if isinstance(ids, str) else ids
        return {self._row_of[id] for id in several if id in self._row_of}


def _checked_k(k: int) -> int:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}.")
    return int(k)


def _one_per_query(
    values: Sequence[Any] | None, num_queries: int, *, what: str
) -> Sequence[Any]:
    if values is None:
        return [None] * num_queries
    if len(values) != num_queries:
        raise ValueError(f"Got {len(values)} {what} for {num_queries} queries.")
    return values
