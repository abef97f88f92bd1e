import numpy as np

from simprod_tf.decider.graph import PairGraph
from simprod_tf.decider.implied import implied_pairs


def every_pair(number):
    return PairGraph.of(number, [np.stack(np.triu_indices(number, 1), axis=1)])


def implied(number, rows, labels, **options):
    graph = every_pair(number)
    pairs, found = implied_pairs(graph, np.array(rows), np.array(labels), **options)
    return {tuple(ends): label for ends, label in zip(graph.ends[pairs], found)}


def test_what_is_the_same_as_the_same_thing_is_the_same():
    assert implied(4, [[0, 1], [1, 2]], [1, 1]) == {(0, 2): 1}


def test_a_dissimilar_pair_parts_all_of_the_two_things():
    found = implied(5, [[0, 1], [2, 3], [1, 2]], [1, 1, 0])
    assert found == {(0, 2): 0, (0, 3): 0, (1, 3): 0}


def test_nothing_follows_from_labels_that_contradict_each_other():
    found = implied(4, [[0, 1], [1, 2], [0, 2]], [1, 1, 0])
    assert found == {}


def test_pairs_that_are_held_out_are_not_learned_from():
    held_out = np.array([[2, 0]])
    assert implied(4, [[0, 1], [1, 2]], [1, 1], held_out=held_out) == {}


def test_only_candidates_are_implied():
    graph = PairGraph.of(3, [np.array([[0, 1], [1, 2]])])
    pairs, labels = implied_pairs(graph, np.array([[0, 1], [1, 2]]), np.array([1, 1]))
    assert len(pairs) == len(labels) == 0
