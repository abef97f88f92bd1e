"""Linkage on sparse graphs, against SciPy on whole matrices and a slow oracle."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from simprod_tf.matching.linkage import Clusters, LinkageRule, link_units

METHODS = ["average", "complete", "single"]


class Graph(NamedTuple):
    """Edges of n products; no two distances are equal."""

    starts: np.ndarray
    ends: np.ndarray
    distances: np.ndarray
    n: int

    def matrix(self, missing: float) -> np.ndarray:
        """[n, n] distances, 0 on the diagonal."""
        full = np.full((self.n, self.n), missing)
        full[self.starts, self.ends] = full[self.ends, self.starts] = self.distances
        np.fill_diagonal(full, 0.0)
        return full


def drawn_graph(seed: int, *, n: int = 40, share: float = 0.4) -> Graph:
    """Points in a plane that know a share of the distances, the short ones first."""
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(n, 2)) * 0.4
    starts, ends = np.triu_indices(n, 1)
    distances = np.linalg.norm(points[starts] - points[ends], axis=1)
    known = distances < np.quantile(distances, share)
    # One in ten is lost all the same.
    known &= generator.random(len(known)) < 0.9
    return Graph(starts[known], ends[known], distances[known], n)


def linked(
    graph: Graph,
    rule: LinkageRule,
    *,
    units: np.ndarray | None = None,
    fixed: np.ndarray | None = None,
) -> Clusters:
    units = np.arange(graph.n) if units is None else units
    sizes = np.bincount(units)
    return link_units(
        units[graph.starts],
        units[graph.ends],
        distances=graph.distances,
        sizes=sizes,
        fixed=np.zeros(len(sizes), bool) if fixed is None else fixed,
        rule=rule,
    )


def partition(labels: np.ndarray) -> set[frozenset[int]]:
    return {
        frozenset(np.flatnonzero(labels == label).tolist())
        for label in np.unique(labels)
    }


def scipy_partition(graph: Graph, rule: LinkageRule) -> set[frozenset[int]]:
    """The largest branches within the cut and the cap, by SciPy on all distances."""
    condensed = squareform(graph.matrix(rule.missing_distance))
    tree = hierarchy.linkage(condensed, method=rule.linkage)
    too_much = (tree[:, 2] > rule.max_distance) | (tree[:, 3] > rule.max_size)
    labels = hierarchy.fcluster(tree, 0.5, "monocrit", monocrit=too_much.astype(float))
    return partition(labels)


def slow_partition(
    graph: Graph, rule: LinkageRule, units: np.ndarray, fixed: np.ndarray
) -> set[frozenset[int]]:
    """The same rule for units, each distance anew from those of the products."""
    matrix = graph.matrix(rule.missing_distance)
    of_two = {"average": np.mean, "complete": np.max, "single": np.min}[rule.linkage]
    clusters = [np.flatnonzero(units == unit).tolist() for unit in range(len(fixed))]
    held = fixed.tolist()
    parts = {frozenset(cluster) for cluster in clusters}
    while True:
        best = (np.inf, 0, 0)
        for one, two in itertools.combinations(range(len(clusters)), 2):
            if not (held[one] and held[two]):
                between = matrix[np.ix_(clusters[one], clusters[two])]
                best = min(best, (float(of_two(between)), one, two))
        height, one, two = best
        if height > rule.max_distance:
            return parts
        merged = clusters[one] + clusters[two]
        if len(merged) <= rule.max_size:
            parts -= {frozenset(clusters[one]), frozenset(clusters[two])}
            parts.add(frozenset(merged))
        clusters[one], held[one] = merged, held[one] or held[two]
        del clusters[two], held[two]


@pytest.mark.parametrize("linkage", METHODS)
@pytest.mark.parametrize("max_size", [4, 1000])
def test_clusters_equal_scipys_on_the_whole_matrix(linkage: str, max_size: int) -> None:
    sizes = []
    for seed in range(8):
        graph = drawn_graph(seed)
        for max_distance in (0.15, 0.3, 0.6):
            rule = LinkageRule(linkage, max_distance, 2.0, max_size)
            found = partition(linked(graph, rule).labels)
            assert found == scipy_partition(graph, rule)
            sizes += [len(each) for each in found]
    # The data do put the rule to the test.
    assert max(sizes) == max_size if max_size == 4 else max(sizes) > 4


@pytest.mark.parametrize("linkage", METHODS)
@pytest.mark.parametrize("seed", range(6))
def test_units_equal_the_slow_oracle(linkage: str, seed: int) -> None:
    graph = drawn_graph(seed, n=24, share=0.6)
    # Six groups of two to six that must stay apart, and nine products.
    generator = np.random.default_rng(seed + 100)
    units = np.concatenate([np.repeat(np.arange(6), [2, 3, 4, 2, 2, 2]), range(6, 15)])
    units = generator.permutation(units)
    fixed = np.arange(15) < 6
    for max_distance, max_size in itertools.product((0.2, 0.5), (4, 50)):
        rule = LinkageRule(linkage, max_distance, 1.5, max_size)
        found = linked(graph, rule, units=units, fixed=fixed).labels
        expected = slow_partition(graph, rule, units, fixed)
        assert partition(found[units]) == expected
        assert len(set(found[:6].tolist())) == 6


def test_unknown_distances_keep_a_chain_apart_unless_linkage_is_single() -> None:
    # 0 -.1- 1 -.2- 2; from 2 to {0, 1} it is .2 and 2.0: 1.1 in the mean.
    chain = Graph(np.array([0, 1]), np.array([1, 2]), np.array([0.1, 0.2]), 3)
    apart, whole = {frozenset({0, 1}), frozenset({2})}, {frozenset({0, 1, 2})}
    for linkage, max_distance, expected in [
        ("average", 1.09, apart),
        ("average", 1.1, whole),
        ("complete", 1.99, apart),
        ("single", 0.19, apart),
        ("single", 0.2, whole),
    ]:
        rule = LinkageRule(linkage, max_distance, 2.0, 50)
        assert partition(linked(chain, rule).labels) == expected, rule


def test_the_mean_of_equal_distances_is_within_them() -> None:
    # 0.1 + 0.1 + 0.1 is more than 3 * 0.1, in floats.
    starts, ends = np.triu_indices(7, 1)
    graph = Graph(starts, ends, np.full(len(starts), 0.1), 7)
    rule = LinkageRule("average", 0.1, 2.0, 50)
    assert len(partition(linked(graph, rule).labels)) == 1


def test_distances_of_0_are_edges() -> None:
    graph = Graph(np.array([0, 1]), np.array([1, 2]), np.array([0.0, 0.0]), 3)
    for linkage in METHODS:
        found = linked(graph, LinkageRule(linkage, 0.0, 2.0, 50))
        assert frozenset({2}) in partition(found.labels) or linkage == "single"
        assert len(partition(found.labels)) == (1 if linkage == "single" else 2)


def test_clusters_above_the_cap_are_counted_as_one_each() -> None:
    # 0 to 4 in a row, 5 to 7 in a row: the first is too large for 3, the other not.
    starts = np.array([0, 1, 2, 3, 5, 6])
    distances = np.array([0.1, 0.4, 0.2, 0.3, 0.1, 0.2])
    graph = Graph(starts, starts + 1, distances, 8)
    found = linked(graph, LinkageRule("single", 0.5, 2.0, 3))
    assert partition(found.labels) == {
        frozenset({0, 1}),
        frozenset({2, 3, 4}),
        frozenset({5, 6, 7}),
    }
    assert found.num_split == 1


def test_progress_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simprod_tf.matching.linkage._REPORT_EVERY", 2)
    starts = np.arange(5)
    told: list[tuple[int, int]] = []
    link_units(
        starts,
        starts + 1,
        distances=np.full(5, 0.1),
        sizes=np.ones(6, np.int64),
        fixed=np.zeros(6, bool),
        rule=LinkageRule("single", 0.5, 2.0, 50),
        progress=lambda done, total: told.append((done, total)),
    )
    assert [done for done, _ in told] == list(range(2, 2 * len(told) + 1, 2))
    assert told and all(done <= total for done, total in told)


@pytest.mark.parametrize("linkage", METHODS)
def test_no_units_and_no_edges_are_no_clusters(linkage: str) -> None:
    none = np.empty(0, np.int64)
    rule = LinkageRule(linkage, 0.5, 2.0, 3)
    assert len(linked(Graph(none, none, np.empty(0), 0), rule).labels) == 0
    assert linked(Graph(none, none, np.empty(0), 2), rule).labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("ward", 0.5, 2.0, 50), "average, complete, single, got 'ward'"),
        (("average", 0.5, 2.0, 0), "max_size must be at least 1, got 0"),
        (("average", 2.0, 2.0, 5), "below missing_distance, got 2.0 and 2.0; lower"),
        (("average", -0.1, 2.0, 5), "max_distance must be at least 0"),
        (("average", float("nan"), 2.0, 5), "max_distance must be at least 0"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(values: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinkageRule(*values)
