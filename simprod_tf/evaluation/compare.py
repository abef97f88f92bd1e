"""Two runs side by side on the same rows: by how much they differ, and how surely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simprod_tf.errors import SimprodError
from simprod_tf.evaluation.evaluate import (
    LOWER_IS_BETTER,
    interval_json,
    metric_differences,
)
from simprod_tf.evaluation.interval import Interval
from simprod_tf.evaluation.stored import StoredEvaluation

BETTER, WORSE, UNCLEAR = "better", "worse", "not clearly different"


@dataclass(frozen=True)
class MetricDifference:
    """One metric of two runs.

    Attributes:
        metric: its name.
        first, second: what each run has, with its interval.
        difference: second minus first, drawn together, with its 95% interval.
        verdict: of the second run: `BETTER` or `WORSE` where the interval lies wholly
            on one side of 0, else `UNCLEAR`.
    """

    metric: str
    first: Interval
    second: Interval
    difference: Interval
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON can hold them."""
        return {
            "metric": self.metric,
            "first": interval_json(self.first),
            "second": interval_json(self.second),
            "difference": interval_json(self.difference),
            "verdict": self.verdict,
        }


def verdict(difference: Interval, *, metric: str) -> str:
    """Returns what a difference with its interval says of the one that comes first."""
    rises, falls = difference.low > 0, difference.high < 0
    if not (rises or falls):
        return UNCLEAR
    return BETTER if rises != (metric in LOWER_IS_BETTER) else WORSE


def compare_stored(
    first: StoredEvaluation, second: StoredEvaluation, *, seed: int = 0
) -> Sequence[MetricDifference]:
    """Returns the differences, second minus first, of all metrics that both have.

    Each interval stands alone: of 20 metrics of two equal runs, one is expected to look
    different.

    Raises:
        SimprodError: they were judged on other rows, or on nothing in common.
    """
    _require_same_test(first, second)
    ours, theirs = second.evaluation, first.evaluation
    differences = metric_differences(ours, theirs, seed=seed)
    return [
        MetricDifference(
            name,
            theirs.metrics[name],
            ours.metrics[name],
            change,
            verdict(change, metric=name),
        )
        for name, change in differences.items()
    ]


def _require_same_test(first: StoredEvaluation, second: StoredEvaluation) -> None:
    names = first.evaluation.name, second.evaluation.name
    shared = [kind for kind in first.test if kind in second.test]
    if not shared:
        raise SimprodError(
            f"{names[0]} was judged by {_listed(first.test)} and {names[1]} by "
            f"{_listed(second.test)}: nothing can be compared; judge both by the same "
            "with `simprod evaluate`."
        )
    for kind in shared:
        if first.test[kind] != second.test[kind]:
            raise SimprodError(
                f"{names[0]} and {names[1]} were judged on other {kind} (fingerprints "
                f"{first.test[kind]} and {second.test[kind]}); judge both with the "
                "same catalogue, --pairs, --split and --side by `simprod evaluate`."
            )


def _listed(test: Mapping[str, str]) -> str:
    return " and ".join(test) or "nothing"
