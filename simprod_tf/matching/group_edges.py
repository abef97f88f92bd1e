"""The edges that grouping joins products by, from decided candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from simprod_tf.matching.candidates import Candidates
from simprod_tf.matching.rule import Decided, MatchRule

# The limit of an accepted edge, whatever let it pass: distances are shares of limits.
LINKED = 1.0
# What a pair counts as that is no candidate; no candidate counts as farther.
FARTHEST = 2.0


class EdgeCollector:
    """Keeps of every candidate its distance as a share of the limit, 12 bytes each.

    A pair that is similar by another view, or by a key, is within the limit (1 at
    most), as linkage shall see it; one that was vetoed is left out, so that it counts
    as far; any other keeps its distance above the limit, which makes the mean distance
    of two groups a known one instead of a guess.
    """

    def __init__(self, rule: MatchRule) -> None:
        """Takes the rule by which the candidates are decided."""
        self._rule = rule
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, candidates: Candidates, decided: Decided) -> None:
        """Keeps one block."""
        view = self._rule.deciding
        limit = self._rule.limits_of(view, candidates.starts)
        shares = candidates.distances[view] / np.maximum(limit, 1e-9)
        # As float32, which the table holds: rounded later, a share just above the
        # limit would be at it.
        near = np.minimum(shares, LINKED).astype(np.float32)
        far = np.nextafter(
            np.clip(shares, LINKED, FARTHEST).astype(np.float32), np.float32(np.inf)
        )
        shares = np.where(decided.similar, near, far)
        kept = ~decided.vetoed
        self._parts.append(
            (
                candidates.starts[kept].astype(np.int32),
                candidates.ends[kept].astype(np.int32),
                shares[kept],
            )
        )

    def table(self, ids: Sequence[str]) -> pa.Table:
        """Returns `query_id`, `id`, `distance` (1 at the limit), of all blocks."""
        names = pa.array(ids, pa.string())
        if not self._parts:
            none = np.empty(0, np.int32)
            self._parts.append((none, none, none.astype(np.float32)))
        starts, ends, shares = (np.concatenate(one) for one in zip(*self._parts))
        return pa.table(
            {
                "query_id": names.take(pa.array(starts)),
                "id": names.take(pa.array(ends)),
                "distance": pa.array(shares),
            }
        )
