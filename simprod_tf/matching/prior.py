"""The class prior: how many of the pairs to be decided upon are similar.

Labelled pairs are picked, so their share of similar pairs is not that of the candidates
which a search hands to the decision. A share p of similar pairs among the accepted ones
has the odds p / (1 - p) = (prior odds) * (odds of acceptance), of which the second
factor stays the same as long as similar pairs look the same in both places, and other
pairs, too (label shift). So with the odds o(x) = x / (1 - x)

    o(precision in deployment) = o(precision of labelled) * o(prior) / o(labelled prior)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simprod_tf.errors import ThresholdError
from simprod_tf.matching.calibration import (
    Calibration,
    checked_pairs,
    fit_calibration,
)

SOURCES = ("labelled", "given", "estimated")
_BINS = 2048
_RESAMPLES = 60
_MAX_STEPS = 5000
_CLOSE = 1e-7
_FARTHEST_APART = 0.15


@dataclass(frozen=True)
class Prior:
    """A share of similar pairs.

    Attributes:
        share: between 0 and 1, neither included.
        source: "labelled" (the labelled pairs' own), "given" or "estimated".
        low: 5 % of the resamples lie below; the careful side. `share` if not estimated.
        high: 5 % lie above.
    """

    share: float
    source: str
    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuses what is no share, and sources unheard of."""
        if not 0 < self.low <= self.share <= self.high < 1:
            raise ValueError(
                "A prior lies between 0 and 1 (neither included) and between low and "
                f"high, got {self.share} in [{self.low}, {self.high}]."
            )
        if self.source not in SOURCES:
            raise ValueError(f"source must be one of {SOURCES}, got {self.source!r}.")

    @classmethod
    def given(cls, share: float) -> Prior:
        """Returns the prior that somebody stated."""
        return cls(share, "given", share, share)

    def __str__(self) -> str:
        """Returns, say, `0.031 [0.027, 0.036] (estimated)`."""
        bounds = f" [{self.low:.3g}, {self.high:.3g}]" if self.low < self.high else ""
        return f"{self.share:.3g}{bounds} ({self.source})"


def share_at_prior(
    share: float | np.ndarray, *, labelled: float, deployed: float
) -> np.ndarray:
    """Returns what a share of similar pairs becomes at another prior.

    Args:
        share: precision or probability among pairs of which `labelled` are similar.
        labelled: the share of similar pairs there.
        deployed: the share where the answer is wanted; swap the two to go back.
    """
    ratio = deployed * (1 - labelled) / (labelled * (1 - deployed))
    share = np.asarray(share, np.float64)
    return np.asarray(share * ratio / (share * ratio + (1 - share)))


def estimate_prior(
    labelled_distances: np.ndarray,
    labels: np.ndarray,
    candidate_distances: np.ndarray,
    *,
    seed: int = 0,
) -> Prior:
    """Returns the share of similar pairs among candidates without labels.

    By expectation maximisation on calibrated probabilities: Saerens, Latinne and
    Decaestecker (2002), https://doi.org/10.1162/089976602753284446. It assumes label
    shift: similar candidates have the distances of similar labelled pairs, other
    candidates those of other labelled pairs. Candidates of a nearest-neighbour search
    are harder than pairs drawn at random, so label pairs drawn from the candidates, or
    the share comes out too high. `low` and `high` come from drawing the labelled pairs
    anew; the candidates, being many, stay.

    Args:
        labelled_distances: [N].
        labels: [N], 1 = similar, 0 = not.
        candidate_distances: [M], of the pairs to be decided upon.
        seed: of the resampling.

    Raises:
        ThresholdError: there is no candidate, no labelled pair of either kind, or no
            mix of the labelled pairs that looks like the candidates.
    """
    distances, positive = checked_pairs(labelled_distances, labels)
    candidates = np.asarray(candidate_distances, np.float64)
    if not len(candidates):
        raise ThresholdError(
            "A prior is estimated from candidates, got none; give the prior instead."
        )
    curve = fit_calibration(distances, positive, seed=seed)
    method = "isotonic" if curve.knots else "logistic"
    # A million candidates as 2,048 counts: 0.001 of distance at most is blurred.
    counts, edges = np.histogram(candidates, _BINS)
    centres = (edges[:-1] + edges[1:])[counts > 0] / 2
    weights = counts[counts > 0] / len(candidates)
    share = _most_likely(curve, centres, weights, labelled=float(positive.mean()))
    _require_alike(distances, positive, candidates, share=share)
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(_RESAMPLES):
        rows = random.integers(len(distances), size=len(distances))
        labelled = float(positive[rows].mean())
        if 0 < labelled < 1:
            again = fit_calibration(distances[rows], positive[rows], method=method)
            drawn.append(_most_likely(again, centres, weights, labelled=labelled))
    low, high = np.quantile([*drawn, share], [0.05, 0.95])
    return Prior(share, "estimated", min(float(low), share), max(float(high), share))


def _require_alike(
    distances: np.ndarray, positive: np.ndarray, candidates: np.ndarray, *, share: float
) -> None:
    """Refuses a prior by which the labelled pairs do not look like the candidates.

    They do if the two distributions of distances, that of the labelled pairs at the
    prior found, are nowhere farther apart than `_FARTHEST_APART` (Kolmogorov and
    Smirnov's distance).
    """
    at = np.sort(candidates)
    mixed = share * _below(distances[positive], at)
    mixed += (1 - share) * _below(distances[~positive], at)
    apart = float(np.abs(mixed - np.arange(1, len(at) + 1) / len(at)).max())
    if apart > _FARTHEST_APART:
        raise ThresholdError(
            "The prior cannot be estimated: at no share of similar pairs do the "
            f"{len(distances)} labelled pairs look like the candidates ({apart:.2f} "
            f"apart at the best share, {share:.3g}; at most {_FARTHEST_APART} is "
            "good enough). Label pairs drawn from the candidates, or state the prior "
            "(`--prior 0.1`)."
        )


def _below(distances: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Returns the share of distances at or below each of `at`."""
    return np.searchsorted(np.sort(distances), at, side="right") / len(distances)


def _most_likely(
    curve: Calibration, distances: np.ndarray, weights: np.ndarray, *, labelled: float
) -> float:
    """Returns the prior [0, 1] by EM; `weights` [M] sum to 1."""
    probabilities = curve.probability(distances)
    share = labelled
    for _ in range(_MAX_STEPS):
        at_share = share_at_prior(probabilities, labelled=labelled, deployed=share)
        # Neither end is left again, nor has it odds.
        found = float(np.clip(weights @ at_share, 1e-9, 1 - 1e-9))
        close = math.isclose(found, share, rel_tol=_CLOSE)
        share = found
        if close:
            break
    return share
