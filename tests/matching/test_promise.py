"""The promise, kept on data of which the truth is known: 400 draws each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm

from simprod_tf.matching.category_threshold import SHRINKAGE, walk_by_category
from simprod_tf.matching.threshold import Promise

DRAWS = 400
TARGET = 0.95
# Ten categories by the mean distance of their other pairs; a half of all pairs is of
# the first.
OTHERS = np.array([1.05, *np.linspace(0.8, 1.25, 9)])
WEIGHTS = np.array([0.5, *np.arange(9, 0, -1) / 90])
ALIKE = np.full(10, 1.1)


def drawn(
    n: int, prior: float, seed: int, *, others: np.ndarray = ALIKE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.random(n) < prior
    codes = random.choice(len(WEIGHTS), n, p=WEIGHTS)
    means = np.where(labels, 0.5, others[codes])
    return np.clip(means + 0.2 * random.normal(size=n), 0, 2), labels, codes


def true_precision(
    limits: np.ndarray, prior: float, *, others: np.ndarray = ALIKE
) -> float:
    hits = prior * (WEIGHTS @ norm.cdf((limits - 0.5) / 0.2))
    wrong = (1 - prior) * (WEIGHTS @ norm.cdf((limits - others) / 0.2))
    return float(hits / (hits + wrong))


def by_walk(promise: Promise, _: np.ndarray) -> np.ndarray | None:
    found = promise.walk(promise.distances)
    return None if found is None else np.full(len(WEIGHTS), found.max_distance)


def by_category(promise: Promise, codes: np.ndarray) -> np.ndarray | None:
    found = walk_by_category(promise, codes, shrinkage=SHRINKAGE, seed=0)
    if found is None or found.limits is None:
        return by_walk(promise, codes)
    return found.limits


def by_measured_precision(promise: Promise, _: np.ndarray) -> np.ndarray | None:
    order = np.argsort(promise.distances)
    shares = np.cumsum(promise.positive[order]) / np.arange(1, len(order) + 1)
    passing = np.flatnonzero(shares >= promise.wanted)
    if not len(passing):
        return None
    return np.full(len(WEIGHTS), promise.distances[order][passing[-1]])


def missed(
    rule: Callable[[Promise, np.ndarray], np.ndarray | None],
    *,
    n: int,
    prior: float,
    deployed: float | None = None,
    others: np.ndarray = ALIKE,
) -> tuple[float, float]:
    """Returns the share of draws that miss the promise, and of those refused."""
    misses, refused = 0, 0
    for seed in range(DRAWS):
        distances, labels, codes = drawn(n, prior, seed, others=others)
        promise = Promise.of(
            distances, labels, precision=TARGET, confidence=0.95, prior=deployed
        )
        limits = rule(promise, codes)
        if limits is None:
            refused += 1
        else:
            found = true_precision(limits, deployed or prior, others=others)
            misses += found < TARGET
    return misses / DRAWS, refused / DRAWS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "prior"), [(1_000, 0.05), (5_000, 0.05), (20_000, 0.05), (5_000, 0.3)]
)
def test_the_promise_is_kept_where_the_measured_precision_misses_it(
    n: int, prior: float
) -> None:
    assert missed(by_measured_precision, n=n, prior=prior)[0] >= 0.35
    assert missed(by_walk, n=n, prior=prior)[0] <= 0.1


@pytest.mark.slow
def test_enough_pairs_are_not_refused() -> None:
    assert missed(by_walk, n=20_000, prior=0.05)[1] <= 0.1


@pytest.mark.slow
def test_the_promise_is_kept_by_category() -> None:
    assert missed(by_category, n=5_000, prior=0.3, others=OTHERS)[0] <= 0.1
    assert missed(by_category, n=20_000, prior=0.3, others=OTHERS)[0] <= 0.1


@pytest.mark.slow
def test_the_promise_is_kept_at_a_rarer_prior() -> None:
    assert missed(by_walk, n=20_000, prior=0.3, deployed=0.05)[0] <= 0.1
    assert missed(by_measured_precision, n=20_000, prior=0.3, deployed=0.05)[0] >= 0.35


@pytest.mark.slow
def test_the_promise_is_kept_where_many_thresholds_are_as_close() -> None:
    # Up to distance .6 of 2 the share .949 is similar, 0.1 % too few; beyond, few are.
    # Here choosing the farthest whose own bound passes would miss in a third.
    misses = 0
    for seed in range(DRAWS):
        random = np.random.default_rng(seed)
        distances = 2 * random.random(20_000)
        labels = random.random(20_000) < np.where(distances < 0.6, 0.949, 0.02)
        promise = Promise.of(
            distances, labels, precision=TARGET, confidence=0.95, prior=None
        )
        misses += promise.walk(distances) is not None
    assert misses / DRAWS <= 0.1


def test_the_promise_is_kept_in_a_few_draws() -> None:
    limits = []
    for seed in range(60):
        distances, labels, codes = drawn(2_000, 0.5, seed)
        promise = Promise.of(
            distances, labels, precision=TARGET, confidence=0.95, prior=None
        )
        limits.append(by_walk(promise, codes))
    wrong = [one is None or true_precision(one, 0.5) < TARGET for one in limits]
    # At most one in twenty is expected: 9 or more of 60 have a chance of 0.3 %.
    assert sum(wrong) < 9
