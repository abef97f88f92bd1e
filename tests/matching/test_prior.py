"""The class prior: moved by odds, and found again in drawn candidates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from simprod_tf.errors import ThresholdError
from simprod_tf.matching.calibration import fit_calibration
from simprod_tf.matching.prior import Prior, estimate_prior, share_at_prior


def drawn(
    n: int, prior: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    labels = random.random(n) < prior
    distances = np.where(labels, 0.5, 1.0) + 0.2 * random.normal(size=n)
    return np.abs(distances), labels


def test_a_share_moves_by_the_odds_of_the_priors() -> None:
    # Odds 9 times (1/19) / (3/7): 9 * 7 / 57 = 1.105263, so 21/40.
    found = share_at_prior(0.9, labelled=0.3, deployed=0.05)
    assert found == pytest.approx(21 / 40)
    back = share_at_prior(found, labelled=0.05, deployed=0.3)
    assert back == pytest.approx(0.9)
    ends = share_at_prior(np.array([0.0, 1.0]), labelled=0.3, deployed=0.05)
    np.testing.assert_array_equal(ends, [0.0, 1.0])


@pytest.mark.parametrize("prior", [0.02, 0.1, 0.6])
def test_the_prior_of_drawn_candidates_is_found(prior: float) -> None:
    random = np.random.default_rng(1)
    candidates, _ = drawn(20_000, prior, random)
    found = estimate_prior(*drawn(2_000, 0.3, random), candidates)
    assert found.share == pytest.approx(prior, rel=0.15)
    assert found.low <= prior <= found.high
    assert found.source == "estimated"


def test_the_estimate_has_the_highest_likelihood_by_scipy() -> None:
    random = np.random.default_rng(2)
    distances, labels = drawn(1_000, 0.3, random)
    candidates, _ = drawn(3_000, 0.1, random)
    probabilities = fit_calibration(distances, labels).probability(candidates)
    labelled = labels.mean()

    def loss(share: float) -> float:
        likelihood = share * probabilities / labelled
        likelihood += (1 - share) * (1 - probabilities) / (1 - labelled)
        return float(-np.log(likelihood).sum())

    oracle = minimize_scalar(loss, bounds=(1e-6, 1 - 1e-6), method="bounded").x
    found = estimate_prior(distances, labels, candidates).share
    assert found == pytest.approx(oracle, rel=1e-2)


def test_the_same_seed_gives_the_same_prior() -> None:
    random = np.random.default_rng(3)
    labelled, candidates = drawn(300, 0.3, random), drawn(500, 0.1, random)[0]
    first = estimate_prior(*labelled, candidates, seed=4)
    assert estimate_prior(*labelled, candidates, seed=4) == first


def test_no_candidates_are_refused() -> None:
    with pytest.raises(ThresholdError, match="from candidates, got none"):
        estimate_prior(np.array([0.1, 0.9]), np.array([1, 0]), np.empty(0))
    with pytest.raises(ThresholdError, match="needed, got 2 similar of 2"):
        estimate_prior(np.array([0.1, 0.9]), np.array([1, 1]), np.array([0.5]))


def test_a_prior_reads_well() -> None:
    assert str(Prior.given(0.05)) == "0.05 (given)"
    estimated = Prior(0.0312, "estimated", 0.0271, 0.036)
    assert str(estimated) == "0.0312 [0.0271, 0.036] (estimated)"


def test_what_is_no_prior_is_refused() -> None:
    for share in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="A prior lies between 0 and 1"):
            Prior.given(share)
    with pytest.raises(ValueError, match="got 'guessed'"):
        Prior(0.1, "guessed", 0.1, 0.1)


def test_candidates_unlike_any_mix_of_the_labelled_pairs_are_refused() -> None:
    random = np.random.default_rng(0)
    # As of a search: every candidate is nearer than labelled pairs drawn at random.
    labelled = np.concatenate(
        [random.normal(0.6, 0.1, 300), random.normal(1.3, 0.1, 300)]
    )
    labels = np.repeat([1, 0], 300)
    with pytest.raises(ThresholdError, match=r"do the 600 labelled pairs look like"):
        estimate_prior(labelled, labels, random.normal(0.75, 0.05, 5000))
    mixed = np.concatenate(
        [random.normal(0.6, 0.1, 1000), random.normal(1.3, 0.1, 4000)]
    )
    assert estimate_prior(labelled, labels, mixed).share == pytest.approx(0.2, abs=0.01)
