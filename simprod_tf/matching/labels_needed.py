"""How many labelled pairs a promised precision takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from simprod_tf.matching.calibration import Calibration

# Where thresholds are tried, as parts of the number of similar pairs: about where
# `walk_starts` begins, and somewhat beyond.
_PLACES = (1 / 4, 1 / 3, 1 / 2, 2 / 3)
POWER = 0.8
"""How often as many pairs as needed give a threshold."""


@dataclass(frozen=True)
class LabelsNeeded:
    """What labelled pairs of one make-up can show.

    Attributes:
        num_pairs: how many are needed to promise the precision in `POWER` of the draws,
            or None if no number would do.
        best_precision: the highest that the curve has for any threshold tried.
    """

    num_pairs: int | None
    best_precision: float


def labels_needed(
    curve: Calibration,
    distances: np.ndarray,
    *,
    precision: float,
    confidence: float,
) -> LabelsNeeded:
    """Returns how many labelled pairs like these `choose_threshold` would need.

    The calibrated curve says which share is similar up to each distance. n pairs of
    which the share q is similar pass the bound at p with probability `POWER` if

        n >= ((z sqrt(p (1 - p)) + z' sqrt(q (1 - q))) / (q - p))^2

    z and z' being the normal quantiles of the error allowed and of `POWER` (Fleiss,
    Levin and Paik 2003, "Statistical Methods for Rates and Proportions", 3rd edition,
    section 2.3).

    Args:
        curve: calibrated at the pairs' own prior.
        distances: [N] of the labelled pairs.
        precision: the share wanted, at that prior.
        confidence: of the bound.
    """
    distances = np.sort(distances)
    probabilities = curve.probability(distances)
    hits = np.cumsum(probabilities)
    rows = np.array([hits[-1] * place for place in _PLACES]).astype(np.int64)
    rows = np.clip(rows, 1, len(distances)) - 1
    shares = hits[rows] / (rows + 1)
    normal = NormalDist()
    # Two walks may share the error.
    allowed = normal.inv_cdf(1 - (1 - confidence) / 2)
    spread = allowed * math.sqrt(precision * (1 - precision))
    spreads = spread + normal.inv_cdf(POWER) * np.sqrt(shares * (1 - shares))
    best = float(shares.max())
    above = shares > precision
    if not above.any():
        return LabelsNeeded(None, best)
    accepted = (spreads[above] / (shares[above] - precision)) ** 2
    pairs = accepted * len(distances) / (rows[above] + 1)
    return LabelsNeeded(math.ceil(pairs.min()), best)
