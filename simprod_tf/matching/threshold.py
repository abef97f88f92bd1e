"""The distance up to which products count as similar, for a stated precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simprod_tf.errors import ThresholdError
from simprod_tf.matching.calibration import (
    Calibration,
    fit_calibration,
    pairs_of_both_kinds,
)
from simprod_tf.matching.decision import Decision
from simprod_tf.matching.fixed_sequence import (
    Accepted,
    walk_outwards,
    wilson_lower_bound,
)
from simprod_tf.matching.labels_needed import labels_needed
from simprod_tf.matching.prior import Prior, share_at_prior

__all__ = ["Decision", "choose_threshold", "wilson_lower_bound"]

METHOD = "fixed sequence, Wilson bound"
"""How `choose_threshold` chooses, as a decision states it."""


def choose_threshold(
    distances: np.ndarray,
    labels: np.ndarray,
    *,
    precision: float = 0.9,
    confidence: float = 0.95,
    prior: float | Prior | None = None,
    fingerprint: str = "",
    date: str = "",
    seed: int = 0,
) -> Decision:
    """Returns a distance up to which the precision is at least this, by a bound.

    The bound is Wilson's, one-sided, and corrected for trying many thresholds: see
    `fixed_sequence`. The precision promised is that at `prior`. With o(x) = x / (1 - x)
    a share p among the accepted labelled pairs is, where it decides,
    o(p) * o(prior) / o(labelled prior); so the labelled pairs must reach

        o(precision) * o(labelled prior) / o(prior)

    and the bound is translated back. Both hold if similar pairs have the same distances
    in both places, and other pairs, too (see `prior`); the priors count as exact.

    Args:
        distances: [N] L2 distances of labelled pairs that training did not see.
        labels: [N], 1 = similar, 0 = not.
        precision: the share of similar pairs wanted among the accepted ones.
        confidence: how often the promise must hold.
        prior: share of similar pairs among those to be decided upon; by default that of
            the labelled pairs. Of an estimated one `share` counts; give
            `Prior.given(estimated.low)` to be careful.
        fingerprint: of the encoder whose distances these are.
        date: of today, as YYYY-MM-DD.
        seed: of the calibration's folds.

    Raises:
        ThresholdError: no distance passes (says how many labelled pairs there are, and
            how many it would take), or the pairs are not of both kinds.
    """
    promise = Promise.of(
        distances, labels, precision=precision, confidence=confidence, prior=prior
    )
    curve = fit_calibration(promise.distances, promise.positive, seed=seed)
    accepted = promise.walk(promise.distances)
    if accepted is None:
        raise ThresholdError(promise.refusal(curve))
    return promise.decision(
        accepted, curve=curve, method=METHOD, date=date, fingerprint=fingerprint
    )


@dataclass(frozen=True, eq=False)
class Promise:
    """Labelled pairs, and what is to be promised of them.

    Attributes:
        distances: [N] float64.
        positive: [N] bool.
        precision: wanted where it decides.
        confidence: how often it must hold.
        prior: of the pairs to be decided upon.
    """

    distances: np.ndarray
    positive: np.ndarray
    precision: float
    confidence: float
    prior: Prior

    @classmethod
    def of(
        cls,
        distances: np.ndarray,
        labels: np.ndarray,
        *,
        precision: float,
        confidence: float,
        prior: float | Prior | None,
    ) -> Promise:
        """Returns it checked; the arguments are those of `choose_threshold`."""
        if not 0 < precision < 1 or not 0.5 <= confidence < 1:
            raise ValueError(
                "precision must be above 0 and below 1, confidence between 0.5 and 1, "
                f"got {precision} and {confidence}."
            )
        distances, positive = pairs_of_both_kinds(distances, labels)
        if prior is None:
            share = float(positive.mean())
            prior = Prior(share, "labelled", share, share)
        elif not isinstance(prior, Prior):
            prior = Prior.given(float(prior))
        return cls(distances, positive, float(precision), float(confidence), prior)

    @property
    def labelled(self) -> float:
        """The share of similar pairs among the labelled ones."""
        return float(self.positive.mean())

    @property
    def wanted(self) -> float:
        """The precision that the labelled pairs must reach."""
        share = share_at_prior(
            self.precision, labelled=self.prior.share, deployed=self.labelled
        )
        return float(share)

    def deployed(self, share: float) -> float:
        """Returns what a precision of the labelled pairs is where it decides."""
        return float(
            share_at_prior(share, labelled=self.labelled, deployed=self.prior.share)
        )

    def walk(self, distances: np.ndarray) -> Accepted | None:
        """Returns the most pairs that keep the promise, by [N] distances."""
        return walk_outwards(
            distances,
            self.positive,
            precision=self.wanted,
            confidence=self.confidence,
        )

    def decision(
        self,
        accepted: Accepted,
        *,
        curve: Calibration,
        method: str,
        date: str,
        fingerprint: str,
    ) -> Decision:
        """Returns the decision; `curve` is calibrated at the labelled pairs' prior."""
        num_positives = int(self.positive.sum())
        return Decision(
            max_distance=accepted.max_distance,
            target_precision=self.precision,
            precision=self.deployed(accepted.hits / accepted.count),
            precision_lower_bound=self.deployed(accepted.bound),
            recall=accepted.hits / num_positives,
            num_pairs=len(self.positive),
            num_positives=num_positives,
            num_accepted=accepted.count,
            labelled_prior=self.labelled,
            prior=self.prior.share,
            prior_source=self.prior.source,
            confidence=self.confidence,
            method=method,
            date=date,
            encoder_fingerprint=fingerprint,
            calibration=curve.at_prior(
                labelled=self.labelled, deployed=self.prior.share
            ),
        )

    def refusal(self, curve: Calibration) -> str:
        """Returns why there is no threshold, and how many labels it would take."""
        needed = labels_needed(
            curve, self.distances, precision=self.wanted, confidence=self.confidence
        )
        have, similar = len(self.positive), int(self.positive.sum())
        cause = (
            f"No distance can promise a precision of {self.precision:g} at confidence "
            f"{self.confidence:g}: there are {have} labelled pairs, {similar} of them "
            f"similar, and the prior is {self.prior}. "
        )
        if needed.num_pairs is None:
            best = self.deployed(needed.best_precision)
            return cause + (
                "No number of labels would do, since by the calibrated curve the "
                f"precision is {best:.3f} at best; improve the encoder, ask for a "
                "lower precision, or state a distance of your own."
            )
        unlucky = "" if needed.num_pairs > have else "; these happen to fail"
        return cause + (
            f"By the calibrated curve about {needed.num_pairs} pairs of this make-up "
            f"are needed (enough four times in five{unlucky}). Label more pairs, ask "
            "for a lower precision, or state a distance of your own."
        )
