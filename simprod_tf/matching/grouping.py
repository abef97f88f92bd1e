"""Groups of the same product, from the table of matches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from simprod_tf.matching.matcher import is_mutual


@dataclass(frozen=True)
class Groups:
    """Which product belongs to which group.

    Attributes:
        table: `id`, `group`; a group is called by its first id in string order. Only
            groups of two and more are listed: who is not here stands alone.
        num_split: how many connected components were larger than the cap.
    """

    table: pa.Table
    num_split: int


def group_matches(matches: pa.Table, *, max_size: int = 50) -> Groups:
    """Returns the connected components of the mutual matches, none above `max_size`.

    A component that is larger loses its longest edges, one after the other, until
    every piece fits (single linkage, cut where the size demands it): this breaks the
    chains by which A ~ B ~ C ~ ... brings strangers together.

    Args:
        matches: with columns `query_id`, `id`, `distance`, as `find_matches` returns.
        max_size: how many products a group may hold, at most.
    """
    if max_size < 1:
        raise ValueError(f"max_size must be at least 1, got {max_size}.")
    names, starts, ends = _mutual_edges(matches)
    # `whole` are the components as they are; `parts` stop growing where a component
    # exceeds the cap, which is what is left after its longest edges are gone.
    whole, parts = list(range(len(names))), list(range(len(names)))
    sizes = [1] * len(names)
    for start, end in zip(starts.tolist(), ends.tolist()):
        first, second = sorted((_root(whole, start), _root(whole, end)))
        if first == second:
            continue
        sizes[first] += sizes[second]
        whole[second] = first
        if sizes[first] <= max_size:
            # Up to the cap both forests are the same, roots and all.
            parts[second] = first
    num_split = sum(
        whole[row] == row and size > max_size for row, size in enumerate(sizes)
    )
    return Groups(_table(names, parts), num_split)


def _table(names: np.ndarray, parents: list[int]) -> pa.Table:
    roots = np.array([_root(parents, row) for row in range(len(names))], np.int64)
    members = np.bincount(roots, minlength=len(names))
    listed = np.flatnonzero(members[roots] > 1)
    return pa.table(
        {
            "id": pa.array(names[listed], pa.string()),
            "group": pa.array(names[roots[listed]], pa.string()),
        }
    )


def _mutual_edges(matches: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the ids in string order, and the mutual edges, shortest first."""
    chunks = [*matches["query_id"].chunks, *matches["id"].chunks]
    coded = pa.chunked_array(chunks, pa.string()).combine_chunks().dictionary_encode()
    found = coded.dictionary.to_numpy(zero_copy_only=False)
    order = np.argsort(found, kind="stable")
    rows = np.argsort(order)[coded.indices.to_numpy()]
    names, starts, ends = found[order], *np.split(rows, 2)
    kept = np.flatnonzero(is_mutual(starts, ends, n=len(names)) & (starts < ends))
    starts, ends = starts[kept], ends[kept]
    order = np.lexsort((ends, starts, matches["distance"].to_numpy()[kept]))
    return names, starts[order], ends[order]


def _root(parents: list[int], row: int) -> int:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row
