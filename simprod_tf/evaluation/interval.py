"""Bootstrap intervals that respect groups: rows of one group are not independent.

The percentile bootstrap (Efron and Tibshirani 1993, "An Introduction to the Bootstrap",
chapter 13, https://doi.org/10.1201/9780429246593), drawing whole groups with
replacement (the cluster bootstrap; Davison and Hinkley 1997, "Bootstrap Methods and
their Application", section 3.8, https://doi.org/10.1017/CBO9780511802843). Drawing
single rows would take ten pairs of one product for ten observations and give intervals
that are too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Statistic = Callable[[np.ndarray], float]
"""A measure of a resample: takes row numbers [n] int64, repeats among them."""

CountStatistic = Callable[[np.ndarray], np.ndarray]
"""M measures of B resamples: takes [B, G] float64, how often each cluster is drawn in
each of them, and returns [B, M]."""

# Numbers a block of resamples may hold in one array: 2 MB, which the caches hold.
_BLOCK_VALUES = 1 << 18


@dataclass(frozen=True)
class Interval:
    """A measure's value on all rows, and the bounds within which it is uncertain.

    NaN stands for a value, or bounds, that the rows cannot give. The value may lie
    outside the bounds: a percentile interval is not centred on it.
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuses bounds in the wrong order."""
        if self.low > self.high:
            raise ValueError(f"low must be at most high, got {self.low}, {self.high}.")

    def __str__(self) -> str:
        """Returns, say, `0.812 [0.780, 0.841]`."""
        if math.isnan(self.value):
            return "n/a"
        return f"{self.value:.3f} {self.bounds}".rstrip()

    @property
    def bounds(self) -> str:
        """The bounds alone, say `[0.780, 0.841]`, or nothing if there are none."""
        return "" if math.isnan(self.low) else f"[{self.low:.3f}, {self.high:.3f}]"


def mean_of(values: npt.ArrayLike) -> Statistic:
    """Returns the statistic that is the mean of `values` [N] over the drawn rows."""
    array = np.asarray(values, dtype=np.float64)
    return lambda rows: float(array[rows].mean()) if rows.size else math.nan


def bootstrap_interval(
    statistic: Statistic,
    groups: npt.ArrayLike,
    *,
    seed: int,
    repeats: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Returns the statistic of all rows, with its percentile cluster-bootstrap bounds.

    Resamples for which the statistic is NaN are left out. With fewer than two groups
    nothing can be said about the uncertainty, and the bounds are NaN.

    Args:
        statistic: gets row numbers, so that one function serves means of per-query
            values (`mean_of(recall)`) and measures of pairs
            (`lambda rows: pr_auc(labels[rows], distances[rows])`).
        groups: [N] strings or numbers, the cluster of each row.
        seed: of the resampling; equal seeds and groups draw equal resamples.
        repeats: resamples drawn.
        level: share of the resamples within the bounds.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}.")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be between 0 and 1, got {level}.")
    clusters = _Clusters.of(groups)
    value = statistic(np.arange(clusters.rows.size))
    if math.isnan(value) or len(clusters) < 2:
        return Interval(value, math.nan, math.nan)
    generator = np.random.default_rng(seed)
    drawn = np.array([statistic(clusters.draw(generator)) for _ in range(repeats)])
    return _percentile_interval(value, drawn, level)


def cluster_numbers(groups: npt.ArrayLike) -> np.ndarray:
    """Returns [N] int64: the groups as numbers from 0, by rising group."""
    return np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)


def means_of(values: np.ndarray, numbers: np.ndarray) -> CountStatistic:
    """Returns the statistic that is the mean of each column over the drawn rows.

    It sums each cluster once: a resample then costs G * M, however many rows there are.

    Args:
        values: [N, M] float.
        numbers: [N] int64, the cluster of each row, as `cluster_numbers` gives it.
    """
    sizes = np.bincount(numbers).astype(np.float64)
    columns = [np.bincount(numbers, column, len(sizes)) for column in values.T]
    sums = np.array(columns).reshape(-1, len(sizes)).T
    return lambda counts: counts @ sums / (counts @ sizes)[:, None]


def bootstrap_draws(
    statistic: CountStatistic,
    num_clusters: int,
    *,
    num_rows: int,
    seed: int,
    repeats: int = 1000,
) -> np.ndarray:
    """Returns [repeats, M] float64, the measures of resamples drawn by cluster.

    Draws the very resamples that `bootstrap_interval` draws for the same seed and
    groups. With fewer than two clusters there is nothing to draw: [0, M].

    Args:
        statistic: gets as many resamples at once as memory allows.
        num_clusters: G.
        num_rows: what the statistic holds of each resample, G at least.
        seed: of the resampling.
        repeats: resamples drawn.
    """
    if num_clusters < 2:
        return statistic(np.ones((1, num_clusters)))[:0]
    generator = np.random.default_rng(seed)
    step = max(1, _BLOCK_VALUES // max(num_rows, num_clusters))
    draws = []
    for start in range(0, repeats, step):
        counts = np.empty((min(step, repeats - start), num_clusters))
        for line in counts:
            chosen = generator.integers(num_clusters, size=num_clusters)
            line[:] = np.bincount(chosen, minlength=num_clusters)
        draws.append(statistic(counts))
    return np.concatenate(draws)


def percentile_intervals(
    values: np.ndarray, draws: np.ndarray, *, level: float = 0.95
) -> list[Interval]:
    """Returns an interval for each of M measures.

    Args:
        values: [M], of all rows.
        draws: [repeats, M], of the resamples; NaN where a resample cannot give one.
        level: share of the resamples within the bounds.
    """
    return [
        _percentile_interval(float(value), drawn, level)
        for value, drawn in zip(values, draws.T)
    ]


def _percentile_interval(value: float, drawn: np.ndarray, level: float) -> Interval:
    known = drawn[~np.isnan(drawn)]
    if math.isnan(value) or not known.size:
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(known, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(value, float(low), float(high))


def paired_difference(
    first: Statistic,
    second: Statistic,
    *,
    groups: npt.ArrayLike,
    seed: int,
    repeats: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Returns the interval of first - second, both taken on the same resamples.

    What makes a test set hard or easy moves both alike and cancels out: the interval is
    much narrower than two separate ones suggest. If it lies above 0, first is better.
    """
    return bootstrap_interval(
        lambda rows: first(rows) - second(rows),
        groups,
        seed=seed,
        repeats=repeats,
        level=level,
    )


@dataclass(frozen=True, eq=False)
class _Clusters:
    """Row numbers sorted by group, and where each group starts and how long it is."""

    rows: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, groups: npt.ArrayLike) -> _Clusters:
        array = np.asarray(groups)
        if array.ndim != 1:
            raise ValueError(f"groups must be [N], got shape {array.shape}.")
        numbers = np.unique(array, return_inverse=True)[1]
        sizes = np.bincount(numbers)
        return cls(np.argsort(numbers, kind="stable"), np.cumsum(sizes) - sizes, sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """The rows of as many groups as there are, drawn with replacement."""
        chosen = generator.integers(len(self), size=len(self))
        sizes = self.sizes[chosen]
        # Within the result, each group's rows count up from that group's start.
        shifts = np.repeat(self.starts[chosen] - (np.cumsum(sizes) - sizes), sizes)
        return self.rows[shifts + np.arange(shifts.size)]
