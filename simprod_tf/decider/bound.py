"""A decider on one catalogue's candidate pairs, which are each other's context."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from simprod_tf.decider.features import second_names
from simprod_tf.decider.graph import PairGraph
from simprod_tf.decider.stages import FirstFeatures, Stages, blocks

# What the contributions of the features are added to.
ALL_PAIRS = "all pairs"


@dataclass(frozen=True)
class Contribution:
    """What a feature adds to the log-odds of a pair's being the same.

    Attributes:
        feature: its name.
        value: of the pair; NaN where it is not known.
        log_odds: what it adds.
    """

    feature: str
    value: float
    log_odds: float

    @property
    def stated(self) -> str:
        """The value in words; "" of what all pairs have in common."""
        if self.feature == ALL_PAIRS:
            return ""
        return "not known" if self.value != self.value else f"{self.value:.4g}"


class BoundDecider:
    """Scores candidate pairs of a catalogue; `Decider.bind` makes one.

    Attributes:
        graph: the candidate pairs.
        lexical: [N, k] int32 rows of each product's lexical neighbours, nearest first,
            -1 for none: candidates of which the graph holds all.
    """

    def __init__(
        self,
        stages: Stages,
        features: FirstFeatures,
        scores: np.ndarray,
        *,
        lexical: np.ndarray,
        views: tuple[str, ...],
    ) -> None:
        """Takes [E, S] float32 `scores` of the first stage, with their context."""
        self._stages, self._features, self._scores = stages, features, scores
        self._views = views
        self.graph: PairGraph = features.plain.graph
        self.lexical = lexical

    def probability(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Returns [P] float64, how probably pairs are the same, in either direction.

        They are those among pairs with the share of similar ones that there was in
        training; a decision's calibration gives those of another share.

        Args:
            starts: [P] rows of the catalogue.
            ends: [P] rows.

        Raises:
            ValueError: a pair is no candidate.
        """
        rows = self._rows(starts, ends)
        found = np.empty(len(rows), np.float64)
        for part in blocks(len(rows)):
            found[part] = self._stages.second.log_odds(self._second(rows[part]))
        return np.asarray(expit(found))

    def distances(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Returns [P] float32, 1 - `probability`: what a threshold is chosen on."""
        return (1.0 - self.probability(starts, ends)).astype(np.float32)

    def explain(self, starts: np.ndarray, ends: np.ndarray) -> list[list[Contribution]]:
        """Returns for each pair what each feature adds, the strongest first.

        They sum to the log-odds of `probability`; what all pairs have in common is
        called "all pairs".
        """
        features = self._second(self._rows(starts, ends))
        names = (*second_names(self._views), ALL_PAIRS)
        values = np.concatenate([features, np.full((len(features), 1), np.nan)], axis=1)
        found = []
        for row, added in zip(values, self._stages.second.contributions(features)):
            order = np.argsort(-np.abs(added), kind="stable")
            found.append(
                [Contribution(names[i], float(row[i]), float(added[i])) for i in order]
            )
        return found

    def _second(self, rows: np.ndarray) -> np.ndarray:
        first = self._features.rows(rows)
        return np.concatenate([first, self._scores[rows]], axis=1, dtype=np.float32)

    def _rows(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        starts, ends = np.asarray(starts, np.int64), np.asarray(ends, np.int64)
        rows = self.graph.find(starts, ends)
        if (rows < 0).any():
            at = int(np.flatnonzero(rows < 0)[0])
            raise ValueError(
                f"The pair of rows {starts[at]} and {ends[at]} is no candidate; give "
                "all pairs to be scored to `bind`."
            )
        return rows
