"""Hard negatives: the nearest products that are not known to be similar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs
from simprod_tf.index.base import Index
from simprod_tf.index.build import build_index
from simprod_tf.negatives.guards import (
    Guards,
    Negatives,
    allowed_rows,
    guards_of,
    negative_pairs,
    pair_numbers,
)

TOO_NEAR = "too near to be believed"
NO_EMBEDDING = "products without an embedding"
_BLOCK_QUERIES = 4096


@dataclass(frozen=True)
class HardNegativeSettings:
    """Which neighbours become negatives.

    Attributes:
        neighbours: How many of a product's nearest are looked at.
        per_product: How many a product gives, at most: the nearest that pass.
        min_rank: How many of the very nearest are passed over first.
        guard_quantile: Neighbours nearer than this quantile of the similar pairs'
            distances are left out: they are too likely to be similar. None = none are.
        weight: Of each pair.
    """

    neighbours: int = 20
    per_product: int = 4
    min_rank: int = 0
    guard_quantile: float | None = 0.5
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name, least in (("neighbours", 1), ("per_product", 1), ("min_rank", 0)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} must be at least {least}, got {getattr(self, name)}."
                )
        if self.guard_quantile is not None and not 0 <= self.guard_quantile <= 1:
            raise ValueError(
                f"guard_quantile must be in [0, 1], got {self.guard_quantile}."
            )
        if not self.weight > 0:
            raise ValueError(f"weight must be above 0, got {self.weight}.")


def hard_negatives(
    embeddings: np.ndarray,
    catalog: Catalog,
    positives: Pairs,
    *,
    near: np.ndarray | None = None,
    ids_allowed: Sequence[str] | np.ndarray | None = None,
    settings: HardNegativeSettings | None = None,
    index: str = "exact",
    progress: Callable[[int, int], None] | None = None,
) -> Negatives:
    """Returns the nearest products that are not known to be similar, as negatives.

    Deterministic. A near neighbour is often similar though nobody said so: hence the
    guards of `guards_of`, and the bound on the distance (see the settings).

    Args:
        embeddings: [P, D] float32, unit length, in the catalogue's order; a row of
            zeros is none, and its product is left out.
        catalog: The products.
        positives: The labelled pairs, with ids of the catalogue.
        near: [P] int64 component of near-duplicate pictures, -1 for none; or None.
        ids_allowed: Only among these (the training side); None for all.
        settings: See there.
        index: "exact", "scann" or "auto": see `build_index`.
        progress: Called with (products searched for, products in all).

    Raises:
        ValueError: the embeddings are not as described, or fewer than two are left.
    """
    settings = settings or HardNegativeSettings()
    if len(embeddings) != len(catalog):
        raise ValueError(
            f"got {len(embeddings)} embeddings for {len(catalog)} products."
        )
    guards = guards_of(catalog, positives, near)
    known = np.any(embeddings != 0, axis=1)
    allowed = allowed_rows(catalog, ids_allowed)
    rows = allowed[known[allowed]]
    if len(rows) < 2:
        raise ValueError("hard negatives take two products with an embedding.")
    bound = _bound(embeddings, catalog, positives, rows, settings.guard_quantile)
    searcher = build_index(
        list(catalog.ids[rows]),
        embeddings[rows],
        encoder_fingerprint="negatives",
        kind=index,
    )
    dropped: Counter[str] = Counter({NO_EMBEDDING: len(allowed) - len(rows)})
    blocks = []
    for start in range(0, len(rows), _BLOCK_QUERIES):
        end = min(start + _BLOCK_QUERIES, len(rows))
        blocks.append(
            _of_block(searcher, rows, slice(start, end), guards, bound, settings)
        )
        dropped.update(blocks[-1].dropped)
        if progress:
            progress(end, len(rows))
    found = np.concatenate([block.pairs for block in blocks])
    # Two products may each have found the other.
    numbers = pair_numbers(found[:, 0], found[:, 1], len(catalog))
    once = np.sort(np.unique(numbers, return_index=True)[1])
    anchors, others = found[once].T
    pairs = negative_pairs(catalog, anchors, others, settings.weight)
    return Negatives(pairs, {why: n for why, n in dropped.items() if n})


@dataclass(frozen=True, eq=False)
class _Block:
    """[N, 2] int64 rows of pairs, and what was left out."""

    pairs: np.ndarray
    dropped: Counter[str]


def _bound(
    embeddings: np.ndarray,
    catalog: Catalog,
    positives: Pairs,
    rows: np.ndarray,
    quantile: float | None,
) -> float:
    """Returns the distance below which no negative is believed; 0 for none."""
    similar = positives.where(positives.labels == 1).within(catalog.ids[rows])
    if quantile is None or not len(similar):
        return 0.0
    anchors = embeddings[catalog.rows_of(similar.anchor_ids)]
    others = embeddings[catalog.rows_of(similar.other_ids)]
    return float(np.quantile(np.linalg.norm(anchors - others, axis=1), quantile))


def _of_block(
    searcher: Index,
    rows: np.ndarray,
    part: slice,
    guards: Guards,
    bound: float,
    settings: HardNegativeSettings,
) -> _Block:
    """Returns the negatives of some products.

    Args:
        searcher: Over the products in `rows`.
        rows: [A] int64 rows of the catalogue.
        part: Which of them.
        guards: See there.
        bound: Distance below which none is believed.
        settings: See there.
    """
    last = settings.min_rank + settings.neighbours
    found = searcher.search_rows(searcher.embeddings[part], k=last + 1)
    own = np.arange(part.start, part.stop)[:, np.newaxis]
    usable = (found.rows >= 0) & (found.rows != own)
    rank = np.cumsum(usable, axis=1)
    usable &= (rank > settings.min_rank) & (rank <= last)
    line, place = np.nonzero(usable)
    anchors, others = rows[part][line], rows[found.rows[line, place]]
    kept = np.ones(len(line), bool)
    dropped: Counter[str] = Counter()
    reasons = guards.reasons(anchors, others)
    reasons[TOO_NEAR] = found.distances[line, place] < bound
    for reason, forbidden in reasons.items():
        dropped[reason] = int(np.count_nonzero(kept & forbidden))
        kept &= ~forbidden
    line, pairs = line[kept], np.stack([anchors[kept], others[kept]], axis=1)
    nth = np.arange(len(line)) - np.searchsorted(line, line)
    return _Block(pairs[nth < settings.per_product], dropped)
