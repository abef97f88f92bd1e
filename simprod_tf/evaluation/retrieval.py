"""How well the nearest candidates of a query are of the query's own group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Ranking works on whole numbers: squared distance (at most 4) in steps of 2**-36, then
# the candidate's row in the low bits, which settles ties. 39 bits and 25 make 64.
_STEPS = float(2**36)
_ROW_BITS = np.uint64(25)
_ROW_MASK = np.uint64(2**25 - 1)
_NOBODY = np.uint64(2**64 - 1)


@dataclass(frozen=True, eq=False)
class Retrieval:
    """Per-query measures of one search; only of queries that have a right answer.

    Args:
        kept: [Q] bool, which of the queries are measured: those with at least one
            candidate of their group besides themselves. Q' of them are True.
        query_groups: [Q'] the measured queries' groups: the clusters to resample.
        recall_at: for each k [Q'] float64, 1 if any of the first k candidates is of the
            query's group, else 0. This is the convention of metric learning (Song et
            al. 2016, "Deep Metric Learning via Lifted Structured Feature Embedding",
            Stanford Online Products, https://arxiv.org/abs/1511.06452), not the share
            of all right candidates that were found. At k = 1 it is precision at 1 too.
        map_at_r: [Q'] float64, average precision over the first R candidates, R being
            the number of right ones (Musgrave et al. 2020, "A Metric Learning Reality
            Check", https://arxiv.org/abs/2003.08505); their mean is MAP@R.
    """

    kept: np.ndarray
    query_groups: np.ndarray
    recall_at: Mapping[int, np.ndarray]
    map_at_r: np.ndarray

    @property
    def left_out(self) -> int:
        """The number of queries that no candidate could have answered."""
        return int(np.count_nonzero(~self.kept))

    def __len__(self) -> int:
        """The number of queries measured."""
        return len(self.query_groups)


@dataclass(frozen=True, eq=False)
class _Side:
    """Queries or candidates: embeddings [B, D] float64, groups and ids as numbers."""

    embeddings: np.ndarray
    groups: np.ndarray
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.groups)

    def take(self, rows: np.ndarray | slice) -> _Side:
        return _Side(self.embeddings[rows], self.groups[rows], self.ids[rows])


def retrieval_metrics(
    query_embeddings: np.ndarray,
    candidate_embeddings: np.ndarray,
    query_groups: npt.ArrayLike,
    candidate_groups: npt.ArrayLike,
    *,
    ks: Sequence[int] = (1, 10),
    query_ids: npt.ArrayLike | None = None,
    candidate_ids: npt.ArrayLike | None = None,
    block: int = 1024,
) -> Retrieval:
    """Returns the measures of ranking all candidates by distance to each query.

    Equal distances are ranked by candidate row. At no time are more than [block, block]
    distances in memory.

    Args:
        query_embeddings: [Q, D] float, unit length.
        candidate_embeddings: [P, D] float, unit length.
        query_groups: [Q] strings or numbers; a candidate of the same group is right.
        candidate_groups: [P] likewise.
        ks: the k of every recall@k.
        query_ids: [Q]; a candidate with the query's own id is no answer to it. Without
            ids every candidate is one.
        candidate_ids: [P], given if and only if `query_ids` is.
        block: queries, and candidates, compared at once.
    """
    _check_counts(ks, block=block)
    groups = _numbered(query_groups, candidate_groups, name="groups")
    if query_ids is None and candidate_ids is None:
        # Numbers that meet nobody: no candidate is left out.
        ids = np.full_like(groups[0], -1), np.zeros_like(groups[1])
    elif query_ids is not None and candidate_ids is not None:
        ids = _numbered(query_ids, candidate_ids, name="ids")
    else:
        raise ValueError("query_ids and candidate_ids must be given both, or neither.")
    queries = _side(query_embeddings, groups[0], ids[0], name="query")
    candidates = _side(candidate_embeddings, groups[1], ids[1], name="candidate")
    if queries.embeddings.shape[1] != candidates.embeddings.shape[1]:
        raise ValueError(
            "queries and candidates must have one width, got "
            f"{queries.embeddings.shape[1]} and {candidates.embeddings.shape[1]}."
        )
    right_counts = _right_counts(queries, candidates)
    kept = right_counts > 0
    measured, counts = queries.take(kept), right_counts[kept]
    recall_at = {k: np.zeros(len(measured)) for k in ks}
    map_at_r = np.zeros(len(measured))
    for part in _slices(len(measured), block):
        depth = min(max(*ks, int(counts[part].max())), len(candidates))
        right = _ranked_right(measured.take(part), candidates, depth=depth, block=block)
        for k in ks:
            recall_at[k][part] = right[:, :k].any(axis=1)
        map_at_r[part] = _average_precision_at_r(right, counts[part])
    return Retrieval(
        kept=kept,
        query_groups=np.asarray(query_groups)[kept],
        recall_at=recall_at,
        map_at_r=map_at_r,
    )


def _ranked_right(
    queries: _Side, candidates: _Side, *, depth: int, block: int
) -> np.ndarray:
    """[B, depth] bool: whether the candidate at each rank is of the query's group."""
    best = np.full((len(queries), depth), _NOBODY)
    for part in _slices(len(candidates), block):
        tile = _rank_keys(queries, candidates.take(part), first_row=part.start)
        both = np.concatenate([best, tile], axis=1)
        best = np.partition(both, depth - 1, axis=1)[:, :depth]
    best.sort(axis=1)
    somebody = best != _NOBODY
    rows = np.where(somebody, best & _ROW_MASK, np.uint64(0)).astype(np.int64)
    return somebody & (candidates.groups[rows] == queries.groups[:, None])


def _rank_keys(queries: _Side, candidates: _Side, *, first_row: int) -> np.ndarray:
    """[B, T] uint64 that sort by distance, then row; the query itself comes last."""
    squared = (
        np.square(queries.embeddings).sum(axis=1)[:, None]
        + np.square(candidates.embeddings).sum(axis=1)
        - 2.0 * (queries.embeddings @ candidates.embeddings.T)
    )
    steps = np.rint(np.clip(squared, 0.0, 4.0) * _STEPS).astype(np.uint64)
    rows = np.arange(first_row, first_row + len(candidates), dtype=np.uint64)
    own = queries.ids[:, None] == candidates.ids
    return np.where(own, _NOBODY, (steps << _ROW_BITS) | rows)


def _average_precision_at_r(right: np.ndarray, right_counts: np.ndarray) -> np.ndarray:
    ranks = np.arange(1, right.shape[1] + 1)
    hits = right & (ranks <= right_counts[:, None])
    precision = np.cumsum(hits, axis=1) / ranks
    return (hits * precision).sum(axis=1) / right_counts


def _right_counts(queries: _Side, candidates: _Side) -> np.ndarray:
    """[Q] int64: candidates of each query's group, the query itself left out."""
    same_group = _occurrences(queries.groups, candidates.groups)
    width = 1 + max(queries.groups.max(initial=0), candidates.groups.max(initial=0))
    itself = _occurrences(
        queries.ids * width + queries.groups, candidates.ids * width + candidates.groups
    )
    return same_group - itself


def _occurrences(wanted: np.ndarray, among: np.ndarray) -> np.ndarray:
    ordered = np.sort(among)
    return ordered.searchsorted(wanted, "right") - ordered.searchsorted(wanted, "left")


def _numbered(
    first: npt.ArrayLike, second: npt.ArrayLike, *, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Both as int64 numbers from 0 up, equal where the values are."""
    first_array, second_array = np.asarray(first), np.asarray(second)
    if first_array.ndim != 1 or second_array.ndim != 1:
        raise ValueError(
            f"{name} must be one-dimensional, got shapes {first_array.shape} and "
            f"{second_array.shape}."
        )
    both = np.concatenate([first_array, second_array])
    numbers = np.unique(both, return_inverse=True)[1].astype(np.int64)
    return numbers[: len(first_array)], numbers[len(first_array) :]


def _side(
    embeddings: np.ndarray, groups: np.ndarray, ids: np.ndarray, *, name: str
) -> _Side:
    # float64: in float32, near-duplicates' ranks would be rounding noise.
    vectors = np.asarray(embeddings, dtype=np.float64)
    if vectors.ndim != 2 or not len(vectors) == len(groups) == len(ids):
        raise ValueError(
            f"{name}_embeddings must be [rows, D] with one group and id a row, got "
            f"shape {vectors.shape}, {len(groups)} groups and {len(ids)} ids."
        )
    if len(vectors) > int(_ROW_MASK):
        raise ValueError(
            f"{name}_embeddings must have at most {int(_ROW_MASK)} rows, got "
            f"{len(vectors)}; take a sample."
        )
    longest = float(np.sqrt(np.square(vectors).sum(axis=1)).max(initial=0.0))
    # A zero vector is allowed: an untrained encoder's answer to an empty product.
    if not longest < 1.001:
        raise ValueError(
            f"{name}_embeddings must be of unit length, got a length of {longest:.4g}."
        )
    return _Side(vectors, groups, ids)


def _check_counts(ks: Sequence[int], *, block: int) -> None:
    if not ks or min(ks) < 1:
        raise ValueError(f"ks must be one or more numbers from 1 up, got {tuple(ks)}.")
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}.")


def _slices(length: int, block: int) -> Iterator[slice]:
    for start in range(0, length, block):
        yield slice(start, min(start + block, length))
