"""Connected components in SQL, against SciPy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import coo_matrix, csgraph

from simprod_tf.engine.embedded import Embedded
from simprod_tf.matching.components import connected_components


@pytest.fixture(scope="module")
def engine() -> Iterator[Embedded]:
    with Embedded() as engine:
        yield engine


def components_of(engine: Embedded, a: object, b: object) -> tuple[dict, int]:
    """Returns each node's component, and the rounds."""
    engine.load("edges", pa.table({"a": a, "b": b}))
    rounds = connected_components(engine, "edges", name="found")
    table = engine.query("SELECT node, component FROM found")
    found = dict(zip(*table.to_pydict().values()))
    assert len(found) == len(table)
    return found, rounds


def expected(a: np.ndarray, b: np.ndarray) -> dict[int, int]:
    """Returns each node's component by its smallest node, of nodes with a neighbour."""
    n = max(a.max(), b.max()) + 1
    graph = coo_matrix((np.ones(len(a)), (a, b)), (n, n))
    labels = csgraph.connected_components(graph, directed=False)[1]
    _, first = np.unique(labels, return_index=True)
    nodes = np.unique(np.concatenate([a[a != b], b[a != b]]))
    return dict(zip(nodes.tolist(), first[labels[nodes]].tolist()))


@pytest.mark.parametrize("num_edges", [30, 60, 100, 400])
def test_components_of_random_graphs_equal_scipys(
    engine: Embedded, num_edges: int
) -> None:
    generator = np.random.default_rng(num_edges)
    # Directions as they come, repeated edges, edges from a node to itself.
    a, b = generator.integers(100, size=(2, num_edges))
    assert components_of(engine, a, b)[0] == expected(a, b)


def test_a_chain_of_1000_takes_few_rounds(engine: Embedded) -> None:
    for nodes in (np.arange(1000), np.random.default_rng(0).permutation(1000)):
        found, rounds = components_of(engine, nodes[:-1], nodes[1:])
        assert found == dict.fromkeys(range(1000), 0)
        assert rounds <= 12


def test_stars_take_one_round_and_grids_few(engine: Embedded) -> None:
    # The middle is the largest node, then the smallest one: that is the answer.
    for middle, most in ((500, 1), (0, 0)):
        others = np.setdiff1d(np.arange(501), [middle])
        found, rounds = components_of(engine, np.full(500, middle), others)
        assert (found, rounds) == (dict.fromkeys(range(501), 0), most)
    places = np.arange(400).reshape(20, 20)
    a = np.concatenate([places[1:].ravel(), places[:, 1:].ravel()])
    b = np.concatenate([places[:-1].ravel(), places[:, :-1].ravel()])
    found, rounds = components_of(engine, a, b)
    assert found == dict.fromkeys(range(400), 0)
    assert rounds <= 10


def test_nodes_can_be_texts_in_the_order_of_their_bytes(engine: Embedded) -> None:
    found, _ = components_of(engine, ["é", "z", "B"], ["z", "b", "a"])
    assert found == {"é": "b", "z": "b", "b": "b", "a": "B", "B": "B"}


def test_without_an_edge_between_two_nodes_there_is_no_component(
    engine: Embedded,
) -> None:
    for nodes in ([], [7]):
        numbers = pa.array(nodes, pa.int64())
        assert components_of(engine, numbers, numbers) == ({}, 0)
