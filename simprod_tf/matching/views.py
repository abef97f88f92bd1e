"""Views: indexes of one catalogue by the whole product, its picture, its title."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from simprod_tf.errors import SimprodError
from simprod_tf.index.base import Index

WHOLE, IMAGE, TEXT = "both", "image", "text"
# For people; a view of another name goes by it.
LABELS = {WHOLE: "whole products", IMAGE: "pictures alone", TEXT: "titles alone"}
# Values gathered at once: 16 MB.
_BLOCK_VALUES = 1 << 22


def views_of(index: Index) -> dict[str, Index]:
    """Returns the index and its views by their names, as `Views` takes them."""
    return {WHOLE: index, **index.views}


class Views:
    """Several indexes over one catalogue; a row is one of the index `both`.

    A product may be missing in every other view: without a picture in that of the
    pictures. The indexes must not change while the views are in use.
    """

    def __init__(self, indexes: Mapping[str, Index]) -> None:
        """Maps the rows of every view once.

        Args:
            indexes: "both", of the whole embeddings, and any others by their names.

        Raises:
            SimprodError: a view holds a product that "both" lacks; names it.
        """
        if WHOLE not in indexes:
            raise ValueError(f"Views need {WHOLE!r}, got {', '.join(indexes) or '-'}.")
        # First, whatever the order they came in.
        self._indexes = {WHOLE: indexes[WHOLE], **indexes}
        self._row_of = {id: row for row, id in enumerate(self.ids)}
        self._rows, self._places = {}, {}
        for name, index in self._indexes.items():
            self._rows[name] = self._rows_in_whole(name, index)
            places = np.full(len(self), -1, np.int64)
            places[self._rows[name]] = np.arange(len(index))
            self._places[name] = places

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the views, "both" first."""
        return tuple(self._indexes)

    @property
    def ids(self) -> tuple[str, ...]:
        """The product ids; the position of an id is its row."""
        return self._indexes[WHOLE].ids

    def __len__(self) -> int:
        """The number of products."""
        return len(self._indexes[WHOLE])

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """Returns [len(ids)] int64 rows; KeyError names an id that is not here."""
        return self._indexes[WHOLE].rows_of(ids)

    def nearest(self, name: str, rows: np.ndarray, *, k: int) -> np.ndarray:
        """Returns [len(rows), k] int32: the k products nearest to each, not itself.

        Args:
            name: of the view; a product that it lacks has no neighbours there.
            rows: [B] int64.
            k: the width; -1 stands where there are fewer.
        """
        index, places = self._indexes[name], self._places[name][rows]
        nearest = np.full((len(rows), k), -1, np.int32)
        there = np.flatnonzero(places >= 0)
        if not len(there):
            return nearest
        # One more than k, since the product itself is among them.
        width = min(k + 1, len(index))
        found = index.search_rows(index.embeddings[places[there]], k=width).rows
        other = (found >= 0) & (found != places[there, None])
        ranks = np.cumsum(other, axis=1)
        lines, columns = np.nonzero(other & (ranks <= k))
        at = there[lines], ranks[lines, columns] - 1
        nearest[at] = self._rows[name][found[lines, columns]]
        return nearest

    def distances(self, name: str, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Returns [C] float32 L2 distances, NaN where the view lacks one of the two.

        Args:
            name: of the view.
            starts: [C] int64 rows.
            ends: [C] int64 rows.
        """
        places, embeddings = self._places[name], self._indexes[name].embeddings
        distances = np.full(len(starts), np.nan, np.float32)
        firsts, seconds = places[starts], places[ends]
        there = np.flatnonzero((firsts >= 0) & (seconds >= 0))
        step = max(1, _BLOCK_VALUES // embeddings.shape[1])
        for start in range(0, len(there), step):
            part = there[start : start + step]
            # From the difference: sqrt(2 - 2 dot) is off by 3e-4 for equal vectors.
            gaps = embeddings[firsts[part]] - embeddings[seconds[part]]
            distances[part] = np.sqrt(np.einsum("ij,ij->i", gaps, gaps))
        return np.minimum(distances, np.float32(2.0))

    def _rows_in_whole(self, name: str, index: Index) -> np.ndarray:
        rows = np.array([self._row_of.get(id, -1) for id in index.ids], np.int64)
        strangers = np.flatnonzero(rows < 0)
        if len(strangers):
            raise SimprodError(
                f"The index {name!r} holds {len(strangers)} products that {WHOLE!r} "
                f"lacks, {index.ids[strangers[0]]!r} among them; build both from one "
                "catalogue."
            )
        return rows
