"""Hierarchical clustering of products that know only some of each other's distances.

A matrix of all distances is out of reach for a shop, and most of it would be "far":
the matches are a sparse graph. Here the clusters grow on that graph itself, nearest
two first, as agglomerative clustering does on a matrix (Lance and Williams, "A general
theory of classificatory sorting strategies", 1967,
https://doi.org/10.1093/comjnl/9.4.373), with every unknown distance standing at one
value. The answer is that of `scipy.cluster.hierarchy.linkage` on the whole matrix, cut
at `max_distance`; time and memory go with the number of known distances.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import minimum_spanning_tree

from simprod_tf.matching.pair_code import pair_codes

# How many of the heap's entries are taken between two reports: some 0.1 s.
_REPORT_EVERY = 1 << 15
# Told how far the work is: (done, in all).
Progress = Callable[[int, int], None]
# The mean of equal distances can come out a hair above them; float32 distances, which
# the cut must tell apart, stand 3e-8 from each other.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class LinkageRule:
    """When two clusters become one.

    Args:
        linkage: "average": the mean distance between the products of the two counts;
            "complete": the largest one; "single": the smallest one, which chains.
        max_distance: up to which distance, of that kind, clusters are joined.
        missing_distance: what a pair of products that is no known edge counts as.
        max_size: how many products a cluster may hold, at most.
    """

    linkage: str
    max_distance: float
    missing_distance: float
    max_size: int

    def __post_init__(self) -> None:
        """Refuses what cannot be meant."""
        if self.linkage not in _METHODS:
            raise ValueError(
                f"linkage must be one of {', '.join(_METHODS)}, got {self.linkage!r}."
            )
        if self.max_size < 1:
            raise ValueError(f"max_size must be at least 1, got {self.max_size}.")
        # At the distance of the unknown pairs, everything would be one cluster.
        if not 0 <= self.max_distance < self.missing_distance:
            raise ValueError(
                "max_distance must be at least 0 and below missing_distance, got "
                f"{self.max_distance} and {self.missing_distance}; lower the former."
            )


@dataclass(frozen=True, eq=False)
class Clusters:
    """Which unit stands in which cluster.

    Attributes:
        labels: [n] int64, the same number for units of one cluster, in [0, n).
        num_split: how many clusters within `max_distance` were above `max_size`, and
            so are given as the branches of their tree that are not.
    """

    labels: np.ndarray
    num_split: int


@dataclass(frozen=True)
class _Method:
    """How the distance to a merged cluster follows from those to its two halves.

    The distance from cluster to cluster is kept as one number, the link: for "average"
    the sum over known edges of (distance - missing_distance), which an unknown one
    leaves as it is; for the others the distance.
    """

    combine: Callable[[float, float], float]
    gather: np.ufunc
    is_mean: bool = False
    needs_both: bool = False
    needs_tree_only: bool = False


_METHODS = {
    "average": _Method(operator.add, np.add, is_mean=True),
    "complete": _Method(max, np.maximum, needs_both=True),
    # Gower and Ross, "Minimum spanning trees and single linkage cluster analysis",
    # 1969, https://doi.org/10.2307/2346439. Fixed units change nothing: an edge that
    # closes a ring lies within a cluster, or between two that must stay apart.
    "single": _Method(min, np.minimum, needs_tree_only=True),
}


def link_units(
    starts: np.ndarray,
    ends: np.ndarray,
    *,
    distances: np.ndarray,
    sizes: np.ndarray,
    fixed: np.ndarray,
    rule: LinkageRule,
    progress: Progress | None = None,
) -> Clusters:
    """Returns the clusters of n units, each a product or a group to keep together.

    Equal distances are taken in the order of the units, so the answer depends on the
    edges' order no more than a sum of floats does: sort them to have it repeat.

    Args:
        starts: [E] int64 unit of an edge's one product; each pair of products once.
        ends: [E] int64 unit of its other product. Edges inside a unit say nothing.
        distances: [E] float64.
        sizes: [n] int64 number of products in each unit.
        fixed: [n] bool; clusters that both hold a fixed unit stay apart.
        rule: when two clusters become one.
        progress: called with (pairs of clusters looked at, those and the pairs left).
    """
    forest = _Forest(sizes, fixed, rule)
    forest.add_edges(starts, ends, distances)
    forest.merge_all(progress)
    return Clusters(forest.labels(), len(forest.split))


class _Forest:
    """The clusters as they grow, each known by the number of one of its units.

    `parts` stops growing where a cluster exceeds the cap, which leaves the largest
    branches of each tree that are within it.
    """

    def __init__(self, sizes: np.ndarray, fixed: np.ndarray, rule: LinkageRule) -> None:
        self.rule, self.method = rule, _METHODS[rule.linkage]
        self.cut = rule.max_distance + _ROUNDING
        self.sizes, self.fixed = sizes.tolist(), fixed.tolist()
        self.links: list[dict[int, float]] = [{} for _ in self.sizes]
        self.parts = list(range(len(self.sizes)))
        self.split: set[int] = set()
        # Distance and two clusters; the distance may since have grown, never shrunk.
        self.heap: list[tuple[float, int, int]] = []

    def add_edges(
        self, starts: np.ndarray, ends: np.ndarray, distances: np.ndarray
    ) -> None:
        """Takes the links from unit to unit, and those within the cut to the heap."""
        pairs = _linked_pairs(starts, ends, n=len(self.parts))
        values, counts = self._gathered(pairs, distances)
        sizes = np.array(self.sizes, np.int64)
        whole = sizes[pairs.first] * sizes[pairs.second]
        used = np.arange(len(values))
        if self.method.needs_both:
            used = np.flatnonzero(counts == whole)
        if self.method.needs_tree_only:
            used = _tree_edges(pairs.first, pairs.second, values, n=len(sizes))
        values, first, second = values[used], pairs.first[used], pairs.second[used]
        heights = values
        if self.method.is_mean:
            heights = self.rule.missing_distance + values / whole[used]
        edges = (first.tolist(), second.tolist(), values.tolist(), heights.tolist())
        for one, other, value, height in zip(*edges):
            self.links[one][other] = self.links[other][one] = value
            if height <= self.cut and not self._barred(one, other):
                self.heap.append((height, one, other))
        # A sorted list is a heap.
        self.heap.sort()

    def merge_all(self, progress: Progress | None = None) -> None:
        """Joins the two nearest clusters until none are near enough."""
        taken = 0
        while self.heap:
            height, first, second = heappop(self.heap)
            taken += 1
            if progress is not None and taken % _REPORT_EVERY == 0:
                progress(taken, taken + len(self.heap))
            if second not in self.links[first]:
                continue
            if self._barred(first, second):
                continue
            if self._height(first, second) > height:
                self._offer(first, second)
            elif self.sizes[first] >= self.sizes[second]:
                self._merge(first, second)
            else:
                self._merge(second, first)

    def labels(self) -> np.ndarray:
        """Returns [n] int64 the unit by which each unit's part is known."""
        roots = np.array(self.parts, np.int64)
        while not np.array_equal(roots, roots[roots]):
            roots = roots[roots]
        return roots

    def _gathered(
        self, pairs: _Pairs, distances: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns link and number of edges of each pair of units."""
        if not len(pairs.first):
            return np.empty(0), np.empty(0, np.int64)
        values = distances[pairs.order]
        if self.method.is_mean:
            values = values - self.rule.missing_distance
        counts = np.diff(pairs.runs, append=len(values))
        return self.method.gather.reduceat(values, pairs.runs), counts

    def _barred(self, first: int, second: int) -> bool:
        return self.fixed[first] and self.fixed[second]

    def _height(self, first: int, second: int) -> float:
        link = self.links[first][second]
        if not self.method.is_mean:
            return link
        pairs = self.sizes[first] * self.sizes[second]
        return self.rule.missing_distance + link / pairs

    def _offer(self, first: int, second: int) -> None:
        height = self._height(first, second)
        if height <= self.cut and not self._barred(first, second):
            heappush(self.heap, (height, min(first, second), max(first, second)))

    def _merge(self, kept: int, gone: int) -> None:
        self.sizes[kept] += self.sizes[gone]
        self.fixed[kept] = self.fixed[kept] or self.fixed[gone]
        if self.sizes[kept] <= self.rule.max_size:
            # Up to the cap, clusters and parts are known by the same units.
            self.parts[gone] = kept
        else:
            self.split.discard(gone)
            self.split.add(kept)
        self._relink(kept, gone)

    def _relink(self, kept: int, gone: int) -> None:
        # `kept` is the larger cluster, so that no link moves more than log(n) times;
        # what its own links gain in distance shows when they leave the heap. The longer
        # list of links would do as well, but links beyond the cut would count in it: as
        # it is, products that no edge within the cut connects have no say in ties.
        mine, theirs = self.links[kept], self.links[gone]
        self.links[gone] = {}
        del mine[gone], theirs[kept]
        if self.method.needs_both:
            for other in [unit for unit in mine if unit not in theirs]:
                del mine[other], self.links[other][kept]
        for other, link in theirs.items():
            back = self.links[other]
            del back[gone]
            if other in mine:
                link = self.method.combine(mine[other], link)
            elif self.method.needs_both:
                continue
            mine[other] = back[kept] = link
            self._offer(kept, other)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Edges brought together by the two units they join.

    Attributes:
        first: [P] int64 the smaller unit of each pair.
        second: [P] int64 the larger one.
        order: [E'] int64 the edges between units, pair after pair.
        runs: [P] int64 where in `order` each pair begins.
    """

    first: np.ndarray
    second: np.ndarray
    order: np.ndarray
    runs: np.ndarray


def _linked_pairs(starts: np.ndarray, ends: np.ndarray, *, n: int) -> _Pairs:
    keys = pair_codes(starts, ends, n=n)
    order = np.argsort(keys, kind="stable")
    order = order[(starts != ends)[order]]
    unique, runs = np.unique(keys[order], return_index=True)
    return _Pairs(unique // max(n, 1), unique % max(n, 1), order, runs)


def _tree_edges(
    starts: np.ndarray, ends: np.ndarray, distances: np.ndarray, *, n: int
) -> np.ndarray:
    """Returns [T] int64 the edges of a minimum spanning tree, or forest."""
    order = np.argsort(distances, kind="stable")
    # By rank: a sparse matrix would lose distances of 0, and ties would be open.
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    graph = coo_matrix((ranks, (starts, ends)), (n, n))
    tree = minimum_spanning_tree(graph.tocsr())
    return order[np.sort(tree.data.astype(np.int64)) - 1]
