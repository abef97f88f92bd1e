"""Rows: the products of an index by row; they grow, and the last one closes a hole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

_MIN_SPARE = 1024


@dataclass(frozen=True, eq=False)
class Change:
    """Where products were written.

    Attributes:
        rows: [C] int64, distinct; those from `first_new` on are new.
        first_new: how many rows there were before.
    """

    rows: np.ndarray
    first_new: int


class Rows:
    """Ids, embeddings and attributes, each product at one row.

    Rows are 0 to N - 1 without a hole: where a product is removed, the last one moves
    to its row. So ScaNN numbers its points, too.
    """

    def __init__(
        self,
        ids: Sequence[str],
        embeddings: np.ndarray,
        *,
        attributes: pa.Table | None = None,
        changed: np.ndarray | None = None,
    ) -> None:
        """Takes what is checked already.

        Args:
            ids: N product ids, distinct.
            embeddings: [N, D] float32, unit length; a mapped file stays one until the
                first change.
            attributes: N rows, or None.
            changed: [N] bool, which rows came after the searcher was trained.
        """
        self._ids = list(ids)
        self._known: tuple[str, ...] | None = tuple(self._ids)
        self._row_of = {id: row for row, id in enumerate(self._ids)}
        self._buffer = embeddings
        self._tables = None if attributes is None else [attributes]
        # Where each row stands in `_tables`, one after the other.
        self._places = np.arange(len(self._ids))
        self._num_placed = len(self._ids)
        self._in_order = True
        self._changed = np.zeros(len(ids), bool) if changed is None else changed

    def __len__(self) -> int:
        """The number of products."""
        return len(self._ids)

    def __contains__(self, id: object) -> bool:
        """Whether there is a product with this id."""
        return id in self._row_of

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids in row order."""
        if self._known is None:
            self._known = tuple(self._ids)
        return self._known

    @property
    def embeddings(self) -> np.ndarray:
        """[N, D] float32, a view that holds until the next change."""
        return self._buffer[: len(self)]

    @property
    def attributes(self) -> pa.Table | None:
        """The attributes in row order, or None."""
        if self._tables is None:
            return None
        if not self._in_order:
            whole = pa.concat_tables(self._tables)
            taken = whole.take(pa.array(self._places[: len(self)]))
            self._tables = [taken.combine_chunks()]
            self._places[: len(self)] = np.arange(len(self))
            self._num_placed = len(self)
            self._in_order = True
        return self._tables[0]

    @property
    def attribute_schema(self) -> pa.Schema | None:
        """The attributes' columns; unlike the attributes it costs nothing to ask."""
        return None if self._tables is None else self._tables[0].schema

    @property
    def changed(self) -> np.ndarray:
        """[N] bool, which rows came after the searcher was trained; a view."""
        return self._changed[: len(self)]

    def id_of(self, row: int) -> str:
        """Returns the id of the product at a row, without copying them all."""
        return self._ids[row]

    def row_of(self, id: str) -> int | None:
        """Returns the row of a product, None where there is none."""
        return self._row_of.get(id)

    def put(
        self, ids: Sequence[str], vectors: np.ndarray, attributes: pa.Table | None
    ) -> Change:
        """Writes products, checked already, in place of those with the same id."""
        before = len(self)
        rows = np.empty(len(ids), np.int64)
        for line, id in enumerate(ids):
            row = self._row_of.setdefault(id, len(self._ids))
            if row == len(self._ids):
                self._ids.append(id)
            rows[line] = row
        self._known = None
        self._reserve(len(self._ids))
        self._buffer[rows] = vectors
        self._changed[rows] = True
        if self._tables is not None:
            self._places[rows] = self._num_placed + np.arange(len(ids))
            self._num_placed += len(ids)
            self._tables.append(attributes)
            self._in_order = False
        return Change(rows, before)

    def drop(self, rows: Sequence[int]) -> None:
        """Removes rows, given from the last to the first."""
        self._reserve(len(self))
        for row in rows:
            last = len(self._ids) - 1
            del self._row_of[self._ids[row]]
            if row != last:
                self._ids[row] = self._ids[last]
                self._row_of[self._ids[row]] = row
                for array in (self._buffer, self._changed, self._places):
                    array[row] = array[last]
            self._ids.pop()
        self._known = None
        self._in_order = False

    def _reserve(self, n: int) -> None:
        """Makes the arrays writable, and long enough for n rows."""
        arrays = (self._buffer, self._changed, self._places)
        if all(one.flags.writeable and len(one) >= n for one in arrays):
            return
        room = max(n, len(self._buffer)) + max(_MIN_SPARE, n // 8)
        self._buffer = _longer(self._buffer, room)
        self._changed = _longer(self._changed, room)
        self._places = _longer(self._places, room)


def _longer(array: np.ndarray, room: int) -> np.ndarray:
    longer = np.zeros((room, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer
