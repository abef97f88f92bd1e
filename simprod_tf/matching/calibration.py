"""Calibration: the distance of two products -> how probably they are similar."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simprod_tf.errors import ThresholdError

METHODS = ("auto", "logistic", "isotonic")
_FOLDS = 5


@dataclass(frozen=True)
class Calibration:
    """A curve of log-odds over the distance, never rising.

    A straight line (logistic), or where there are `knots` the line through them, level
    before the first and after the last (isotonic).

    Attributes:
        slope: change of the log-odds per unit of distance, at most 0.
        intercept: the log-odds at distance 0.
        knots: (distance, log-odds), by rising distance.
    """

    slope: float = 0.0
    intercept: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        """Refuses a curve by which a larger distance would be more alike."""
        if not (math.isfinite(self.intercept) and -math.inf < self.slope <= 0):
            raise ValueError(
                "A calibration has a finite intercept and a finite slope <= 0, "
                f"got {self.intercept} and {self.slope}."
            )
        if self.knots:
            places, heights = np.asarray(self.knots, np.float64).T
            finite = np.isfinite(places).all() and np.isfinite(heights).all()
            if (
                not finite
                or (np.diff(places) <= 0).any()
                or np.diff(heights).max(initial=0.0) > 0
            ):
                raise ValueError(
                    "A calibration's knots are finite, at rising distances, and never "
                    f"rise, got {self.knots}."
                )

    def probability(self, distances: np.ndarray) -> np.ndarray:
        """Returns the float64 probabilities, in the shape of `distances`.

        They hold for pairs with the share of similar ones that the curve is for.
        """
        distances = np.asarray(distances, np.float64)
        if not self.knots:
            return _logistic(self.intercept + self.slope * distances)
        places, heights = np.asarray(self.knots).T
        return _logistic(np.interp(distances, places, heights))

    def at_prior(self, *, labelled: float, deployed: float) -> Calibration:
        """Returns the curve for pairs of which another share is similar.

        The log-odds move by the difference of the priors' log-odds (Elkan 2001, "The
        Foundations of Cost-Sensitive Learning", theorem 2).
        """
        shift = _log_odds(deployed) - _log_odds(labelled)
        if not self.knots:
            return dataclasses.replace(self, intercept=self.intercept + shift)
        moved = tuple((place, height + shift) for place, height in self.knots)
        return dataclasses.replace(self, knots=moved)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Calibration:
        """Returns the curve of which `dataclasses.asdict` went through JSON."""
        knots = tuple((float(x), float(y)) for x, y in content["knots"])
        return cls(float(content["slope"]), float(content["intercept"]), knots)


def fit_calibration(
    distances: np.ndarray,
    labels: np.ndarray,
    *,
    method: str = "auto",
    prior: float | None = None,
    seed: int = 0,
) -> Calibration:
    """Returns the curve from distance to probability that fits the pairs.

    "logistic" is Platt's (1999) with his targets, (P + 1) / (P + 2) and 1 / (N + 2) for
    P similar and N other pairs, which keep the curve finite when a distance separates
    the pairs; see Lin, Lin and Weng (2007),
    https://doi.org/10.1007/s10994-007-5018-6. Where larger distances are not less alike
    it is flat. "isotonic" is Zadrozny and Elkan's (2002),
    https://doi.org/10.1145/775047.775151, its ends held between the same targets.
    "auto" takes the one with the lower cross-fitted log loss; logistic for few pairs.

    Args:
        distances: [N] L2 distances.
        labels: [N], 1 = similar, 0 = not.
        method: one of `METHODS`.
        prior: share of similar pairs where the probabilities are to hold; by default
            that of these pairs.
        seed: of the folds.

    Raises:
        ThresholdError: the pairs are not of both kinds.
    """
    distances, positive = pairs_of_both_kinds(distances, labels)
    method = _checked_method(method)
    if method == "auto":
        method = _best_method(distances, positive, seed)
    curve = _FITS[method](distances, positive)
    if prior is None:
        return curve
    return curve.at_prior(labelled=float(positive.mean()), deployed=prior)


def cross_fitted_probabilities(
    distances: np.ndarray,
    labels: np.ndarray,
    *,
    method: str = "auto",
    seed: int = 0,
) -> np.ndarray:
    """Returns [N] float64 probabilities, each by a curve that did not see the pair.

    Five folds, each with similar and other pairs; fewer where there are fewer.

    Raises:
        ThresholdError: there are not two pairs of each kind.
    """
    distances, positive = pairs_of_both_kinds(distances, labels)
    method = _checked_method(method)
    if _num_folds(positive) < 2:
        raise ThresholdError(
            "Cross-fitting needs two similar and two other pairs, got "
            f"{int(positive.sum())} similar of {len(positive)}; label more pairs."
        )
    if method == "auto":
        method = _best_method(distances, positive, seed)
    return _cross_fitted(distances, positive, method, seed)


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


def pairs_of_both_kinds(
    distances: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what `checked_pairs` does, with at least one pair of each kind."""
    distances, positive = checked_pairs(distances, labels)
    if positive.all() or not positive.any():
        raise ThresholdError(
            "Similar and other pairs are needed, got "
            f"{int(positive.sum())} similar of {len(positive)}; add labelled pairs of "
            "the missing kind."
        )
    return distances, positive


