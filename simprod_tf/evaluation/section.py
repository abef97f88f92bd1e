"""Measures that rest on the same rows: their intervals, and two models' differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simprod_tf.evaluation.interval import (
    CountStatistic,
    Interval,
    bootstrap_draws,
    means_of,
    percentile_intervals,
)


@dataclass(frozen=True, eq=False)
class Section:
    """M measures of the same rows, resampled together.

    Attributes:
        names: M names of metrics, in the report's order.
        numbers: [N] int64, the cluster of each row, from 0.
        statistic: the measures of resamples of the clusters.
    """

    names: tuple[str, ...]
    numbers: np.ndarray
    statistic: CountStatistic

    @property
    def num_clusters(self) -> int:
        """How many clusters there are to draw from."""
        return int(self.numbers.max(initial=-1)) + 1

    def values(self) -> np.ndarray:
        """Returns [M] float64, the measures of all rows."""
        return self.statistic(np.ones((1, self.num_clusters)))[0]

    def draws(self, *, seed: int) -> np.ndarray:
        """Returns [repeats, M] float64, the measures of resamples."""
        return bootstrap_draws(
            self.statistic,
            self.num_clusters,
            num_rows=len(self.numbers),
            seed=seed,
        )


def mean_section(values: dict[str, np.ndarray], numbers: np.ndarray) -> Section:
    """Returns the section whose measures are means of [N] values a row."""
    table = np.array(list(values.values())).reshape(-1, len(numbers)).T
    return Section(tuple(values), numbers, means_of(table, numbers))


def section_intervals(section: Section, *, seed: int) -> dict[str, Interval]:
    """Returns each measure with its 95% cluster-bootstrap interval, by name."""
    intervals = percentile_intervals(section.values(), section.draws(seed=seed))
    return dict(zip(section.names, intervals))


def section_differences(
    first: Section, second: Section, *, seed: int
) -> dict[str, Interval]:
    """Returns the interval of first minus second, of each measure that both have.

    Both must be of the same rows in the same order: they are resampled together.
    """
    if not np.array_equal(first.numbers, second.numbers):
        raise ValueError("the two sections must be of the same rows.")
    names = [name for name in first.names if name in second.names]
    ours = [first.names.index(name) for name in names]
    theirs = [second.names.index(name) for name in names]

    def apart(counts: np.ndarray) -> np.ndarray:
        return first.statistic(counts)[:, ours] - second.statistic(counts)[:, theirs]

    both = Section(tuple(names), first.numbers, apart)
    return section_intervals(both, seed=seed)
