"""Neighbourhood blending: embeddings drawn towards those of their neighbours."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simprod_tf.index.base import Index
from simprod_tf.manifest import fingerprint

_BLOCK = 8192


@dataclass(frozen=True)
class Blending:
    """How embeddings are blended with those of their neighbours.

    Attributes:
        k: how many neighbours take part, at most; the product itself always does.
        alpha: a neighbour weighs its cosine to the power of this: 0 weighs all alike,
            larger ones let the near neighbours count for more.
        max_distance: how far a neighbour may lie; None for any. One that is turned away
            by 90 degrees (distance 1.414) or more weighs nothing.
        iterations: how often this is done, each time with the blended neighbours.
    """

    k: int = 5
    alpha: float = 3.0
    max_distance: float | None = None
    iterations: int = 1

    def __post_init__(self) -> None:
        """Refuses settings that mean nothing."""
        if self.k < 1 or self.iterations < 1:
            raise ValueError(
                "k and iterations must be at least 1, "
                f"got {self.k} and {self.iterations}."
            )
        if not 0 <= self.alpha < math.inf:
            raise ValueError(f"alpha must be finite and >= 0, got {self.alpha}.")
        if self.max_distance is not None and not self.max_distance >= 0:
            raise ValueError(f"max_distance must be >= 0, got {self.max_distance}.")

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as a dict, for a JSON file."""
        return dataclasses.asdict(self)


def blended(index: Index, blending: Blending) -> np.ndarray:
    """Returns [N, D] float32 embeddings, unit length: each with its neighbours'.

    Each is the normalised sum of itself and of its nearest neighbours, weighted by
    cosine ** alpha: database-side augmentation (Arandjelović and Zisserman 2012,
    https://doi.org/10.1109/CVPR.2012.6248018) with the weights of alpha query expansion
    (Radenović, Tolias and Chum 2018, https://arxiv.org/abs/1711.02512). Several rounds
    of it are the iterative neighbourhood blending of the winners of Kaggle's Shopee
    price match (2021,
    https://www.kaggle.com/competitions/shopee-product-matching/discussion/238136).

    Args:
        index: the products; for a further round one of its type is built.
        blending: how.
    """
    for _ in range(blending.iterations - 1):
        index = _rebuilt(index, _blended_once(index, blending), blending)
    return _blended_once(index, blending)


def blended_index(index: Index, blending: Blending) -> Index:
    """Returns an index of the same type over the blended embeddings.

    It has a fingerprint of its own: distances in it are smaller, and a threshold that
    was chosen without blending does not hold. For that reason `extra` is not taken
    over; it holds the settings under "blending" and what they were applied to under
    "blended_from".
    """
    return _rebuilt(index, blended(index, blending), blending)


def blended_fingerprint(fingerprint_before: str, blending: Blending) -> str:
    """Returns the fingerprint of embeddings that were blended with these settings."""
    settings = json.dumps(blending.to_json(), sort_keys=True)
    return fingerprint(
        [("encoder", fingerprint_before.encode()), ("blending", settings.encode())]
    )


def expanded_queries(
    index: Index,
    queries: np.ndarray,
    blending: Blending,
    *,
    query_ids: Sequence[str] | None = None,
) -> np.ndarray:
    """Returns [Q, D] float32 queries, unit length, each with its neighbours' blended.

    Alpha query expansion, see `blended`. To search an index that was blended once,
    expand the queries over the index that it was blended from.

    Args:
        index: the products, with embeddings of the queries' own encoder.
        queries: [Q, D] float32, unit length.
        blending: how; with one iteration.
        query_ids: the queries' products, so that one which the index holds is not its
            own neighbour.
    """
    if blending.iterations != 1:
        raise ValueError(
            f"Queries are expanded once, got {blending.iterations} iterations; expand "
            "them over the index of each round in turn."
        )
    own = np.full(len(queries), -1, np.int64)
    if query_ids is not None:
        if len(query_ids) != len(queries):
            raise ValueError(
                f"Got {len(query_ids)} query_ids for {len(queries)} queries."
            )
        held = [line for line, id in enumerate(query_ids) if id in index]
        own[held] = index.rows_of([query_ids[line] for line in held])
    return _expanded(index, queries, blending, own=own)


def _blended_once(index: Index, blending: Blending) -> np.ndarray:
    own = np.arange(len(index))
    return _expanded(index, index.embeddings, blending, own=own)


def _rebuilt(index: Index, vectors: np.ndarray, blending: Blending) -> Index:
    before = index.encoder_fingerprint
    return type(index).build(
        index.ids,
        vectors,
        encoder_fingerprint=blended_fingerprint(before, blending),
        extra={"blending": blending.to_json(), "blended_from": before},
        attributes=index.attributes,
    )


def _expanded(
    index: Index, queries: np.ndarray, blending: Blending, *, own: np.ndarray
) -> np.ndarray:
    """Returns the expanded queries; `own` are their [Q] rows in the index, or -1."""
    expanded = np.empty(queries.shape, np.float32)
    for part in _parts(len(queries)):
        expanded[part] = _expanded_block(index, queries[part], blending, own[part])
    return expanded


def _parts(size: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, size, _BLOCK))


def _expanded_block(
    index: Index, queries: np.ndarray, blending: Blending, own: np.ndarray
) -> np.ndarray:
    # One more than k, since the product itself may be among them.
    found = index.search_rows(queries, k=min(blending.k + 1, max(1, len(index))))
    other = (found.rows >= 0) & (found.rows != own[:, None])
    other &= np.cumsum(other, axis=1) <= blending.k
    if blending.max_distance is not None:
        other &= found.distances.astype(np.float64) <= blending.max_distance
    # Of unit vectors: the cosine is 1 - distance ** 2 / 2.
    cosines = np.where(other, 1 - found.distances.astype(np.float64) ** 2 / 2, 0)
    weights = np.where(cosines > 0, np.maximum(cosines, 0) ** blending.alpha, 0)
    sums = queries.astype(np.float64)
    for place in range(weights.shape[1]):
        # One place at a time: all neighbours at once are k times the block.
        lines = np.flatnonzero(weights[:, place])
        neighbours = index.embeddings[found.rows[lines, place]]
        sums[lines] += weights[lines, place, None] * neighbours
    # Never 0: no neighbour with a weight points away from the query.
    units = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(units, np.float32)
