"""Reliability: do pairs called similar with probability p turn out so in p of cases?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simprod_tf.matching.calibration import cross_fitted_probabilities

# Fewer tell nothing of a curve.
_FEWEST = 10


@dataclass(frozen=True, eq=False)
class Reliability:
    """Pairs in bins by probability, about as many pairs in each.

    Attributes:
        probability: [B] float64, the mean of each bin, rising.
        share: [B] float64, the share of similar pairs in it.
        count: [B] int64, its pairs.
    """

    probability: np.ndarray
    share: np.ndarray
    count: np.ndarray

    @property
    def expected_calibration_error(self) -> float:
        """The mean distance of share and probability, bins weighted by their pairs."""
        if not len(self.count):
            return 0.0
        apart = np.abs(self.share - self.probability)
        return float(np.average(apart, weights=self.count))


def reliability(
    probabilities: np.ndarray, labels: np.ndarray, *, bins: int = 15
) -> Reliability:
    """Returns the bins of a reliability curve, of equal mass.

    Pairs of one probability that fall on both sides of a border share their labels
    evenly, so the order of the pairs does not matter.

    Args:
        probabilities: [N] float, between 0 and 1.
        labels: [N], 1 = similar, 0 = not.
        bins: how many, at most; no more than there are pairs.
    """
    probabilities = np.asarray(probabilities, np.float64)
    labels = np.asarray(labels)
    if probabilities.ndim != 1 or probabilities.shape != labels.shape or bins < 1:
        raise ValueError(
            "probabilities and labels have one shape [N] and bins is at least 1, got "
            f"{list(probabilities.shape)}, {list(labels.shape)} and {bins}."
        )
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("Probabilities lie between 0 and 1, got another value or NaN.")
    values, ties = np.unique(probabilities, return_inverse=True)
    mass = np.bincount(ties, minlength=len(values))
    similar = np.bincount(ties, labels, minlength=len(values))
    return binned(values, mass=mass, similar=similar, bins=bins)


def binned(
    values: np.ndarray, *, mass: np.ndarray, similar: np.ndarray, bins: int = 15
) -> Reliability:
    """Returns the bins of pairs that are already counted by probability.

    Args:
        values: [U] float64, probabilities, rising.
        mass: [U] whole numbers, the pairs of each.
        similar: [U] the similar ones among them.
        bins: how many, at most; no more than there are pairs.
    """
    total = int(mass.sum())
    if not total:
        return Reliability(np.empty(0), np.empty(0), np.empty(0, np.int64))
    borders = np.linspace(0, total, min(bins, total) + 1).astype(np.int64)
    ends = _rising(mass)
    count = np.diff(borders)

    # Within one probability the sums rise evenly: that parts its labels evenly too.
    def summed(amounts: np.ndarray) -> np.ndarray:
        return np.diff(np.interp(borders, ends, _rising(amounts)))

    return Reliability(summed(values * mass) / count, summed(similar) / count, count)


def _rising(amounts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(amounts)])


def cross_fitted_reliability(
    distances: np.ndarray, labels: np.ndarray, *, bins: int = 15, seed: int = 0
) -> Reliability | None:
    """Returns the bins of cross-fitted probabilities; None for too few pairs.

    It judges the way of calibrating, on these pairs themselves: each probability comes
    from a curve that did not see the pair. Of either kind 10 pairs are needed.
    """
    similar = int(np.asarray(labels).sum())
    if min(similar, len(labels) - similar) < _FEWEST:
        return None
    probabilities = cross_fitted_probabilities(distances, labels, seed=seed)
    return reliability(probabilities, labels, bins=bins)


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, *, bins: int = 15
) -> float:
    """Returns the expected calibration error, in [0, 1], over bins of equal mass.

    Naeini, Cooper and Hauskrecht (2015), "Obtaining Well Calibrated Probabilities Using
    Bayesian Binning", https://doi.org/10.1609/aaai.v29i1.9602. Guo, Pleiss, Sun and
    Weinberger (2017), https://arxiv.org/abs/1706.04599, take bins of equal width, of
    which rare similar pairs leave all but the first nearly empty. Bins of finite size
    make it a little too large even for perfect probabilities.

    Args:
        probabilities: [N] float, between 0 and 1.
        labels: [N], 1 = similar, 0 = not.
        bins: how many, at most.
    """
    return reliability(probabilities, labels, bins=bins).expected_calibration_error
