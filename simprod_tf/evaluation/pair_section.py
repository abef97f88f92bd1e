"""Labelled pairs with their distances, and all that is measured of them at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from simprod_tf.evaluation.cuts import (
    Cuts,
    area_under_roc,
    average_precision,
    highest_f1,
    highest_recall,
    last_of_ties,
    ratio,
)
from simprod_tf.evaluation.interval import cluster_numbers
from simprod_tf.evaluation.metrics import checked_pairs
from simprod_tf.evaluation.probability_metrics import check_probabilities
from simprod_tf.evaluation.reliability import binned
from simprod_tf.evaluation.section import Section

_OF_CUTS: dict[str, Callable[[Cuts], np.ndarray]] = {
    "pr_auc": average_precision,
    "roc_auc": area_under_roc,
    "best_f1": highest_f1,
    "recall_at_precision_95": lambda cuts: highest_recall(cuts, precision=0.95),
    "recall_at_precision_99": lambda cuts: highest_recall(cuts, precision=0.99),
}
_AT_THRESHOLD = ("precision", "recall", "f1")
_OF_PROBABILITIES = ("brier", "expected_calibration_error")


@dataclass(frozen=True, eq=False)
class PairRows:
    """Labelled pairs as one model sees them.

    Attributes:
        labels: [N] int64, 1 = similar, 0 = not.
        distances: [N] float64.
        groups: [N] strings or numbers, the cluster of each pair.
        max_distance: the model's threshold, chosen on other pairs, or None.
        probabilities: [N] float64, how probably each pair is similar, or None.
    """

    labels: np.ndarray
    distances: np.ndarray
    groups: np.ndarray
    max_distance: float | None = None
    probabilities: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Checks the columns, so that resamples need not."""
        checked_pairs(self.labels, self.distances)
        if self.groups.shape != self.distances.shape:
            raise ValueError(
                "pair_groups must give one group a pair, got shape "
                f"{self.groups.shape} for {len(self.distances)} pairs."
            )
        if self.probabilities is not None:
            check_probabilities(self.probabilities, self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> PairRows:
        """Returns the pairs in these rows."""
        said = self.probabilities
        return PairRows(
            self.labels[rows],
            self.distances[rows],
            self.groups[rows],
            self.max_distance,
            None if said is None else said[rows],
        )


def pair_section(pairs: PairRows) -> Section:
    """Returns the measures of pairs: no names where there are no pairs.

    `pr_auc`, `roc_auc`, the oracles `best_f1` and `recall_at_precision_95` and `_99`;
    `precision`, `recall` and `f1` at the threshold where there is one; `brier` and
    `expected_calibration_error` where there are probabilities. Pairs are sorted once;
    a resample costs a few sums over them.
    """
    numbers = cluster_numbers(pairs.groups)
    if not len(pairs):
        return Section((), numbers, lambda counts: np.empty((len(counts), 0)))
    by_distance = _ByDistance.of(pairs, numbers)
    names = tuple(_OF_CUTS)
    if pairs.max_distance is not None:
        names += _AT_THRESHOLD
    if pairs.probabilities is None:
        return Section(names, numbers, by_distance)
    by_probability = _ByProbability.of(pairs, numbers)
    return Section(
        names + _OF_PROBABILITIES,
        numbers,
        lambda counts: np.hstack([by_distance(counts), by_probability(counts)]),
    )


@dataclass(frozen=True, eq=False)
class _ByDistance:
    """Pairs by rising distance: clusters [N], labels [N], and where the cuts are."""

    numbers: np.ndarray
    similar: np.ndarray
    ends: np.ndarray
    num_accepted: int | None

    @classmethod
    def of(cls, pairs: PairRows, numbers: np.ndarray) -> _ByDistance:
        order = np.argsort(pairs.distances, kind="stable")
        ascending = pairs.distances[order]
        limit = pairs.max_distance
        return cls(
            numbers[order],
            pairs.labels[order].astype(np.float64),
            last_of_ties(ascending),
            None if limit is None else int(np.searchsorted(ascending, limit, "right")),
        )

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Returns [B, M] measures when clusters count as [B, G] says."""
        weights = np.take(counts, self.numbers, axis=1)
        accepted = np.cumsum(weights, axis=1)
        similar = np.cumsum(weights * self.similar, axis=1)
        cuts = Cuts(
            np.take(accepted, self.ends, axis=1), np.take(similar, self.ends, axis=1)
        )
        values = [measure(cuts) for measure in _OF_CUTS.values()]
        if self.num_accepted is not None:
            values += _at_threshold(accepted, similar, self.num_accepted)
        return np.stack(values, axis=1)


def _at_threshold(
    accepted: np.ndarray, similar: np.ndarray, end: int
) -> list[np.ndarray]:
    """Returns [B] precision, recall and F1 of accepting the first `end` pairs."""
    none = np.zeros(len(accepted))
    taken, hits = (accepted[:, end - 1], similar[:, end - 1]) if end else (none, none)
    wanted = similar[:, -1]
    f1 = ratio(2 * hits, taken + wanted)
    return [ratio(hits, taken), ratio(hits, wanted), f1]


@dataclass(frozen=True, eq=False)
class _ByProbability:
    """Pairs by rising probability, and where each distinct probability begins."""

    values: np.ndarray
    starts: np.ndarray
    numbers: np.ndarray
    similar: np.ndarray
    squared_errors: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, pairs: PairRows, numbers: np.ndarray) -> _ByProbability:
        said = np.asarray(pairs.probabilities, np.float64)
        order = np.argsort(said, kind="stable")
        said = said[order]
        similar = pairs.labels[order].astype(np.float64)
        values, starts = np.unique(said, return_index=True)
        return cls(values, starts, numbers[order], similar, np.square(said - similar))

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Returns [B, 2], the Brier score and the expected calibration error."""
        weights = np.take(counts, self.numbers, axis=1)
        mass = np.add.reduceat(weights, self.starts, axis=1)
        similar = np.add.reduceat(weights * self.similar, self.starts, axis=1)
        errors = [
            binned(self.values, mass=one, similar=hits).expected_calibration_error
            for one, hits in zip(mass, similar)
        ]
        brier = ratio(weights @ self.squared_errors, weights.sum(axis=1))
        return np.stack([brier, errors], axis=1)
