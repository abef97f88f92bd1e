"""The threshold for a stated precision: by hand, by simulation, and its refusals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from simprod_tf.errors import ModelError, ThresholdError
from simprod_tf.matching import (
    Decision,
    choose_threshold,
    fit_calibration,
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


def test_the_largest_distance_that_passes_is_taken() -> None:
    # 20 similar pairs at .1 ... .2, another kind of pair at .3, similar at .4, then
    # others. Bounds: 20/20 -> .8809, 20/21 -> .8122, 21/22 -> .8197, 21/23 -> .7683.
    # 21/22: (.954545 + .061490 - 1.644854 * sqrt(.001972 + .001397)) / 1.122979.
    distances = np.concatenate([np.linspace(0.1, 0.2, 20), [0.3, 0.4, 0.5, 0.6]])
    labels = np.array([1] * 20 + [0, 1, 0, 0])
    decision = choose_threshold(distances, labels, precision=0.8)
    assert decision.max_distance == 0.4
    assert decision.precision == 21 / 22
    assert decision.precision_lower_bound == pytest.approx(0.8197, abs=1e-4)
    assert decision.recall == 1.0
    assert (decision.num_pairs, decision.num_positives) == (24, 21)
    assert decision.prior == 21 / 24
    assert (decision.target_precision, decision.confidence) == (0.8, 0.95)
    assert decision.calibration == fit_calibration(distances, labels)
    assert choose_threshold(distances, labels, precision=0.85).max_distance == 0.2


def test_pairs_of_one_distance_are_accepted_together() -> None:
    # Only by cutting between equal distances would 30 of 30 be reached.
    distances = np.array([0.1] * 30 + [0.5] * 40)
    labels = np.array([1] * 30 + [1] * 20 + [0] * 20)
    for order in (slice(None), slice(None, None, -1)):
        decision = choose_threshold(distances[order], labels[order], precision=0.9)
        assert decision.max_distance == 0.1
        assert decision.recall == 30 / 50


def simulated(
    num_pairs: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    labels = random.random(num_pairs) < 0.2
    distances = np.where(labels, 0.5, 1.1) + 0.2 * random.normal(size=num_pairs)
    return np.clip(distances, 0, 2), labels


def test_the_stated_precision_holds_on_new_pairs() -> None:
    random = np.random.default_rng(0)
    distances, labels = simulated(300_000, random)
    order = np.argsort(distances)
    distances = distances[order]
    shares = np.cumsum(labels[order]) / np.arange(1, len(order) + 1)
    failures = 0
    for _ in range(300):
        decision = choose_threshold(*simulated(2_000, random), precision=0.9)
        accepted = np.searchsorted(distances, decision.max_distance)
        failures += bool(shares[accepted - 1] < 0.9)
    # 5 % is what the bound says of one distance; the best of many fails more often.
    assert failures / 300 < 0.09


def test_too_few_pairs_are_refused_with_the_best_bound() -> None:
    distances, labels = np.array([0.1, 0.2, 0.3, 0.9]), np.array([1, 1, 1, 0])
    # 3 of 3: 3 / (3 + 2.705543) = .526.
    message = (
        r"precision of 0\.9: the best lower bound is 0\.526 \(confidence 0\.95\), at "
        r"distance 0\.3 with 3 of 4 pairs accepted, 3 pairs being similar\. Label more"
    )
    with pytest.raises(ThresholdError, match=message):
        choose_threshold(distances, labels)
    # The curve can be had all the same.
    assert fit_calibration(distances, labels).slope < 0


def test_pairs_of_one_kind_are_refused() -> None:
    with pytest.raises(ThresholdError, match="got 0 similar of 2"):
        choose_threshold(np.array([0.1, 0.2]), np.array([0, 0]))


@pytest.mark.parametrize(("precision", "confidence"), [(0, 0.9), (1, 0.9), (0.9, 1)])
def test_impossible_targets_are_refused(precision: float, confidence: float) -> None:
    with pytest.raises(ValueError, match=f"got {precision} and {confidence}"):
        choose_threshold(
            np.array([0.1, 0.2]),
            np.array([1, 0]),
            precision=precision,
            confidence=confidence,
        )


@pytest.fixture
def decision() -> Decision:
    return choose_threshold(*simulated(2_000, np.random.default_rng(0)))


def test_a_decision_survives_json(decision: Decision) -> None:
    again = Decision.from_json(json.loads(json.dumps(decision.to_json())))
    assert again == decision
    distances = np.linspace(0, 2, 5)
    np.testing.assert_array_equal(
        again.probability(distances), decision.probability(distances)
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_distance": -1}, "damaged: max_distance must be >= 0, got -1"),
        ({"max_distance": "x"}, "damaged: "),
        ({"recall": 1.5}, "Shares lie between 0 and 1"),
        ({"num_positives": 0}, "num_positives must be between 1 and num_pairs"),
        ({"slope": 1.0}, "finite slope <= 0"),
        ({"margin": 1.0}, "has the fields"),
    ],
)
def test_a_damaged_decision_is_refused(
    decision: Decision, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        Decision.from_json({**decision.to_json(), **changes})


def test_what_is_no_decision_is_refused() -> None:
    with pytest.raises(ModelError, match="has the fields .*, got None"):
        Decision.from_json(None)  # type: ignore[arg-type]
