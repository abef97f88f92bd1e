import numpy as np
import pytest
from sklearn.metrics import f1_score

from simprod_tf.decider.learning import best_f1_cut


@pytest.mark.parametrize("seed", range(5))
def test_no_other_cut_has_a_better_f1(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(2, size=40)
    probability = np.clip(0.4 * labels + generator.random(40) * 0.6, 0, 1)
    best = max(f1_score(labels, probability >= cut) for cut in probability)
    found = best_f1_cut(labels, probability)
    assert f1_score(labels, probability >= found) == pytest.approx(best)


def test_the_cut_lies_between_two_pairs():
    assert best_f1_cut(np.array([0, 1]), np.array([0.2, 0.6])) == pytest.approx(0.4)


def test_where_all_are_similar_all_are_accepted():
    assert best_f1_cut(np.array([1, 1]), np.array([0.3, 0.7])) == pytest.approx(0.3)
