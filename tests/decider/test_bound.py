import numpy as np
import pytest

from simprod_tf.decider.bound import Contribution


def test_a_pair_has_one_probability_in_both_directions(bound, pairs):
    starts, ends = pairs[0].T
    found = bound.probability(starts, ends)
    assert (found == bound.probability(ends, starts)).all()
    assert ((found > 0) & (found < 1)).all()
    np.testing.assert_allclose(bound.distances(starts, ends), 1 - found, atol=1e-7)


def test_which_pairs_are_asked_for_together_does_not_matter(bound, pairs):
    starts, ends = pairs[0].T
    whole = bound.probability(starts, ends)
    assert (bound.probability(starts[5:9], ends[5:9]) == whole[5:9]).all()
    assert bound.probability(starts[:0], ends[:0]).shape == (0,)


def test_lexical_neighbours_can_be_scored_without_being_given(decider, products):
    bound = decider.bind(products)
    starts = np.flatnonzero(bound.lexical[:, 0] >= 0)
    found = bound.probability(starts, bound.lexical[starts, 0])
    assert len(found) == len(starts) > 100


def test_a_pair_that_is_no_candidate_is_refused(bound):
    with pytest.raises(ValueError, match="rows 0 and 2 is no candidate"):
        bound.probability(np.array([0]), np.array([2]))


def test_contributions_sum_to_the_log_odds_the_strongest_first(bound, pairs, decider):
    starts, ends = pairs[0][:4].T
    found = bound.explain(starts, ends)
    probability = bound.probability(starts, ends)
    for one, expected in zip(found, probability):
        total = sum(part.log_odds for part in one)
        assert total == pytest.approx(np.log(expected / (1 - expected)), abs=1e-6)
        sizes = [abs(part.log_odds) for part in one]
        assert sizes == sorted(sizes, reverse=True)
        names = {part.feature for part in one}
        assert names == {*decider.feature_names, "all pairs"}


def test_a_contribution_states_its_value():
    values = [("price", 0.123456), ("price", np.nan), ("all pairs", np.nan)]
    stated = [Contribution(name, value, 1.0).stated for name, value in values]
    assert stated == ["0.1235", "not known", ""]


def test_embeddings_that_are_not_known_are_no_features(bound, pairs):
    # The last product has no embedding.
    of_last = pairs[0][(pairs[0] == 119).any(axis=1)][:1]
    (found,) = bound.explain(*of_last.T)
    values = {part.feature: part.value for part in found}
    assert np.isnan(values["both_embedding_cosine"])
    assert not np.isnan(values["words"])
