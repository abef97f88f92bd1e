"""How well the nearest candidates of a query are of the query's own group.

Rankings are those of the exact index: by float32 distance, taken from the difference of
the two vectors, equal distances by candidate row. A product of which nothing is known
(a zero vector) finds nothing, and is found by nobody, as in an index, which holds none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simprod_tf.evaluation.first_right import far_first_ranks
from simprod_tf.evaluation.ranking import (
    first_ranks,
    ranked_measures,
    reciprocal_ranks,
)
from simprod_tf.evaluation.sides import Members, Side, checked_side, numbered
from simprod_tf.index.vectors import nearest_rows

# Ranked candidates held at once: 40 MB with what is worked out from them.
_BLOCK_RANKED = 1 << 20


@dataclass(frozen=True, eq=False)
class Retrieval:
    """Per-query measures of one search; only of queries that have a right answer.

    Args:
        kept: [Q] bool, which of the queries are measured: those with at least one
            candidate of their group besides themselves. Q' of them are True.
        query_groups: [Q'] the measured queries' groups: the clusters to resample.
        measures: by metric name [Q'] float64, what `ranked_measures` says of each
            query, and `mrr`, the reciprocal rank of the first right candidate.
        first_ranks: [Q'] int64, that rank, from 1; 0 where nothing is found.
        query_ids: [Q'] the measured queries' ids, or None if they have none.
    """

    kept: np.ndarray
    query_groups: np.ndarray
    measures: Mapping[str, np.ndarray]
    first_ranks: np.ndarray
    query_ids: np.ndarray | None = None

    @property
    def left_out(self) -> int:
        """The number of queries that no candidate could have answered."""
        return int(np.count_nonzero(~self.kept))

    @property
    def map_at_r(self) -> np.ndarray:
        """[Q'] float64, average precision over the first R; their mean is MAP@R."""
        return self.measures["map_at_r"]

    @property
    def recall_at(self) -> dict[int, np.ndarray]:
        """[Q'] float64 by k: 1 if any of the first k candidates is right, else 0."""
        start = "recall_at_"
        return {
            int(name[len(start) :]): values
            for name, values in self.measures.items()
            if name.startswith(start)
        }

    def __len__(self) -> int:
        """The number of queries measured."""
        return len(self.query_groups)

    def recall_curve(self, max_k: int) -> np.ndarray:
        """Returns [max_k] float64: `recall_at_<k>` of all queries, k from 1 up."""
        inside = self.first_ranks[(self.first_ranks > 0) & (self.first_ranks <= max_k)]
        found = np.cumsum(np.bincount(inside, minlength=max_k + 1)[1:])
        return found / max(len(self), 1)

    def take(self, rows: np.ndarray) -> Retrieval:
        """Returns the measured queries in these rows [n] int64 of the Q'."""
        kept = np.zeros(len(self.kept), bool)
        kept[np.flatnonzero(self.kept)[rows]] = True
        return Retrieval(
            kept,
            self.query_groups[rows],
            {name: values[rows] for name, values in self.measures.items()},
            self.first_ranks[rows],
            None if self.query_ids is None else self.query_ids[rows],
        )


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

    Nothing of the size of queries times candidates is held: at most 2**23 distances at
    a time, and `block` queries' first max(k, R) candidates.

    Args:
        query_embeddings: [Q, D] float, unit length, or zero if nothing is known.
        candidate_embeddings: [P, D] float likewise. float32 arrays are not copied.
        query_groups: [Q] strings or numbers; a candidate of the same group is right.
        candidate_groups: [P] likewise.
        ks: the k of every measure at k.
        query_ids: [Q]; a candidate with the query's own id is no answer to it. Without
            ids every candidate is one.
        candidate_ids: [P], given if and only if `query_ids` is.
        block: queries ranked at once, at most.
    """
    _check_counts(ks, block=block)
    groups = numbered(query_groups, candidate_groups, name="groups")
    if query_ids is None and candidate_ids is None:
        # Numbers that meet nobody: no candidate is left out.
        ids = np.full_like(groups[0], -1), np.zeros_like(groups[1])
    elif query_ids is not None and candidate_ids is not None:
        ids = numbered(query_ids, candidate_ids, name="ids")
    else:
        raise ValueError("query_ids and candidate_ids must be given both, or neither.")
    queries = checked_side(query_embeddings, groups[0], ids[0], name="query")
    candidates = checked_side(candidate_embeddings, groups[1], ids[1], name="candidate")
    if queries.embeddings.shape[1] != candidates.embeddings.shape[1]:
        raise ValueError(
            "queries and candidates must have one width, got "
            f"{queries.embeddings.shape[1]} and {candidates.embeddings.shape[1]}."
        )
    num_right = _num_right(queries, candidates)
    kept = num_right > 0
    # The rows alone: a copy of the queries would be as large as they are.
    measures, ranks = _measured(
        queries, np.flatnonzero(kept), num_right[kept], candidates, ks=ks, block=block
    )
    return Retrieval(
        kept=kept,
        query_groups=np.asarray(query_groups)[kept],
        measures=measures,
        first_ranks=ranks,
        query_ids=None if query_ids is None else np.asarray(query_ids)[kept],
    )


def _measured(
    queries: Side,
    rows: np.ndarray,
    num_right: np.ndarray,
    candidates: Side,
    *,
    ks: Sequence[int],
    block: int,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Measures by name, [Q'] each, and first ranks [Q'], of the queries in `rows`."""
    none_right = np.zeros((len(rows), 0), bool)
    # Who is not asked below finds nothing: everything is 0.
    measures = ranked_measures(none_right, np.maximum(num_right, 1), ks=ks)
    ranks = np.zeros(len(rows), np.int64)
    findable = candidates.known()
    if not findable.all():
        candidates = candidates.take(findable)
    asked = np.flatnonzero(queries.known()[rows])
    if len(candidates):
        members = Members.by_group(candidates.groups)
        for part in _parts(asked, num_right, at_least=max(ks), block=block):
            some = queries.take(rows[part])
            depth = max(*ks, int(num_right[part].max()))
            right = _ranked_right(some, candidates, depth=depth)
            for name, values in ranked_measures(right, num_right[part], ks=ks).items():
                measures[name][part] = values
            ranks[part] = first = first_ranks(right)
            deeper = np.flatnonzero(first == 0)
            ranks[part[deeper]] = far_first_ranks(
                some.take(deeper), candidates, members
            )
    return {**measures, "mrr": reciprocal_ranks(ranks)}, ranks


def _parts(
    asked: np.ndarray, num_right: np.ndarray, *, at_least: int, block: int
) -> Iterator[np.ndarray]:
    """Yields rows to rank at once, those with few right candidates first.

    Each part is ranked as deep as its query with the most right ones needs: sorted, one
    large group does not deepen the ranking of all.
    """
    ordered = asked[np.argsort(num_right[asked], kind="stable")]
    start = 0
    while start < len(ordered):
        part = ordered[start : start + block]
        deep = np.maximum(num_right[part], at_least) * np.arange(1, len(part) + 1)
        part = part[: max(1, int(np.searchsorted(deep, _BLOCK_RANKED, "right")))]
        yield part
        start += len(part)


def _ranked_right(queries: Side, candidates: Side, *, depth: int) -> np.ndarray:
    """[B, depth] bool: whether the candidate at each rank is of the query's group."""
    own_rows = _occurrences(queries.ids, candidates.ids)
    found = nearest_rows(
        queries.embeddings,
        candidates.embeddings,
        k=min(depth + int(own_rows.max(initial=0)), len(candidates)),
    ).rows
    own = candidates.ids[found] == queries.ids[:, None]
    right = (candidates.groups[found] == queries.groups[:, None]) & ~own
    # The query itself comes last, and all that is behind it moves up.
    others_first = np.argsort(own, axis=1, kind="stable")
    return np.take_along_axis(right, others_first, axis=1)[:, :depth]


def _num_right(queries: Side, candidates: Side) -> np.ndarray:
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


def _check_counts(ks: Sequence[int], *, block: int) -> None:
    if not ks or min(ks) < 1:
        raise ValueError(f"ks must be one or more numbers from 1 up, got {tuple(ks)}.")
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}.")
