"""Views: one catalogue seen by the whole product, its picture, its title.

A view proposes neighbours and gives distances. Most are indexes of embeddings; a pair
decider is one too: it proposes by words, and its distance is 1 - probability.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from simprod_tf.errors import SimprodError
from simprod_tf.index.base import Index

WHOLE, IMAGE, TEXT, DECIDER = "both", "image", "text", "decider"
# For people; a view of another name goes by it.
LABELS = {
    WHOLE: "whole products",
    IMAGE: "pictures alone",
    TEXT: "titles alone",
    DECIDER: "pair decider",
}
# Values gathered at once: 16 MB.
_BLOCK_VALUES = 1 << 22


def views_of(index: Index) -> dict[str, Index]:
    """Returns the index and its views by their names, as `Views` takes them."""
    return {WHOLE: index, **index.views}


def deciding(names: Iterable[str]) -> str:
    """Returns the view by whose distance it is decided: the decider's, else "both"."""
    return DECIDER if DECIDER in names else WHOLE


class View(Protocol):
    """What proposes candidates, and says how far apart two products are."""

    def nearest(self, rows: np.ndarray, *, k: int) -> np.ndarray:
        """Returns [len(rows), k] int32: neighbours of each, nearest first, or -1."""

    def distances(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Returns [C] float32 distances of pairs of rows, NaN where unknown."""


class Views:
    """Several views of one catalogue; a row is one of the index `both`.

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
        self._whole = indexes[WHOLE]
        row_of = {id: row for row, id in enumerate(self.ids)}
        # First, whatever the order they came in.
        self._views: dict[str, View] = {
            name: _IndexView(index, _rows_in_whole(name, index, row_of), len(self))
            for name, index in {WHOLE: self._whole, **indexes}.items()
        }

    def replaced(self, views: Mapping[str, View]) -> Views:
        """Returns these views and others, which take the place of those of one name.

        Args:
            views: by their names; their rows are those of "both".
        """
        made = Views.__new__(Views)
        made._whole = self._whole
        made._views = {**self._views, **views}
        return made

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the views, "both" first."""
        return tuple(self._views)

    @property
    def deciding(self) -> str:
        """The view by whose distance candidates are ranked and decided upon."""
        return deciding(self._views)

    @property
    def ids(self) -> tuple[str, ...]:
        """The product ids; the position of an id is its row."""
        return self._whole.ids

    def __len__(self) -> int:
        """The number of products."""
        return len(self._whole)

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """Returns [len(ids)] int64 rows; KeyError names an id that is not here."""
        return self._whole.rows_of(ids)

    def nearest(self, name: str, rows: np.ndarray, *, k: int) -> np.ndarray:
        """Returns [len(rows), k] int32: the k products nearest to each, not itself.

        Args:
            name: of the view; a product that it lacks has no neighbours there.
            rows: [B] int64.
            k: the width; -1 stands where there are fewer.
        """
        return self._views[name].nearest(rows, k=k)

    def distances(self, name: str, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Returns [C] float32 distances, NaN where the view lacks one of the two.

        Args:
            name: of the view; L2 of its embeddings, a decider's 1 - probability.
            starts: [C] int64 rows.
            ends: [C] int64 rows.
        """
        return self._views[name].distances(starts, ends)


class _IndexView:
    """An index as a view: its own rows against those of "both"."""

    def __init__(self, index: Index, rows: np.ndarray, num_products: int) -> None:
        """Takes the row by "both" of each row of the index."""
        self._index, self._rows = index, rows
        self._places = np.full(num_products, -1, np.int64)
        self._places[rows] = np.arange(len(index))

    def nearest(self, rows: np.ndarray, *, k: int) -> np.ndarray:
        index, places = self._index, self._places[rows]
        nearest = np.full((len(rows), k), -1, np.int32)
        there = np.flatnonzero(places >= 0)
        if len(there):
            own = places[there]
            found = nearest_but_own(index, index.embeddings[own], own, k=k)
            nearest[there] = np.where(found >= 0, self._rows[found], -1)
        return nearest

    def distances(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        embeddings = self._index.embeddings
        distances = np.full(len(starts), np.nan, np.float32)
        firsts, seconds = self._places[starts], self._places[ends]
        there = np.flatnonzero((firsts >= 0) & (seconds >= 0))
        distances[there] = row_distances(
            embeddings, firsts[there], embeddings, seconds[there]
        )
        return distances


def nearest_but_own(
    index: Index, queries: np.ndarray, own: np.ndarray, *, k: int
) -> np.ndarray:
    """Returns [Q, k] int64: the rows nearest to each query, without its own; or -1.

    Args:
        index: what is searched.
        queries: [Q, D] float32, unit length.
        own: [Q] int64, the row of each query itself; -1 where the index lacks it.
        k: the width; -1 stands where there are fewer.
    """
    nearest = np.full((len(queries), k), -1, np.int64)
    # One more than k where the product itself is among them.
    width = min(k + int((own >= 0).any()), len(index))
    if not width:
        return nearest
    found = index.search_rows(queries, k=width).rows
    other = (found >= 0) & (found != own[:, None])
    ranks = np.cumsum(other, axis=1)
    lines, columns = np.nonzero(other & (ranks <= k))
    nearest[lines, ranks[lines, columns] - 1] = found[lines, columns]
    return nearest


def row_distances(
    firsts: np.ndarray, starts: np.ndarray, seconds: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Returns [C] float32 L2 distances of rows of one array to rows of another.

    Args:
        firsts: [N, D] float32, unit length.
        starts: [C] int64 rows of `firsts`.
        seconds: [M, D] float32, unit length.
        ends: [C] int64 rows of `seconds`.
    """
    distances = np.empty(len(starts), np.float32)
    step = max(1, _BLOCK_VALUES // firsts.shape[1])
    for start in range(0, len(starts), step):
        part = slice(start, start + step)
        # From the difference: sqrt(2 - 2 dot) is off by 3e-4 for equal vectors.
        gaps = firsts[starts[part]] - seconds[ends[part]]
        distances[part] = np.sqrt(np.einsum("ij,ij->i", gaps, gaps))
    return np.minimum(distances, np.float32(2.0))


def _rows_in_whole(name: str, index: Index, row_of: Mapping[str, int]) -> np.ndarray:
    rows = np.array([row_of.get(id, -1) for id in index.ids], np.int64)
    strangers = np.flatnonzero(rows < 0)
    if len(strangers):
        raise SimprodError(
            f"The index {name!r} holds {len(strangers)} products that {WHOLE!r} "
            f"lacks, {index.ids[strangers[0]]!r} among them; build both from one "
            "catalogue."
        )
    return rows
