"""Walking outwards from few thresholds: by hand, and where the walks begin."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from simprod_tf.matching.fixed_sequence import (
    Accepted,
    Start,
    fewest_pairs,
    walk_outwards,
    walk_starts,
    wilson_lower_bound,
)


def test_wilson_bound_by_hand() -> None:
    # z = 1.644854, z^2 = 2.705543. 8 of 10: share .8, middle .8 + .1352772 = .9352772,
    # spread 1.644854 * sqrt(.016 + .0067639) = .2481707; .6871065 / 1.2705543.
    # 10 of 10: n / (n + z^2) = 10 / 12.705543. 0 of 10: 0.
    found = wilson_lower_bound(
        np.array([8, 10, 0]), np.array([10, 10, 10]), confidence=0.95
    )
    np.testing.assert_allclose(found, [0.540793, 0.787058, 0.0], atol=1e-6)


def test_wilson_bound_is_that_of_scipy() -> None:
    for hits, count, confidence in [(3, 7, 0.9), (190, 200, 0.95), (1, 1, 0.99)]:
        test = binomtest(hits, count, alternative="greater")
        expected = test.proportion_ci(confidence, method="wilson").low
        found = wilson_lower_bound(
            np.array([hits]), np.array([count]), confidence=confidence
        )
        assert found[0] == pytest.approx(expected, abs=1e-12)


def test_few_similar_pairs_give_one_walk_the_whole_error() -> None:
    # z^2 = 2.705543, times 4: 10.82 pairs at least, 18.4 with room; a third of 21 is 7,
    # the middle of 10.82 and 21 is 15.9.
    assert fewest_pairs(0.8, error=0.05) == pytest.approx(10.822, abs=1e-3)
    assert walk_starts(21, precision=0.8, error=0.05) == [Start(16, 1.0)]
    # A third of 60 is beyond the room.
    assert walk_starts(60, precision=0.8, error=0.05) == [Start(20, 1.0)]
    assert walk_starts(10, precision=0.8, error=0.05) == []


def test_many_similar_pairs_give_two_walks_half_the_error_each() -> None:
    # z(.025)^2 = 3.8415, times 4, with room: 26.1 pairs; 105 / 4 is more, 104 / 4 not.
    halves = [Start(27, 0.5), Start(53, 0.5)]
    assert walk_starts(105, precision=0.8, error=0.05) == halves
    assert walk_starts(104, precision=0.8, error=0.05) == [Start(35, 1.0)]


def test_a_walk_goes_on_while_the_bound_passes() -> None:
    # 20 similar pairs at .1 ... .2, another at .3, a similar one at .4, then others.
    # Bounds: 20/20 -> .8809, 20/21 -> .8122, 21/22 -> .8197, 21/23 -> .7683.
    # 21/22: (.954545 + .061490 - 1.644854 * sqrt(.001972 + .001397)) / 1.122979.
    distances = np.concatenate([np.linspace(0.1, 0.2, 20), [0.3, 0.4, 0.5, 0.6]])
    positive = np.array([1] * 20 + [0, 1, 0, 0], bool)
    found = walk_outwards(distances, positive, precision=0.8, confidence=0.95)
    assert found == Accepted(0.4, 22, 21, pytest.approx(0.8197, abs=1e-4))
    # .8122 stops it, although .8197 would pass again.
    found = walk_outwards(distances, positive, precision=0.815, confidence=0.95)
    assert found is not None and found.max_distance == 0.2


def test_a_walk_carries_its_error_to_the_next_start() -> None:
    # 120 similar pairs of 120, then others: starts at 30 and 60 pairs, and beyond 60
    # the error is whole, so z = 1.644854. 120 of 139: Wilson's bound is .8079.
    distances = np.arange(300.0) / 200
    positive = np.arange(300) < 120
    found = walk_outwards(distances, positive, precision=0.8, confidence=0.95)
    assert found is not None
    whole = wilson_lower_bound(
        np.array([found.hits]), np.array([found.count]), confidence=0.95
    )
    assert found.bound == whole[0] >= 0.8
    assert found.hits == 120
    # One step of the walk is 2.5 % of the pairs.
    farther = wilson_lower_bound(
        np.array([120]), np.array([round(found.count * 1.03)]), confidence=0.95
    )
    assert farther[0] < 0.8


def test_a_later_start_is_tried_when_the_first_fails() -> None:
    # The nearest 30 pairs hold 10 others; the 400 after them none.
    positive = np.ones(600, bool)
    positive[20:30] = False
    positive[430:] = False
    distances = np.arange(600.0) / 400
    found = walk_outwards(distances, positive, precision=0.9, confidence=0.95)
    # At the first start, 105 pairs, 95 of them similar: no bound of .9.
    assert found is not None and found.hits > 400
    # It has half of the error, having failed to bring the other half along.
    alone = wilson_lower_bound(
        np.array([found.hits]), np.array([found.count]), confidence=0.975
    )
    assert found.bound == pytest.approx(alone[0])


def test_pairs_of_one_distance_are_accepted_together() -> None:
    # Only by cutting between equal distances would more than 45 pairs pass.
    distances = np.array([0.1] * 45 + [0.5] * 40)
    positive = np.array([1] * 45 + [1] * 20 + [0] * 20, bool)
    for order in (slice(None), slice(None, None, -1)):
        found = walk_outwards(
            distances[order], positive[order], precision=0.9, confidence=0.95
        )
        assert found is not None
        assert (found.max_distance, found.count) == (0.1, 45)


def test_the_farthest_pair_may_be_accepted() -> None:
    distances = np.linspace(0, 1, 50)
    found = walk_outwards(distances, np.ones(50, bool), precision=0.8, confidence=0.95)
    assert found is not None and found.count == 50
