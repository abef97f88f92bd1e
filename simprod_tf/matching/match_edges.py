"""The table of matches as a graph: products, and edges between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from simprod_tf.errors import SimprodError
from simprod_tf.matching.pair_code import is_mutual, pair_codes


@dataclass(frozen=True, eq=False)
class MatchEdges:
    """Every pair of matching products once, in the order of `starts` and `ends`.

    Attributes:
        ids: [n] object, the products in string order; their places are the rows.
        starts: [E] int64 rows.
        ends: [E] int64 rows, each above its start.
        distances: [E] float64, the smaller one where the two directions differ.
    """

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    distances: np.ndarray

    def up_to(self, max_distance: float) -> MatchEdges:
        """Returns the edges of at most this length, between the same products."""
        near = self.distances <= max_distance
        return MatchEdges(
            self.ids, self.starts[near], self.ends[near], self.distances[near]
        )


def match_edges(
    matches: pa.Table, *, mutual: bool, more_ids: Sequence[str] = ()
) -> MatchEdges:
    """Returns the edges of a table of matches, whatever the order of its rows.

    Args:
        matches: with columns `query_id`, `id`, `distance`.
        mutual: keep a pair only if it stands there in both directions.
        more_ids: products to be among the rows, also without a match.

    Raises:
        SimprodError: a column is missing, or a distance is none.
    """
    ids, starts, ends = _coded(matches, more_ids)
    distances = _distances(matches)
    kept = starts != ends
    if mutual:
        kept &= is_mutual(starts, ends, n=len(ids))
    codes = pair_codes(starts[kept], ends[kept], n=len(ids))
    distances = distances[kept]
    order = np.lexsort((distances, codes))
    # The first of each pair is its shortest.
    pairs, first = np.unique(codes[order], return_index=True)
    low, high = np.divmod(pairs, max(len(ids), 1))
    return MatchEdges(ids, low, high, distances[order[first]])


def string_column(table: pa.Table, name: str, *, what: str) -> pa.Array:
    """Returns a column as strings, or says that `what`, the table, lacks it."""
    if name not in table.column_names:
        raise SimprodError(
            f"{what} must have a column {name!r}, got {', '.join(table.column_names)}."
        )
    column = table[name].combine_chunks().cast(pa.string())
    if column.null_count:
        raise SimprodError(
            f"{what} must have a value of {name!r} in each row, "
            f"got {column.null_count} empty."
        )
    return column


def _coded(
    matches: pa.Table, more_ids: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the ids in string order, and each match's two rows."""
    what = "the table of matches"
    chunks = [string_column(matches, name, what=what) for name in ("query_id", "id")]
    chunks.append(pa.array(more_ids, pa.string()))
    coded = pa.chunked_array(chunks).combine_chunks().dictionary_encode()
    found = coded.dictionary.to_numpy(zero_copy_only=False)
    order = np.argsort(found, kind="stable")
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    rows = places[coded.indices.to_numpy()]
    n = len(matches)
    return found[order], rows[:n], rows[n : 2 * n]


def _distances(matches: pa.Table) -> np.ndarray:
    if "distance" not in matches.column_names:
        raise SimprodError(
            "the table of matches must have a column 'distance', got "
            f"{', '.join(matches.column_names)}."
        )
    distances = matches["distance"].to_numpy().astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(distances) & (distances >= 0)))
    if len(wrong):
        raise SimprodError(
            "the table of matches must have distances of 0 and more, got "
            f"{distances[wrong[0]]} in row {wrong[0] + 1}; match again."
        )
    return distances
