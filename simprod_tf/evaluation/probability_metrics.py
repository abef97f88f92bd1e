"""How good probabilities of similarity are, pair by pair."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def brier(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Returns the mean squared distance of probability and label, in [0, 1].

    Lower is better; 0.25 is what saying 0.5 of each pair gives. Brier (1950),
    "Verification of Forecasts Expressed in Terms of Probability",
    https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2. NaN if there are no
    pairs.

    Args:
        probabilities: [N] float, between 0 and 1.
        labels: [N], 1 = similar, 0 = not.
    """
    said, truth = np.asarray(probabilities, np.float64), np.asarray(labels)
    check_probabilities(said, truth)
    return float(np.square(said - truth).mean()) if len(said) else math.nan


def check_probabilities(probabilities: np.ndarray, labels: np.ndarray) -> None:
    """Refuses probabilities that are not one a pair, or not between 0 and 1."""
    if probabilities.ndim != 1 or probabilities.shape != labels.shape:
        raise ValueError(
            "probabilities and labels must be two rows of one length, got shapes "
            f"{probabilities.shape} and {labels.shape}."
        )
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities lie between 0 and 1, got another value or NaN.")
