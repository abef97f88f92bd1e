"""Candidates: the pairs that are worth a decision, streamed in blocks of queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from simprod_tf.matching.keys import KeyGroups
from simprod_tf.matching.views import Views

Progress = Callable[[int, int], None]
# Of each view [B, k] int32 rows, -1 where there are fewer.
_Nearest = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Candidates:
    """The candidates of one block of queries, each pair of query and product once.

    They stand in the order of the queries, nearest first by the view that decides:
    "both", or the pair decider where there is one.

    Attributes:
        queries: [B] int64 rows that were asked for; some may have no candidate.
        starts: [C] int64 rows, each the query's.
        ends: [C] int64 rows, each the candidate's, never the query's own.
        ranks: [C] int32, the place among the query's candidates by the view that
            decides, from 1.
        distances: of each view [C] float32, NaN where it lacks one of the two.
        via: [C] uint32, bit i set where `sources[i]` proposed the candidate.
        sources: names of the views, then "key:" and the kind of each exact key.
        mutual: [C] bool, whether one and the same source proposes each of the two to
            the other, as a key always does; None where this was not asked for.
    """

    queries: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    ranks: np.ndarray
    distances: Mapping[str, np.ndarray]
    via: np.ndarray
    sources: tuple[str, ...]
    mutual: np.ndarray | None = None

    def __len__(self) -> int:
        """The number of candidates."""
        return len(self.starts)

    def proposed_by(self, source: str) -> np.ndarray:
        """Returns [C] bool: whether this source proposed the candidate."""
        bit = np.uint32(1 << self.sources.index(source))
        return np.asarray(self.via & bit != 0)


def candidate_blocks(
    views: Views,
    *,
    k: int,
    keys: KeyGroups | None = None,
    queries: Sequence[str] | None = None,
    mutual: bool = False,
    tables: np.ndarray | None = None,
    block: int = 8192,
    progress: Progress | None = None,
) -> Iterator[Candidates]:
    """Returns the candidates of the queries, block by block.

    A query's candidates are the k products nearest to it in each view, and those that
    share a key with it. Every distance in every view is computed for all of them.

    Memory holds one block, and with `mutual` also k int32 a product and view: 24 MB
    for 200,000 products, 10 neighbours and 3 views.

    Args:
        views: the indexes of the catalogue.
        k: how many neighbours a query has in each view, at most.
        keys: exact keys of the products, in the views' rows.
        queries: the ids to find candidates for, by default all; each counts once.
        mutual: also find which pairs are proposed in both directions.
        tables: [N] of the views' rows; only products of different tables are
            candidates of each other.
        block: how many queries are searched at once.
        progress: called with (queries searched, queries in all) after each block.

    Raises:
        KeyError: names a query that is not in the index.
    """
    if k < 1 or block < 1:
        raise ValueError(f"k and block must be at least 1, got {k} and {block}.")
    if keys is not None and len(keys) != len(views):
        raise ValueError(
            f"The keys are those of {len(keys)} products, the index holds {len(views)};"
            " take them in the index's row order."
        )
    if tables is not None and len(tables) != len(views):
        raise ValueError(
            f"There is a table for {len(tables)} products, the index holds "
            f"{len(views)}; take them in the index's row order."
        )
    rows = np.arange(len(views))
    if queries is not None:
        rows = views.rows_of(list(dict.fromkeys(queries)))
    ways = _mutual_blocks if mutual else _plain_blocks
    return ways(_Search(views, keys, k, block, tables), rows, progress)


@dataclass(frozen=True)
class _Search:
    """Where is searched, and how many neighbours of how many queries at once."""

    views: Views
    keys: KeyGroups | None
    k: int
    block: int
    tables: np.ndarray | None = None

    def pieces(
        self, rows: np.ndarray, progress: Progress | None
    ) -> Iterator[np.ndarray]:
        """Yields the rows block by block, and tells when a block is done with."""
        for start in range(0, len(rows), self.block):
            piece = rows[start : start + self.block]
            yield piece
            if progress is not None:
                progress(start + len(piece), len(rows))

    def nearest(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Returns of each view the [len(rows), k] int32 neighbours."""
        views = self.views
        return {name: views.nearest(name, rows, k=self.k) for name in views.names}

    def proposed(
        self, rows: np.ndarray, nearest: _Nearest
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns of each source (lines, ends), both [C] int64."""
        found = [_listed(nearest[name]) for name in self.views.names]
        if self.keys is not None:
            found += [self.keys.partners(kind, rows) for kind in self.keys.kinds]
        return found

    def candidates(self, rows: np.ndarray, nearest: _Nearest) -> Candidates:
        """Returns the candidates of one block."""
        kinds = () if self.keys is None else self.keys.kinds
        lines, ends, via = _united(self.proposed(rows, nearest), width=len(self.views))
        if self.tables is not None:
            apart = self.tables[rows[lines]] != self.tables[ends]
            lines, ends, via = lines[apart], ends[apart], via[apart]
        starts = rows[lines]
        distances = {
            name: self.views.distances(name, starts, ends) for name in self.views.names
        }
        order = np.lexsort((ends, distances[self.views.deciding], lines))
        ranks = np.arange(1, len(lines) + 1) - np.searchsorted(lines, lines)
        return Candidates(
            queries=rows,
            starts=starts,
            ends=ends[order],
            ranks=ranks.astype(np.int32),
            distances={name: values[order] for name, values in distances.items()},
            via=via[order],
            sources=(*self.views.names, *(f"key:{kind}" for kind in kinds)),
        )


def _plain_blocks(
    search: _Search, rows: np.ndarray, progress: Progress | None
) -> Iterator[Candidates]:
    for piece in search.pieces(rows, progress):
        yield search.candidates(piece, search.nearest(piece))


def _mutual_blocks(
    search: _Search, rows: np.ndarray, progress: Progress | None
) -> Iterator[Candidates]:
    lists = _lists(search, rows, progress)
    for piece in search.pieces(rows, None):
        nearest = {name: every[piece] for name, every in lists.items()}
        found = search.candidates(piece, nearest)
        yield replace(found, mutual=_mutual(found, lists))


def _lists(
    search: _Search, rows: np.ndarray, progress: Progress | None
) -> dict[str, np.ndarray]:
    """Returns of each view [N, k] int32, filled for `rows` and all their neighbours."""
    shape = (len(search.views), search.k)
    lists = {name: np.full(shape, -1, np.int32) for name in search.views.names}

    def fill(wanted: np.ndarray, progress: Progress | None) -> None:
        for piece in search.pieces(wanted, progress):
            for name, found in search.nearest(piece).items():
                lists[name][piece] = found

    fill(rows, progress)
    unasked = np.ones(len(search.views), bool)
    unasked[rows] = False
    if unasked.any():
        ends = np.unique(np.concatenate([every[rows] for every in lists.values()]))
        fill(ends[(ends >= 0) & unasked[ends]], None)
    return lists


def _mutual(found: Candidates, lists: _Nearest) -> np.ndarray:
    """Returns [C] bool: whether a source proposes each of the two to the other."""
    mutual = np.zeros(len(found), bool)
    for source in found.sources:
        both = found.proposed_by(source)
        if source in lists:
            at = np.flatnonzero(both)
            back = lists[source][found.ends[at]] == found.starts[at, None]
            both[at] = back.any(axis=1)
        mutual |= both
    return mutual


def _listed(nearest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (lines, ends), both [C] int64, of [B, k] rows; -1 is none."""
    lines, columns = np.nonzero(nearest >= 0)
    return lines, nearest[lines, columns].astype(np.int64)


def _united(
    proposed: Sequence[tuple[np.ndarray, np.ndarray]], *, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns lines, ends and via of what was proposed, each once, in their order.

    Args:
        proposed: of each source lines and ends.
        width: the number of products; ends are below it.
    """
    codes = np.concatenate([lines * width + ends for lines, ends in proposed])
    sizes = [len(lines) for lines, _ in proposed]
    bits = np.repeat(np.uint32(1) << np.arange(len(sizes), dtype=np.uint32), sizes)
    order = np.argsort(codes, kind="stable")
    codes, bits = codes[order], bits[order]
    first = np.flatnonzero(np.diff(codes, prepend=-1))
    if not len(first):
        return codes, codes, bits
    lines, ends = np.divmod(codes[first], width)
    return lines, ends, np.bitwise_or.reduceat(bits, first)
