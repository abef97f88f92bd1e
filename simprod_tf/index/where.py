"""Search among the products that satisfy a condition, prepared once for many."""

from __future__ import annotations

import threading

import numpy as np

from simprod_tf.errors import SimprodError
from simprod_tf.index.filters import AttributeFilter
from simprod_tf.index.rows import Rows
from simprod_tf.index.vectors import Neighbours, nearest_rows


class Where:
    """Conditions on the attributes of an index's products; `forget` after a change."""

    def __init__(self, rows: Rows) -> None:
        """Takes the products; their attributes are read at the first condition."""
        self._rows = rows
        self._filter: AttributeFilter | None = None
        self._subset: tuple[np.ndarray, np.ndarray] | None = None
        # Two threads with the first condition: one filter, so that none stays open.
        self._lock = threading.Lock()

    def rows(self, where: str) -> np.ndarray:
        """Returns the rising int64 rows whose attributes satisfy an SQL condition.

        Raises:
            QueryError: it is no condition, or asks about what is not there.
            SimprodError: there are no attributes.
        """
        with self._lock:
            if self._filter is None:
                attributes = self._rows.attributes
                if attributes is None:
                    raise SimprodError(
                        "the index holds no attributes to ask `where` about; build it "
                        "with some (simprod index --attribute)."
                    )
                self._filter = AttributeFilter(attributes)
        return self._filter.rows(where)

    def nearest(self, queries: np.ndarray, k: int, rows: np.ndarray) -> Neighbours:
        """Returns k neighbours of each query among some rows, for certain.

        Args:
            queries: [Q, D] float32, unit length.
            k: how many a query, 1 <= k <= len(rows).
            rows: [R] int64, rising.
        """
        # Gathering costs more than one query's search; the next one often asks alike.
        kept = self._subset
        if kept is None or not np.array_equal(kept[0], rows):
            kept = self._subset = rows, self._rows.embeddings[rows]
        found = nearest_rows(queries, kept[1], k=k)
        return Neighbours(rows[found.rows], found.distances)

    def forget(self) -> None:
        """Drops what was kept of attributes and embeddings, which have changed."""
        if self._filter is not None:
            self._filter.close()
        self._filter = self._subset = None
