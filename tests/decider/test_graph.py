import numpy as np
import pytest

from simprod_tf.decider.graph import PairGraph


def test_each_pair_is_there_once_without_its_direction_and_no_product_with_itself():
    graph = PairGraph.of(4, [np.array([[2, 0], [0, 2], [1, 1]]), np.array([[3, 2]])])
    assert graph.ends.tolist() == [[0, 2], [2, 3]]


def test_the_pairs_of_each_product_stand_together():
    graph = PairGraph.of(4, [np.array([[0, 2], [2, 3], [0, 3]])])
    found = {
        product: {
            tuple(graph.ends[graph.pairs[place]])
            for place in range(*graph.offsets[product : product + 2])
        }
        for product in range(4)
    }
    assert found == {
        0: {(0, 2), (0, 3)},
        1: set(),
        2: {(0, 2), (2, 3)},
        3: {(2, 3), (0, 3)},
    }
    assert graph.owners.tolist() == [0, 0, 2, 2, 3, 3]
    both = graph.ends[graph.pairs].sum(axis=1)
    assert (graph.others == both - graph.owners).all()


def test_pairs_within_a_table_are_left_out():
    tables = np.array(["left", "left", "right"])
    graph = PairGraph.of(3, [np.array([[0, 1], [1, 2]])], tables)
    assert graph.ends.tolist() == [[1, 2]]


def test_a_pair_is_found_in_either_direction():
    graph = PairGraph.of(5, [np.array([[0, 4], [1, 3]])])
    found = graph.find(np.array([4, 0, 3, 1, 2]), np.array([0, 4, 1, 2, 4]))
    assert found.tolist() == [0, 0, 1, -1, -1]


def test_a_graph_of_no_pairs_finds_none():
    graph = PairGraph.of(3, [])
    assert len(graph) == 0
    assert graph.find(np.array([0]), np.array([1])).tolist() == [-1]


def test_rows_that_there_are_not_are_refused():
    with pytest.raises(ValueError, match="rows from 0 to 2"):
        PairGraph.of(3, [np.array([[0, 3]])])