def _checked_method(method: str) -> str:
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}.")
    return method


def _fit_logistic(distances: np.ndarray, positive: np.ndarray) -> Calibration:
    # Here, since importing it takes most of a second.
    from sklearn.linear_model import LogisticRegression

    low, high = _targets(positive)
    targets = np.where(positive, high, low)
    centre, spread = float(distances.mean()), float(distances.std())
    if spread > 0:
        values = ((distances - centre) / spread)[:, None]
        # A soft target t is the pair seen as similar with weight t, and as other with
        # 1 - t. So large a C is no regularisation.
        model = LogisticRegression(C=1e9, tol=1e-8, solver="newton-cholesky").fit(
            np.concatenate([values, values]),
            np.repeat([1, 0], len(values)),
            sample_weight=np.concatenate([targets, 1 - targets]),
        )
        slope = float(model.coef_[0, 0]) / spread
        if slope <= 0:
            return Calibration(slope, float(model.intercept_[0]) - slope * centre)
    return Calibration(0.0, _log_odds(float(targets.mean())))


def _fit_isotonic(distances: np.ndarray, positive: np.ndarray) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    low, high = _targets(positive)
    model = IsotonicRegression(y_min=low, y_max=high, increasing=False)
    model.fit(distances, positive)
    heights = np.log(model.y_thresholds_) - np.log1p(-model.y_thresholds_)
    places = model.X_thresholds_.astype(np.float64)
    return Calibration(knots=tuple(zip(places.tolist(), heights.tolist())))


_FITS: dict[str, Callable[[np.ndarray, np.ndarray], Calibration]] = {
    "logistic": _fit_logistic,
    "isotonic": _fit_isotonic,
}


def _targets(positive: np.ndarray) -> tuple[float, float]:
    num_positives = int(positive.sum())
    num_others = len(positive) - num_positives
    return 1 / (num_others + 2), (num_positives + 1) / (num_positives + 2)


def _num_folds(positive: np.ndarray) -> int:
    rarer = min(int(positive.sum()), int((~positive).sum()))
    return min(_FOLDS, rarer)


def _best_method(distances: np.ndarray, positive: np.ndarray, seed: int) -> str:
    if _num_folds(positive) < _FOLDS:
        return "logistic"
    losses = {}
    for method in _FITS:
        found = _cross_fitted(distances, positive, method, seed)
        losses[method] = -np.log(np.where(positive, found, 1 - found)).mean()
    return min(losses, key=losses.__getitem__)


def _cross_fitted(
    distances: np.ndarray, positive: np.ndarray, method: str, seed: int
) -> np.ndarray:
    fold = stratified_folds(positive, _num_folds(positive), seed=seed)
    found = np.empty(len(distances))
    for number in range(_num_folds(positive)):
        held_out = fold == number
        curve = _FITS[method](distances[~held_out], positive[~held_out])
        found[held_out] = curve.probability(distances[held_out])
    return found


def stratified_folds(positive: np.ndarray, folds: int, *, seed: int) -> np.ndarray:
    """Returns the [N] fold of each pair, each kind spread evenly over the folds."""
    random = np.random.default_rng(seed)
    fold = np.empty(len(positive), np.int64)
    for kind in (positive, ~positive):
        fold[kind] = random.permutation(int(kind.sum())) % folds
    return fold


def _log_odds(share: float) -> float:
    if not 0 < share < 1:
        raise ValueError(
            f"A prior lies between 0 and 1, neither included, got {share}."
        )
    return math.log(share) - math.log1p(-share)


def _logistic(log_odds: np.ndarray) -> np.ndarray:
    # 1 / (1 + exp(-x)), but for no x an overflow.
    return np.asarray(0.5 * (1 + np.tanh(log_odds / 2)))
