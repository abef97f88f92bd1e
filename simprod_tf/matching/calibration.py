"""Calibration: the distance of two products -> how probably they are similar."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simprod_tf.errors import ThresholdError

# Keeps Newton's step finite when the distances tell nothing apart.
_RIDGE = 1e-9
_MAX_STEPS = 100


@dataclass(frozen=True)
class Calibration:
    """A logistic curve over the distance, never rising.

    Attributes:
        slope: change of the log-odds per unit of distance, at most 0.
        intercept: the log-odds at distance 0.
    """

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        """Refuses a curve by which a larger distance would be more alike."""
        if not (math.isfinite(self.intercept) and -math.inf < self.slope <= 0):
            raise ValueError(
                "A calibration has a finite intercept and a finite slope <= 0, "
                f"got {self.intercept} and {self.slope}."
            )

    def probability(self, distances: np.ndarray) -> np.ndarray:
        """Returns the float64 probabilities, in the shape of `distances`.

        They hold for pairs of the same make-up as those that the curve was fitted on.
        """
        return _logistic(self.intercept + self.slope * np.asarray(distances, float))


def fit_calibration(distances: np.ndarray, labels: np.ndarray) -> Calibration:
    """Returns the logistic curve of highest likelihood, after Platt (1999).

    Platt's targets, (P + 1) / (P + 2) and 1 / (N + 2) for P similar and N other pairs,
    keep the curve finite when a distance separates the pairs; see Lin, Lin and Weng
    (2007), https://doi.org/10.1007/s10994-007-5018-6. Where larger distances are not
    less alike the curve is flat.

    Args:
        distances: [N] L2 distances.
        labels: [N], 1 = similar, 0 = not.

    Raises:
        ThresholdError: the pairs are not of both kinds.
    """
    distances, positive = checked_pairs(distances, labels)
    num_positives = int(positive.sum())
    num_negatives = len(positive) - num_positives
    if not num_positives or not num_negatives:
        raise ThresholdError(
            f"A calibration needs similar and other pairs, got {num_positives} similar "
            f"of {len(positive)}; add labelled pairs of the missing kind."
        )
    high, low = (num_positives + 1) / (num_positives + 2), 1 / (num_negatives + 2)
    targets = np.where(positive, high, low)
    centre, spread = float(distances.mean()), float(distances.std()) or 1.0
    slope, intercept = _newton((distances - centre) / spread, targets)
    if slope > 0:
        mean = float(targets.mean())
        return Calibration(0.0, math.log(mean / (1 - mean)))
    return Calibration(slope / spread, intercept - slope * centre / spread)


def checked_pairs(
    distances: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns [N] float64 distances and [N] bool labels, checked."""
    distances, labels = np.asarray(distances, np.float64), np.asarray(labels)
    if distances.ndim != 1 or distances.shape != labels.shape:
        raise ValueError(
            "distances and labels have one shape [N], got "
            f"{list(distances.shape)} and {list(labels.shape)}."
        )
    if not np.all(distances >= 0):
        raise ValueError("Distances are numbers >= 0, got a negative one or NaN.")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("Labels are 1 (similar) or 0, got another value.")
    return distances, labels.astype(bool)


def _newton(values: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Returns (slope, intercept) of the logistic regression, by damped Newton steps."""
    design = np.stack([values, np.ones_like(values)], axis=1)
    weights = np.zeros(2)
    loss = _loss(design, targets, weights)
    for _ in range(_MAX_STEPS):
        fitted = _logistic(design @ weights)
        gradient = design.T @ (fitted - targets) + _RIDGE * weights
        curvature = design.T @ (design * (fitted * (1 - fitted))[:, None])
        step = np.linalg.solve(curvature + _RIDGE * np.eye(2), gradient)
        while (next_loss := _loss(design, targets, weights - step)) > loss:
            step = step / 2
            if np.abs(step).max() < 1e-12:
                break
        weights, loss = weights - step, next_loss
        if np.abs(step).max() < 1e-10:
            break
    return float(weights[0]), float(weights[1])


def _loss(design: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
    log_odds = design @ weights
    likelihood = np.logaddexp(0, log_odds) - targets * log_odds
    return float(likelihood.sum() + 0.5 * _RIDGE * weights @ weights)


def _logistic(log_odds: np.ndarray) -> np.ndarray:
    # 1 / (1 + exp(-x)), but for no x an overflow.
    return np.asarray(0.5 * (1 + np.tanh(log_odds / 2)))
