"""Context of a pair: how it stands among the other candidates of its two products.

Alone, "CS3 Design Standard" and "CS3 Design Premium" look the same. That a better
partner is at hand for either of them tells otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from simprod_tf.decider.graph import PairGraph

_OF_AN_END = ("rank", "lead", "rival", "density")
_MOST = 10
# Pairs whose common neighbours are looked up at once.
_BLOCK = 1 << 16
# The neighbours of a product through which others are reached.
_VIA = 8


def context_names(similarities: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the names of the columns of `pair_context`, in their order."""
    names = []
    for name in similarities:
        for what in _OF_AN_END:
            names += [f"{name}_{what}_least", f"{name}_{what}_most"]
    return tuple(names)


def pair_context(
    graph: PairGraph, similarities: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Returns [E, F] float32, for each pair how it stands among its products' pairs.

    Of both products and for each similarity: the `rank` of the pair (the log of 1 +
    the number of pairs that are more alike), its `lead` over the best other pair, the
    similarity of that one (`rival`), and the mean of the product's most similar ones
    (`density`). The two values of the ends stand as the smaller and the larger one, so
    that the order of the two does not count; NaN where there is no other pair.

    Args:
        graph: The candidate pairs.
        similarities: by name [E] float, higher being more alike.
    """
    columns: list[np.ndarray] = []
    for values in similarities.values():
        for of_ends in _of_ends(graph, np.asarray(values, np.float32)):
            # A rival of one end alone is worth more than none.
            columns += [np.fmin(*of_ends.T), np.fmax(*of_ends.T)]
    return np.stack(columns, axis=1).astype(np.float32)


def support(graph: PairGraph, probability: np.ndarray) -> np.ndarray:
    """Returns [E, 2] float32: what third products say of a pair, by probabilities.

    First, the best third product that both are like: the largest, over products that
    are candidates of both, of the smaller of its two probabilities; 0 where there is
    none. Second, the strongest contradiction: the largest difference of the two.

    Args:
        graph: The candidate pairs.
        probability: [E] float, of being similar.
    """
    best = _best_neighbours(graph, probability)
    found = np.zeros((len(graph), 2), np.float32)
    for first in range(0, len(graph), _BLOCK):
        rows = np.arange(first, min(first + _BLOCK, len(graph)))
        for end in (0, 1):
            here, there = graph.ends[rows, end], graph.ends[rows, 1 - end]
            for through in best[here].T:
                _add_support(graph, probability, found, (rows, there, through))
    return found


def _add_support(
    graph: PairGraph,
    probability: np.ndarray,
    found: np.ndarray,
    step: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Counts, for each of the rows, one pair of its first end."""
    rows, there, through = step
    known = (through >= 0) & (through != rows)
    rows, there, through = rows[known], there[known], through[known]
    ends, from_row = graph.ends[through], graph.ends[rows].sum(axis=1) - there
    third = ends.sum(axis=1) - from_row
    second = graph.find(third, there)
    there_too = second >= 0
    rows, one = rows[there_too], probability[through[there_too]]
    two = probability[second[there_too]]
    found[rows, 0] = np.maximum(found[rows, 0], np.minimum(one, two))
    found[rows, 1] = np.maximum(found[rows, 1], np.abs(one - two))


def _best_neighbours(graph: PairGraph, values: np.ndarray) -> np.ndarray:
    """Returns [N, _VIA] int64: each product's most similar pairs, -1 for none."""
    ranked = _Ranked.of(graph, values)
    best = np.full((graph.num_products, _VIA), -1)
    kept = ranked.places < _VIA
    best[ranked.owners[kept], ranked.places[kept]] = ranked.pairs[kept]
    return best


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Every product's pairs, the most similar first.

    Attributes:
        owners: [2 E], the product of each place.
        pairs: [2 E], rows of the graph's pairs.
        starts: [2 E], the place of the product's first pair.
        sizes: [2 E], how many pairs the product has.
        values: [2 E], the pairs' similarities.
    """

    owners: np.ndarray
    pairs: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, graph: PairGraph, values: np.ndarray) -> _Ranked:
        owners = graph.owners
        order = np.lexsort((-values[graph.pairs], owners))
        pairs = graph.pairs[order]
        starts, sizes = graph.offsets[owners], np.diff(graph.offsets)[owners]
        return cls(owners, pairs, starts, sizes, values[pairs])

    @property
    def places(self) -> np.ndarray:
        """[2 E], from 0, of each pair among its product's."""
        return np.arange(len(self.pairs)) - self.starts

    def ranks(self) -> np.ndarray:
        """Returns how many of the product's pairs are more similar than each."""
        # Pairs that are equally alike share the rank of the first of them.
        changes = np.diff(self.values, prepend=np.nan) != 0
        firsts = np.where(changes | (self.places == 0), np.arange(len(self.pairs)), 0)
        return np.maximum.accumulate(firsts) - self.starts

    def rivals(self) -> np.ndarray:
        """Returns the best value among the product's other pairs, NaN for none."""
        seconds = np.minimum(self.starts + 1, max(len(self.values) - 1, 0))
        best = np.where(self.places == 0, seconds, self.starts)
        return np.where(self.sizes > 1, self.values[best], np.nan)

    def densities(self) -> np.ndarray:
        """Returns the mean of the product's first known values, NaN for none."""
        known = (self.places < _MOST) & ~np.isnan(self.values)
        totals = np.bincount(self.owners, np.where(known, self.values, 0))
        counts = np.bincount(self.owners, known)
        means = np.full(len(totals), np.nan)
        np.divide(totals, counts, out=means, where=counts > 0)
        return means[self.owners]


def _of_ends(graph: PairGraph, values: np.ndarray) -> Iterator[np.ndarray]:
    """Yields for each of `_OF_AN_END` [E, 2]: by the first product and the second."""
    ranked = _Ranked.of(graph, values)
    rivals = ranked.rivals()
    sides = (graph.ends[ranked.pairs, 0] != ranked.owners).astype(np.int64)
    for column in (
        np.log1p(ranked.ranks()),
        ranked.values - rivals,
        rivals,
        ranked.densities(),
    ):
        placed = np.empty((len(graph), 2), np.float32)
        placed[ranked.pairs, sides] = column
        yield placed
