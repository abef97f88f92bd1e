"""Index: unit-length embeddings in, the nearest products out, by their ids."""

from __future__ import annotations

import abc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from simprod_tf.atomic import whole_folder
from simprod_tf.index.answer import Drift, Match
from simprod_tf.index.arguments import (
    Excluded,
    checked_k,
    checked_products,
    fitting_attributes,
    one_per_query,
)
from simprod_tf.index.folder import VIEWS_NAME, Stored, seal, write_stored
from simprod_tf.index.rows import Change, Rows
from simprod_tf.index.tuning import ScannSettings, Tuning
from simprod_tf.index.vectors import (
    Neighbours,
    checked_ids,
    checked_queries,
    checked_vectors,
    no_neighbours,
    padded,
)
from simprod_tf.index.where import Where


class Index(abc.ABC):
    """The embeddings of a catalogue, searchable. `build` makes one, `load_index` too.

    A subclass finds rows; this class checks what comes in and names what goes out.
    Any number of threads may search at the same time, but not while one changes the
    index: readers that must not wait take a version (`simprod_tf.index.versions`).
    """

    kind: ClassVar[str]

    def __init__(self, stored: Stored) -> None:
        """Takes over what `build` or `load_index` checked."""
        self._rows = Rows(
            stored.ids,
            stored.embeddings,
            attributes=stored.attributes,
            changed=stored.changed,
        )
        self._dim = int(stored.embeddings.shape[1])
        self._encoder_fingerprint = stored.encoder_fingerprint
        self._extra = dict(stored.extra)
        self._views: dict[str, Index] = {}
        self._where = Where(self._rows)

    @classmethod
    def build(
        cls,
        ids: Sequence[str],
        embeddings: np.ndarray,
        *,
        encoder_fingerprint: str,
        attributes: pa.Table | None = None,
        extra: Mapping[str, Any] | None = None,
        recall: float = 0.99,
        settings: ScannSettings | None = None,
        allow_low_recall: bool = False,
    ) -> Index:
        """Returns an index over a copy of the embeddings.

        Args:
            ids: N product ids, each there once.
            embeddings: [N, D] float32, unit length within 1e-3.
            encoder_fingerprint: of the encoder that made the embeddings.
            attributes: N rows, what `where` may ask about.
            extra: what to keep beside them (a decision, say), as JSON can hold it.
            recall: of the 10 nearest products, the share that a search shall find,
                where the index is approximate.
            settings: an expert's, for ScaNN's tree.
            allow_low_recall: keep an index whose measured recall is below `recall`.

        Raises:
            RecallError: the recall is not reached.
            ValueError, TypeError: ids or embeddings are not as described; names the id.
        """
        stored = checked_products(
            ids,
            embeddings,
            encoder_fingerprint=encoder_fingerprint,
            attributes=attributes,
            extra=extra,
        )
        return cls._made(stored, Tuning(recall, settings, allow_low_recall))

    @property
    def ids(self) -> tuple[str, ...]:
        """The product ids; the position of an id is its row."""
        return self._rows.ids

    @property
    def embeddings(self) -> np.ndarray:
        """[N, D] float32 in row order, unit length, read-only."""
        view = self._rows.embeddings.view()
        view.flags.writeable = False
        return view

    @property
    def dim(self) -> int:
        """D, the length of an embedding."""
        return self._dim

    @property
    def encoder_fingerprint(self) -> str:
        """The fingerprint of the encoder that made the embeddings."""
        return self._encoder_fingerprint

    @property
    def extra(self) -> dict[str, Any]:
        """What the caller of `build` or `save` kept beside the embeddings."""
        return dict(self._extra)

    @property
    def attributes(self) -> pa.Table | None:
        """What `where` asks about, in row order; None where there is nothing."""
        return self._rows.attributes

    @property
    @abc.abstractmethod
    def is_exact(self) -> bool:
        """Whether no nearer product can be missed."""

    @property
    def views(self) -> Mapping[str, Index]:
        """Indexes of the same products by one modality alone, saved with this one."""
        return dict(self._views)

    def attach(self, views: Mapping[str, Index]) -> None:
        """Takes indexes to keep as `views`, in place of those there are.

        Args:
            views: by their names; each may lack products, but has no others.

        Raises:
            ValueError: a view holds a product that is not here; names it.
        """
        for name, view in views.items():
            strangers = [id for id in view.ids if id not in self]
            if strangers:
                raise ValueError(
                    f"The view {name!r} holds {len(strangers)} products that the index "
                    f"lacks, {strangers[0]!r} among them."
                )
        self._views = dict(views)

    def __len__(self) -> int:
        """The number of products."""
        return len(self._rows)

    def __contains__(self, id: object) -> bool:
        """Whether the index holds the product with this id."""
        return id in self._rows

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """Returns [len(ids)] int64 rows; KeyError names an id that is not here."""
        rows = [self._rows.row_of(id) for id in ids]
        if None in rows:
            raise KeyError(f"The index holds no product {ids[rows.index(None)]!r}.")
        return np.array(rows, np.int64)

    def rows_where(self, where: str) -> np.ndarray:
        """Returns the rising int64 rows whose attributes satisfy an SQL condition.

        Raises:
            QueryError: it is no condition, or asks about what is not there.
            SimprodError: the index has no attributes.
        """
        return self._where.rows(where)

    def embedding(self, id: str) -> np.ndarray:
        """Returns the [D] float32 embedding of one product."""
        return self.embeddings_of([id])[0]

    def embeddings_of(self, ids: Sequence[str]) -> np.ndarray:
        """Returns the [len(ids), D] float32 embeddings of these products, a copy."""
        return np.asarray(self._rows.embeddings[self.rows_of(ids)])

    def search(
        self,
        queries: np.ndarray,
        *,
        k: int = 10,
        query_ids: Sequence[str] | None = None,
        exclude: Sequence[Excluded] | None = None,
        where: str | None = None,
    ) -> list[list[Match]]:
        """Returns for each query its k nearest products, or all where there are fewer.

        Args:
            queries: [Q, D] float32, unit length within 1e-3.
            k: how many products a query, at least 1.
            query_ids: what to call the queries; by default "0", "1" and so on.
            exclude: per query an id, or several, that shall not be returned.
            where: an SQL condition on the attributes, such as
                `category = 'mugs' AND price < 20`, that all shall satisfy.
        """
        num_queries = len(queries)
        names = one_per_query(query_ids, num_queries, what="query_ids")
        barred = one_per_query(exclude, num_queries, what="exclude")
        checked = self._checked_queries(queries, query_ids)
        hidden = [self._rows_hidden(ids) for ids in barred]
        # Enough to drop the hidden ones from, but no wider than the catalogue.
        wanted = checked_k(k) + max(map(len, hidden), default=0)
        found = self._found(checked, min(wanted, max(1, len(self))), where)
        answers = []
        for line in range(num_queries):
            label = str(line) if names[line] is None else names[line]
            matches = self._matches(label, found, line=line, hidden=hidden[line])
            answers.append(matches[:k])
        return answers

    def search_rows(
        self, queries: np.ndarray, *, k: int = 10, where: str | None = None
    ) -> Neighbours:
        """Returns the k nearest rows of each query, as arrays: for whole catalogues.

        Args:
            queries: [Q, D] float32, unit length within 1e-3.
            k: how many rows a query, at least 1.
            where: an SQL condition on the attributes that all rows shall satisfy.
        """
        return self._found(self._checked_queries(queries, None), checked_k(k), where)

    def add(
        self,
        ids: Sequence[str],
        embeddings: np.ndarray,
        *,
        attributes: pa.Table | None = None,
    ) -> int:
        """Takes in products, in place of those with the same id; returns how many new.

        All of them, or none where one is not as described. What the views hold of a
        product that is replaced is left to the caller.

        Args:
            ids: C product ids, each there once.
            embeddings: [C, D] float32, unit length within 1e-3.
            attributes: C rows, with the columns that the index has.
        """
        checked = checked_ids(ids)
        vectors = checked_vectors(embeddings, names=checked, dim=self.dim)
        held = self._rows.attribute_schema
        table = fitting_attributes(attributes, held, num_rows=len(checked))
        change = self._rows.put(checked, vectors, table)
        self._where.forget()
        self._took_in(change, vectors)
        return len(self) - change.first_new

    def remove(self, ids: Sequence[str]) -> None:
        """Removes products, from the views too: all, or none where one is not there.

        Raises:
            KeyError: names a product that is not there.
        """
        rows = sorted(self.rows_of(checked_ids(ids)).tolist(), reverse=True)
        self._rows.drop(rows)
        self._where.forget()
        self._let_go(rows)
        for view in self._views.values():
            view.remove([id for id in ids if id in view])

    def compact(self) -> None:
        """Trains the search anew on the products that are here now.

        Raises:
            RecallError: the wanted recall is not reached; the index stays as it was.
        """
        self._train_anew()
        self._rows.changed[:] = False

    @abc.abstractmethod
    def drift(self) -> Drift:
        """Returns what changes have done since the training, measured on a sample."""

    def save(
        self, folder: str | os.PathLike[str], *, extra: Mapping[str, Any] | None = None
    ) -> None:
        """Writes the index as one folder, whole or not at all.

        Args:
            folder: its place; an index that is there is replaced.
            extra: replaces what `build` was given under this name.
        """
        with whole_folder(folder) as temporary:
            self.write(temporary, extra=extra)

    def write(self, folder: Path, *, extra: Mapping[str, Any] | None = None) -> None:
        """Writes into an empty folder, for who makes it whole; see `save`."""
        stored = self._stored(self._extra if extra is None else extra)
        write_stored(folder, stored)
        self._write_searcher(folder)
        seal(folder, stored, kind=self.kind, views=list(self._views))
        for name, view in self._views.items():
            place = folder / VIEWS_NAME / name
            place.mkdir(parents=True)
            view.write(place)

    @classmethod
    @abc.abstractmethod
    def _made(cls, stored: Stored, tuning: Tuning) -> Index:
        """Returns a new index over checked ids and embeddings."""

    @classmethod
    @abc.abstractmethod
    def _opened(cls, stored: Stored, folder: Path) -> Index:
        """Returns the index that `folder` holds, its files already verified."""

    @abc.abstractmethod
    def _write_searcher(self, folder: Path) -> None:
        """Writes what this type needs beside ids and embeddings."""

    @abc.abstractmethod
    def _nearest(self, queries: np.ndarray, k: int) -> Neighbours:
        """Returns k neighbours of each checked query, 1 <= k <= len(self)."""

    def _nearest_among(
        self, queries: np.ndarray, k: int, rows: np.ndarray
    ) -> Neighbours:
        """Returns k neighbours of each query among some rows, 1 <= k <= len(rows)."""
        return self._where.nearest(queries, k, rows)

    @abc.abstractmethod
    def _train_anew(self) -> None:
        """Trains the search on what is here now, or fails and leaves it."""

    @abc.abstractmethod
    def _took_in(self, change: Change, vectors: np.ndarray) -> None:
        """Is told which rows were written, and with what."""

    @abc.abstractmethod
    def _let_go(self, rows: Sequence[int]) -> None:
        """Is told which rows were removed, from the last to the first."""

    def _search_facts(self) -> dict[str, Any]:
        """Returns what the manifest shall say about the search."""
        return {}

    def _stored(self, extra: Mapping[str, Any]) -> Stored:
        rows = self._rows
        return Stored(
            rows.ids,
            rows.embeddings,
            self.encoder_fingerprint,
            extra,
            rows.attributes,
            rows.changed,
            self._search_facts(),
        )

    def _found(self, queries: np.ndarray, k: int, where: str | None) -> Neighbours:
        """Returns [Q, k] neighbours, padded where there are fewer."""
        rows = None if where is None else self.rows_where(where)
        wanted = min(k, len(self) if rows is None else len(rows))
        if not wanted or not len(queries):
            return no_neighbours(len(queries), k)
        if rows is None:
            found = self._nearest(queries, wanted)
        else:
            found = self._nearest_among(queries, wanted, rows)
        return padded(found, k)

    def _matches(
        self, query_id: str, found: Neighbours, *, line: int, hidden: set[int]
    ) -> list[Match]:
        pairs = zip(found.rows[line].tolist(), found.distances[line].tolist())
        return [
            Match(query_id, self._rows.id_of(row), distance)
            for row, distance in pairs
            if row >= 0 and row not in hidden
        ]

    def _checked_queries(
        self, queries: np.ndarray, names: Sequence[str] | None
    ) -> np.ndarray:
        return checked_queries(queries, names=names, dim=self.dim)

    def _rows_hidden(self, ids: Excluded) -> set[int]:
        if ids is None:
            return set()
        several = [ids] if isinstance(ids, str) else ids
        rows = (self._rows.row_of(id) for id in several)
        return {row for row in rows if row is not None}
