import numpy as np
import pytest

from simprod_tf.decider.context import context_names, pair_context, support
from simprod_tf.decider.graph import PairGraph


def random_graph(seed, products=12, pairs=30):
    generator = np.random.default_rng(seed)
    graph = PairGraph.of(products, [generator.integers(products, size=(pairs, 2))])
    # Few values, so that some are equal.
    return graph, generator.integers(5, size=len(graph)) / 4


def slow_context(graph, values):
    """The same by Python's loops, pair by pair and end by end."""
    rows = []
    for number, pair in enumerate(graph.ends):
        of_ends = []
        for end in pair:
            mine = [i for i, other in enumerate(graph.ends) if end in other]
            rivals = [values[i] for i in mine if i != number]
            rival = max(rivals, default=np.nan)
            nearest = sorted((values[i] for i in mine), reverse=True)[:10]
            of_ends.append(
                (
                    np.log1p(sum(values[i] > values[number] for i in mine)),
                    values[number] - rival,
                    rival,
                    np.mean(nearest),
                )
            )
        columns = np.array(of_ends).T
        rows.append([x for c in columns for x in (np.fmin(*c), np.fmax(*c))])
    return np.array(rows)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_context_equals_that_of_slow_loops(seed):
    graph, values = random_graph(seed)
    found = pair_context(graph, {"score": values})
    np.testing.assert_allclose(found, slow_context(graph, values), rtol=1e-6)
    assert found.shape[1] == len(context_names(("score",)))


def test_context_by_hand():
    # Product 0 has a better partner in 2 than in 1; 1 has no other.
    graph = PairGraph.of(3, [np.array([[0, 1], [0, 2]])])
    names = context_names(("alike",))
    first = dict(zip(names, pair_context(graph, {"alike": np.array([0.25, 0.75])})[0]))
    assert first["alike_rank_least"] == 0
    assert first["alike_rank_most"] == pytest.approx(np.log(2))
    assert first["alike_lead_least"] == first["alike_lead_most"] == -0.5
    assert first["alike_rival_most"] == 0.75
    assert first["alike_density_least"] == 0.25
    assert first["alike_density_most"] == 0.5


def test_what_is_not_known_of_one_pair_does_not_hide_the_others():
    graph = PairGraph.of(4, [np.array([[0, 1], [0, 2], [0, 3]])])
    values = np.array([0.25, np.nan, 0.75])
    names = context_names(("alike",))
    found = pair_context(graph, {"alike": values})
    first, unknown, best = (dict(zip(names, row)) for row in found)
    assert first["alike_density_most"] == 0.5
    assert best["alike_density_least"] == 0.5
    assert best["alike_lead_most"] == 0.5
    # Product 2 has this one pair alone, of which nothing is known.
    assert unknown["alike_density_most"] == 0.5
    assert np.isnan(unknown["alike_lead_most"])


def test_context_of_no_pairs_is_empty():
    graph = PairGraph.of(3, [])
    assert pair_context(graph, {"score": np.zeros(0)}).shape == (0, 8)
    assert support(graph, np.zeros(0)).shape == (0, 2)


def slow_support(graph, values):
    of = {frozenset(pair): value for pair, value in zip(graph.ends.tolist(), values)}
    rows = []
    for one, two in graph.ends.tolist():
        both = [
            (of[frozenset((one, third))], of[frozenset((third, two))])
            for third in range(graph.num_products)
            if third not in (one, two)
            and frozenset((one, third)) in of
            and frozenset((third, two)) in of
        ]
        rows.append(
            (
                max((min(x) for x in both), default=0),
                max((abs(x[0] - x[1]) for x in both), default=0),
            )
        )
    return np.array(rows)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_support_of_third_products_equals_that_of_slow_loops(seed):
    # At most 7 others a product: none is beyond those looked at.
    graph, values = random_graph(seed, products=8, pairs=20)
    np.testing.assert_allclose(support(graph, values), slow_support(graph, values))
