"""How often a promised precision is missed, and the recall that keeping it costs.

    python benchmarks/promise.py [--draws 400] [--precision 0.95]
        [--pairs 1000 5000 20000]

Draws labelled pairs from populations of which the true precision at every distance is
known, lets each rule choose a threshold, and counts how often the true precision there
is below the promised one. Rules: the measured precision itself ("point"), Wilson's
bound of each threshold by itself ("one bound"), and ours ("walk"), all by one distance;
ours by category ("by category"). Recall is the true one, 0 where a rule refuses, and
stands beside the best that a rule could reach that knew the truth ("at most").

The populations, by the share of similar pairs:

    shop      similar pairs at 0.5 +- 0.2, others at 1.1 +- 0.2
    kinds     likewise in ten categories, of which the largest has half of the pairs;
              their other pairs lie at 0.8 to 1.3
    flat      of the nearest pairs 0.001 too few are similar, over a wide range: the
              worst case for trying many thresholds
    picked    labelled pairs of the shop with 30 % similar, decided upon at 5 % (given)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Union

import numpy as np
from scipy.stats import norm

from simprod_tf.matching.category_threshold import SHRINKAGE, walk_by_category
from simprod_tf.matching.fixed_sequence import wilson_lower_bound
from simprod_tf.matching.threshold import Promise

Limits = np.ndarray
"""[C] float64: the threshold of each category of a population."""


@dataclass(frozen=True)
class Draw:
    """Labelled pairs: distances [N], labels [N] bool, categories [N] int64."""

    distances: np.ndarray
    labels: np.ndarray
    categories: np.ndarray


@dataclass(frozen=True)
class Shop:
    """Normal distances of similar and of other pairs, cut at 0 and 2.

    Attributes:
        name: of the population.
        prior: share of similar pairs among the labelled ones.
        others: [C] the mean distance of other pairs, by category.
        weights: [C] the share of pairs, by category.
        deployed: share of similar pairs where it decides, if it is another.
    """

    name: str
    prior: float
    others: tuple[float, ...] = (1.1,)
    weights: tuple[float, ...] = (1.0,)
    deployed: float | None = None

    def draw(self, num_pairs: int, random: np.random.Generator) -> Draw:
        """Returns pairs drawn independently."""
        labels = random.random(num_pairs) < self.prior
        categories = random.choice(len(self.weights), num_pairs, p=self.weights)
        means = np.where(labels, 0.5, np.asarray(self.others)[categories])
        distances = means + 0.2 * random.normal(size=num_pairs)
        return Draw(np.clip(distances, 0, 2), labels, categories)

    def truth(self, limits: Limits) -> tuple[float, float]:
        """Returns the true precision and recall where it decides."""
        prior = self.prior if self.deployed is None else self.deployed
        weights = np.asarray(self.weights)
        recall = float(weights @ norm.cdf((limits - 0.5) / 0.2))
        wrong = float(weights @ norm.cdf((limits - np.asarray(self.others)) / 0.2))
        hits = prior * recall
        return hits / (hits + (1 - prior) * wrong), recall


@dataclass(frozen=True)
class Flat:
    """Distances by rank: up to `reach` the share `level` is similar, then few."""

    prior: float
    level: float
    name: str = "flat"
    weights: tuple[float, ...] = (1.0,)
    deployed: None = None

    @property
    def reach(self) -> float:
        """Where the near pairs end: 97 % of the similar pairs are among them."""
        return 2 * 0.97 * self.prior / self.level

    def draw(self, num_pairs: int, random: np.random.Generator) -> Draw:
        """Returns pairs drawn independently."""
        distances = 2 * random.random(num_pairs)
        far = 0.03 * self.prior / (1 - self.reach / 2)
        share = np.where(distances <= self.reach, self.level, far)
        labels = random.random(num_pairs) < share
        return Draw(distances, labels, np.zeros(num_pairs, np.int64))

    def truth(self, limits: Limits) -> tuple[float, float]:
        """Returns the true precision and recall; beyond the reach it only falls."""
        recall = 0.97 * min(float(limits[0]) / self.reach, 1.0)
        return self.level, recall


Population = Union[Shop, Flat]


def by_measured_precision(promise: Promise, _: Draw) -> Limits | None:
    """Returns the farthest distance with the measured precision wanted."""
    return _farthest(promise, confidence=0.5)


def by_one_bound(promise: Promise, _: Draw) -> Limits | None:
    """Returns the farthest distance of which the bound by itself passes."""
    return _farthest(promise, confidence=promise.confidence)


def by_walk(promise: Promise, _: Draw) -> Limits | None:
    """Returns what `choose_threshold` does."""
    accepted = promise.walk(promise.distances)
    return None if accepted is None else np.array([accepted.max_distance])


def by_category(promise: Promise, draw: Draw) -> Limits | None:
    """Returns what `choose_category_thresholds` does, at its default shrinkage."""
    found = walk_by_category(promise, draw.categories, shrinkage=SHRINKAGE, seed=0)
    if found is None:
        return None
    if found.limits is None:
        return np.full(int(draw.categories.max()) + 1, found.accepted.max_distance)
    return found.limits


def _farthest(promise: Promise, *, confidence: float) -> Limits | None:
    order = np.argsort(promise.distances)
    hits = np.cumsum(promise.positive[order])
    counts = np.arange(1, len(hits) + 1)
    bounds = wilson_lower_bound(hits, counts, confidence=confidence)
    # By rounding, the bound at 0.5 may lie a little below the measured precision.
    passing = np.flatnonzero(bounds >= promise.wanted - 1e-12)
    return promise.distances[order][passing[-1:]] if len(passing) else None


RULES: dict[str, Callable[[Promise, Draw], Limits | None]] = {
    "point": by_measured_precision,
    "one bound": by_one_bound,
    "walk": by_walk,
    "by category": by_category,
}


@dataclass(frozen=True)
class Outcome:
    """Shares of the draws, and the mean true recall (0 where refused)."""

    missed: float
    refused: float
    recall: float


def simulate(
    population: Population,
    rule: str,
    *,
    num_pairs: int,
    precision: float,
    draws: int,
    confidence: float = 0.95,
) -> Outcome:
    """Returns what became of the promise in so many draws; each has its own seed."""
    missed, refused, recalls = 0, 0, []
    for seed in range(draws):
        draw = population.draw(num_pairs, np.random.default_rng(seed))
        promise = Promise.of(
            draw.distances,
            draw.labels,
            precision=precision,
            confidence=confidence,
            prior=population.deployed,
        )
        limits = RULES[rule](promise, draw)
        if limits is None:
            refused += 1
            continue
        limits = np.resize(limits, len(population.weights))
        true_precision, recall = population.truth(limits)
        missed += true_precision < precision
        recalls.append(recall)
    return Outcome(missed / draws, refused / draws, sum(recalls) / draws)


def most_recall(population: Population, precision: float) -> float:
    """Returns the recall of the one distance that knows the truth; 0 if none does."""
    size = len(population.weights)
    found = [population.truth(np.full(size, at)) for at in np.linspace(0, 2, 2001)]
    return max((recall for true, recall in found if true >= precision), default=0.0)


def populations(precision: float) -> list[Population]:
    """Returns those of the table."""
    others = tuple(np.linspace(0.8, 1.3, 10).tolist())
    rest = np.arange(9, 0, -1) / 90
    weights = (0.5, *rest.tolist())
    return [
        Shop("shop", 0.05),
        Shop("shop", 0.3),
        Shop("kinds", 0.3, (1.05, *others[:9]), weights),
        Flat(0.3, precision - 0.001),
        Shop("picked", 0.3, deployed=0.05),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--precision", type=float, default=0.95)
    parser.add_argument("--pairs", type=int, nargs="+", default=[1000, 5000, 20000])
    given = parser.parse_args(arguments)
    print("| population | prior | pairs | rule | missed | refused | recall | at most |")
    print("| --- " * 8 + "|")
    for population in populations(given.precision):
        best = most_recall(population, given.precision)
        for num_pairs in given.pairs:
            for rule in RULES:
                if rule == "by category" and len(population.weights) == 1:
                    continue
                found = simulate(
                    population,
                    rule,
                    num_pairs=num_pairs,
                    precision=given.precision,
                    draws=given.draws,
                )
                print(
                    f"| {population.name} | {population.prior:g} | {num_pairs} | {rule}"
                    f" | {found.missed:.3f} | {found.refused:.3f} | {found.recall:.3f}"
                    f" | {best:.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
