"""What a stage of `record.py` came to, and the measures that are made of it.

A stage runs in a process of its own and leaves one file: for each judged row, a line of
a pair file, a query, or a product, what was decided. All measures are made of it later,
so that two stages can be compared row by row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simprod_tf.evaluation.interval import (
    Interval,
    Statistic,
    bootstrap_interval,
    mean_of,
    paired_difference,
)
from simprod_tf.evaluation.metrics import pr_auc, precision_recall_curve

# What the interval's resamples are drawn by; stages are compared on the same ones.
BOOTSTRAP_SEED = 0
PAIRS, QUERIES, GROUPS = "pairs", "queries", "groups"
# What two stages are compared by, of each kind.
MAIN = {
    PAIRS: ("f1", "pr_auc"),
    QUERIES: ("recall_at_1", "map_at_r"),
    GROUPS: ("b_cubed_f1", "row_f1"),
}


@dataclass(frozen=True, eq=False)
class Result:
    """One stage's answers.

    Attributes:
        kind: `PAIRS`, `QUERIES` or `GROUPS`.
        clusters: [N] of each row: what is drawn together in a resample.
        columns: [N] each. Of pairs `label`, `accepted` and, where what decides has
            one, `distance`; of queries each measure; of groups `b_cubed_precision`,
            `b_cubed_recall`, `row_f1`.
        settings: In words.
        seconds: Of the work itself, by its parts; imports and reading left out.
    """

    kind: str
    clusters: np.ndarray
    columns: Mapping[str, np.ndarray]
    settings: str
    seconds: Mapping[str, float]

    def save(self, path: Path) -> None:
        """Writes it to one file."""
        facts = {
            "kind": self.kind,
            "settings": self.settings,
            "seconds": dict(self.seconds),
        }
        columns = {f"column/{name}": value for name, value in self.columns.items()}
        np.savez(
            path,
            facts=np.array(json.dumps(facts)),
            clusters=np.asarray(self.clusters),
            **columns,
        )

    @classmethod
    def load(cls, path: Path) -> Result:
        """Returns what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            columns = {
                name.split("/", 1)[1]: file[name]
                for name in file.files
                if name.startswith("column/")
            }
            return cls(
                facts["kind"],
                file["clusters"],
                columns,
                facts["settings"],
                facts["seconds"],
            )

    def statistics(self) -> dict[str, Statistic]:
        """Returns its measures, each of the rows of a resample."""
        columns = self.columns
        if self.kind == QUERIES:
            return {name: mean_of(values) for name, values in columns.items()}
        if self.kind == GROUPS:
            return _group_statistics(columns)
        return _pair_statistics(columns)

    def intervals(self) -> dict[str, Interval]:
        """Returns its measures with their bounds."""
        return {
            name: bootstrap_interval(one, self.clusters, seed=BOOTSTRAP_SEED)
            for name, one in self.statistics().items()
        }

    def gains(self, before: Result) -> dict[str, Interval]:
        """Returns by how much the main measures are above another stage's, paired.

        Nothing where the two are not of the same rows.
        """
        if not self._same_rows(before):
            return {}
        mine, others = self.statistics(), before.statistics()
        return {
            name: paired_difference(
                mine[name], others[name], groups=self.clusters, seed=BOOTSTRAP_SEED
            )
            for name in MAIN[self.kind]
            if name in mine and name in others
        }

    def _same_rows(self, other: Result) -> bool:
        return self.kind == other.kind and np.array_equal(self.clusters, other.clusters)


def best_cut(labels: np.ndarray, distances: np.ndarray) -> float:
    """Returns the max_distance of the highest F1 on these pairs: not held-out ones."""
    curve = precision_recall_curve(labels, distances)
    total = curve.precision + curve.recall
    f1 = np.divide(
        2 * curve.precision * curve.recall,
        total,
        out=np.zeros_like(total),
        where=total > 0,
    )
    best = int(np.argmax(f1))
    # Halfway to the next distance that occurs: other pairs fall between.
    following = min(best + 1, len(f1) - 1)
    return float((curve.max_distance[best] + curve.max_distance[following]) / 2)


def pair_result(
    labels: np.ndarray,
    distances: np.ndarray,
    *,
    max_distance: float,
    clusters: np.ndarray,
    settings: str,
    seconds: Mapping[str, float],
) -> Result:
    """Returns the result of deciding by `distance <= max_distance`."""
    columns: dict[str, np.ndarray] = {
        "label": np.asarray(labels, np.int8),
        "distance": np.asarray(distances, np.float64),
        "accepted": (np.asarray(distances) <= max_distance).astype(np.int8),
    }
    return Result(PAIRS, clusters, columns, settings, seconds)


def grouped_result(
    labels: np.ndarray,
    together: np.ndarray,
    *,
    clusters: np.ndarray,
    settings: str,
    seconds: Mapping[str, float],
) -> Result:
    """Returns the result of deciding by groups, which have no distance."""
    columns = {
        "label": np.asarray(labels, np.int8),
        "accepted": np.asarray(together, np.int8),
    }
    return Result(PAIRS, clusters, columns, settings, seconds)


def _pair_statistics(columns: Mapping[str, np.ndarray]) -> dict[str, Statistic]:
    similar, accepted = columns["label"] == 1, columns["accepted"] == 1
    distances = columns.get("distance")
    hits = (similar & accepted).astype(np.float64)

    def share(of: np.ndarray) -> Statistic:
        return lambda rows: _ratio(hits[rows].sum(), of[rows].sum())

    found: dict[str, Statistic] = {
        "precision": share(accepted),
        "recall": share(similar),
        # The F1 of the class "same product", over all lines.
        "f1": lambda rows: _ratio(
            2 * hits[rows].sum(), accepted[rows].sum() + similar[rows].sum()
        ),
    }
    if distances is not None:
        found["pr_auc"] = lambda rows: pr_auc(similar[rows], distances[rows])
    return found


def _group_statistics(columns: Mapping[str, np.ndarray]) -> dict[str, Statistic]:
    found = {name: mean_of(values) for name, values in columns.items()}
    precision, recall = found["b_cubed_precision"], found["b_cubed_recall"]

    def f1(rows: np.ndarray) -> float:
        both = precision(rows), recall(rows)
        return _ratio(2 * both[0] * both[1], sum(both))

    return {**found, "b_cubed_f1": f1}


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
