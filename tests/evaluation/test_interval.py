from __future__ import annotations

import math
import time

import numpy as np
import pytest

from simprod_tf.evaluation.interval import (
    Interval,
    bootstrap_draws,
    bootstrap_interval,
    cluster_numbers,
    mean_of,
    means_of,
    paired_difference,
    percentile_intervals,
)
from simprod_tf.evaluation.metrics import pr_auc


def width(interval: Interval) -> float:
    return interval.high - interval.low


def test_interval_reads_as_value_and_bounds() -> None:
    assert str(Interval(0.8124, 0.78, 0.8409)) == "0.812 [0.780, 0.841]"
    assert str(Interval(0.5, math.nan, math.nan)) == "0.500"
    assert str(Interval(math.nan, math.nan, math.nan)) == "n/a"


def test_interval_refuses_bounds_in_the_wrong_order() -> None:
    with pytest.raises(ValueError, match="low must be at most high, got 0.9, 0.1"):
        Interval(0.5, 0.9, 0.1)


def test_interval_equals_a_slow_bootstrap_of_the_same_resamples() -> None:
    groups = ["b", "a", "c", "a", "b", "b"]
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    # Rows of a, b, c: groups are numbered in sorted order.
    members = [[1, 3], [0, 4, 5], [2]]
    generator = np.random.default_rng(7)
    means = []
    for _ in range(200):
        rows = [
            row for group in generator.integers(3, size=3) for row in members[group]
        ]
        means.append(sum(values[row] for row in rows) / len(rows))
    interval = bootstrap_interval(mean_of(values), groups, seed=7, repeats=200)
    assert interval.value == pytest.approx(63 / 6)
    assert interval.low == pytest.approx(np.quantile(means, 0.025))
    assert interval.high == pytest.approx(np.quantile(means, 0.975))


def test_coverage_of_a_normal_mean_is_about_the_level() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        values = generator.normal(3.0, 1.0, size=60)
        interval = bootstrap_interval(
            mean_of(values), np.arange(60), seed=seed, repeats=200, level=0.9
        )
        covered += interval.low <= 3.0 <= interval.high
    # 90% expected; five binomial standard deviations are 11%.
    assert 0.79 <= covered / 200 <= 0.99


def test_cluster_bootstrap_is_wider_when_a_group_moves_as_one() -> None:
    per_group = np.random.default_rng(1).normal(size=40)
    values, groups = np.repeat(per_group, 9), np.repeat(np.arange(40), 9)
    clustered = bootstrap_interval(mean_of(values), groups, seed=2)
    naive = bootstrap_interval(mean_of(values), np.arange(360), seed=2)
    # Nine copies hold no more than one: the naive width is sqrt(9) times too small.
    assert width(clustered) / width(naive) == pytest.approx(3.0, rel=0.15)


def test_equal_seeds_give_equal_intervals() -> None:
    values, groups = np.arange(20.0), np.arange(20) // 2
    first = bootstrap_interval(mean_of(values), groups, seed=5, repeats=50)
    assert first == bootstrap_interval(mean_of(values), groups, seed=5, repeats=50)
    assert first != bootstrap_interval(mean_of(values), groups, seed=6, repeats=50)


def test_resamples_without_an_answer_are_left_out() -> None:
    labels, distances = np.array([1, 0, 0]), np.array([0.1, 0.2, 0.3])
    interval = bootstrap_interval(
        lambda rows: pr_auc(labels[rows], distances[rows]),
        [0, 1, 2],
        seed=0,
        repeats=50,
    )
    assert interval == Interval(1.0, 1.0, 1.0)


def test_one_group_gives_a_value_without_bounds() -> None:
    interval = bootstrap_interval(mean_of([1.0, 3.0]), ["a", "a"], seed=0)
    assert interval.value == 2.0
    assert math.isnan(interval.low)


def test_no_rows_give_no_value() -> None:
    assert math.isnan(bootstrap_interval(mean_of([]), [], seed=0).value)


def test_no_resample_with_an_answer_gives_no_bounds() -> None:
    # Only the rows in their own order have a value here, and no resample is that.
    interval = bootstrap_interval(
        lambda rows: 1.0 if list(rows) == list(range(50)) else math.nan,
        np.arange(50),
        seed=0,
        repeats=20,
    )
    assert interval.value == 1.0
    assert math.isnan(interval.high)


def test_paired_difference_of_a_constant_gain_is_certain() -> None:
    values = np.random.default_rng(3).normal(size=30)
    difference = paired_difference(
        mean_of(values + 0.25), mean_of(values), groups=np.arange(30), seed=0
    )
    assert difference.value == pytest.approx(0.25)
    assert width(difference) == pytest.approx(0.0, abs=1e-12)
    assert width(bootstrap_interval(mean_of(values), np.arange(30), seed=0)) > 0.3


def test_thousand_repeats_of_pr_auc_are_quick() -> None:
    generator = np.random.default_rng(0)
    labels, distances = generator.integers(2, size=500), generator.random(500)
    start = time.perf_counter()
    bootstrap_interval(
        lambda rows: pr_auc(labels[rows], distances[rows]), np.arange(500), seed=0
    )
    # Takes about 0.1 s; the bound leaves room for a busy machine.
    assert time.perf_counter() - start < 5.0


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="repeats must be at least 1, got 0"):
        bootstrap_interval(mean_of([1.0]), ["a"], seed=0, repeats=0)
    with pytest.raises(ValueError, match="level must be between 0 and 1, got 95"):
        bootstrap_interval(mean_of([1.0]), ["a"], seed=0, level=95)
    with pytest.raises(ValueError, match=r"groups must be \[N\], got shape \(1, 1\)"):
        bootstrap_interval(mean_of([1.0]), [["a"]], seed=0)


def test_draws_by_cluster_are_those_by_row() -> None:
    generator = np.random.default_rng(0)
    groups = generator.integers(12, size=50).astype(str)
    values = generator.random((50, 2))
    numbers = cluster_numbers(groups)
    statistic = means_of(values, numbers)
    # A thousand a time, and one a time.
    draws = bootstrap_draws(statistic, 12, num_rows=50, seed=3, repeats=200)
    few = bootstrap_draws(statistic, 12, num_rows=1 << 20, seed=3, repeats=200)
    np.testing.assert_allclose(draws, few, rtol=1e-12)
    found = percentile_intervals(statistic(np.ones((1, 12)))[0], draws)
    for column, interval in zip(values.T, found):
        slow = bootstrap_interval(mean_of(column), groups, seed=3, repeats=200)
        assert interval.value == pytest.approx(slow.value)
        assert interval.low == pytest.approx(slow.low)
        assert interval.high == pytest.approx(slow.high)


def test_one_cluster_draws_nothing_and_leaves_the_bounds_open() -> None:
    statistic = means_of(np.array([[1.0], [3.0]]), np.array([0, 0]))
    draws = bootstrap_draws(statistic, 1, num_rows=2, seed=0)
    assert draws.shape == (0, 1)
    [interval] = percentile_intervals(statistic(np.ones((1, 1)))[0], draws)
    assert interval.value == 2
    assert math.isnan(interval.low)
