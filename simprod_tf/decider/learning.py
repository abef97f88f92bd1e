"""How the stages of a decider are learned from labelled pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from scipy.special import expit
from sklearn.metrics import precision_recall_curve

from simprod_tf.decider.boosting import Boosting, BoostingSettings
from simprod_tf.decider.evidence import TokenOdds, Vocabulary
from simprod_tf.decider.features import (
    PlainFeatures,
    first_names,
    score_rows,
    second_names,
)
from simprod_tf.decider.stages import (
    FirstFeatures,
    Progress,
    Stages,
    first_log_odds,
)


@dataclass(frozen=True)
class DeciderSettings:
    """How a decider is learned.

    Attributes:
        neighbours: lexical candidates of a product.
        folds: of the first stage.
        ensemble: boosters of the second stage, whose log-odds are averaged.
        implied_weight: of candidates whose label follows from others' (`implied`),
            learned from where there are no tables; 0 to leave them out.
        seed: of all that is drawn.
        first, second: of the boosters of the two stages.
    """

    neighbours: int = 10
    folds: int = 5
    ensemble: int = 2
    implied_weight: float = 0.5
    seed: int = 0
    first: BoostingSettings = field(default_factory=BoostingSettings)
    second: BoostingSettings = field(default_factory=BoostingSettings)

    def __post_init__(self) -> None:
        """Refuses what cannot be learned with."""
        if self.neighbours < 1 or self.folds < 2 or self.ensemble < 1:
            raise ValueError(
                "neighbours and ensemble must be at least 1 and folds at least 2, got "
                f"{self.neighbours}, {self.ensemble} and {self.folds}."
            )
        if not 0 <= self.implied_weight <= 1:
            raise ValueError(
                f"implied_weight lies between 0 and 1, got {self.implied_weight}."
            )

    @property
    def num_fits(self) -> int:
        """How often trees are fitted: by fold in both stages, and on all pairs."""
        return 2 * self.folds + 1


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labelled pairs of a graph.

    Attributes:
        pairs: [P] rows of the graph.
        labels: [P], 1 = similar, 0 = not.
        weights: [P].
    """

    pairs: np.ndarray
    labels: np.ndarray
    weights: np.ndarray

    def where(self, kept: np.ndarray) -> Labelled:
        """Returns those for which `kept` [P] is True."""
        return Labelled(self.pairs[kept], self.labels[kept], self.weights[kept])

    def joined(self, more: Labelled) -> Labelled:
        """Returns these and, after them, more."""
        return Labelled(
            np.concatenate([self.pairs, more.pairs]),
            np.concatenate([self.labels, more.labels]),
            np.concatenate([self.weights, more.weights]),
        )


def learn(
    plain: PlainFeatures,
    vocabulary: Vocabulary,
    labelled: Labelled,
    folds: np.ndarray,
    settings: DeciderSettings,
    *,
    progress: Progress | None = None,
    fitting: Progress | None = None,
) -> tuple[Stages, np.ndarray]:
    """Returns the stages, and the pairs' probabilities by models that saw them not.

    Args:
        plain: the features that need no labels, of all candidate pairs.
        vocabulary: of the catalogue.
        labelled: of P pairs, all of them candidates.
        folds: [E] of the candidate pairs.
        settings: how.
        progress: told candidate pairs done, and all.
        fitting: told fits of trees done, and all.
    """
    fitted = _counted(settings.num_fits, fitting)
    views = tuple(plain.products.embeddings)
    own = folds[labelled.pairs]
    odds = _odds(plain, labelled, own, settings.folds)
    features = FirstFeatures(plain, odds, folds)
    rows = features.rows(labelled.pairs)
    first = tuple(
        _boosted(
            rows[own != fold],
            labelled.where(own != fold),
            settings.first,
            names=first_names(views),
            seeds=[settings.seed],
            fitted=fitted,
        )
        for fold in range(settings.folds)
    )
    scores = score_rows(plain.graph, first_log_odds(features, first, progress))
    rows = np.concatenate([rows, scores[labelled.pairs]], axis=1, dtype=np.float32)
    names = second_names(views)
    seeds = [settings.seed + one for one in range(settings.ensemble)]
    out_of_fold = np.zeros(len(rows))
    for fold in range(settings.folds):
        rest, out = own != fold, own == fold
        one = _boosted(
            rows[rest],
            labelled.where(rest),
            settings.second,
            names=names,
            seeds=seeds,
            fitted=fitted,
        )
        out_of_fold[out] = one.log_odds(rows[out])
    second = _boosted(
        rows, labelled, settings.second, names=names, seeds=seeds, fitted=fitted
    )
    return Stages(vocabulary, odds, first, second), expit(out_of_fold)


def best_f1_cut(labels: np.ndarray, probability: np.ndarray) -> float:
    """Returns the probability from which on F1 is best."""
    precision, recall, cuts = precision_recall_curve(labels, probability)
    total = np.maximum(precision + recall, np.finfo(float).tiny)
    best = int(np.argmax((2 * precision * recall / total)[:-1]))
    # Half way to the next lower one: a cut at a pair's own value would be brittle.
    below = cuts[best - 1] if best else cuts[best]
    return float((cuts[best] + below) / 2)


def _boosted(
    rows: np.ndarray,
    labelled: Labelled,
    settings: BoostingSettings,
    *,
    names: tuple[str, ...],
    seeds: list[int],
    fitted: Callable[[], None],
) -> Boosting:
    made = Boosting.fit(
        rows,
        labelled.labels,
        settings,
        names=names,
        seeds=seeds,
        weights=labelled.weights,
    )
    fitted()
    return made


def _counted(total: int, progress: Progress | None) -> Callable[[], None]:
    """Returns what is called after each of the fits, and tells how many are done."""
    numbers = count(1)

    def one_more() -> None:
        if progress is not None:
            progress(next(numbers), total)

    return one_more


def _odds(
    plain: PlainFeatures, labelled: Labelled, own: np.ndarray, folds: int
) -> tuple[TokenOdds, ...]:
    """Returns for each fold the odds that the other folds' pairs tell."""
    ends = plain.graph.ends[labelled.pairs]
    found = []
    for fold in range(folds):
        rest = own != fold
        found.append(
            TokenOdds().fit(
                plain.prepared,
                ends[rest, 0],
                ends[rest, 1],
                labels=labelled.labels[rest],
            )
        )
    return tuple(found)
