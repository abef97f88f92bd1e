"""A decision: the distance threshold, what it was chosen by, and what it promises."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simprod_tf.errors import FingerprintError, ModelError
from simprod_tf.matching.calibration import Calibration
from simprod_tf.matching.prior import SOURCES


@dataclass(frozen=True)
class Decision:
    """A distance threshold, what it was chosen by, and what it promises.

    Precision, bound and probabilities are those at `prior`, the share of similar pairs
    where it decides; recall and counts are those of the labelled pairs.

    Attributes:
        max_distance: pairs at this distance or below count as similar.
        target_precision: what was asked for.
        precision: share of similar pairs among the accepted ones, as measured.
        precision_lower_bound: the precision is at least this, at `confidence`.
        recall: share of the similar pairs that are accepted.
        num_pairs: how many labelled pairs it was chosen on.
        num_positives: how many of them are similar.
        num_accepted: how many of them are accepted.
        labelled_prior: num_positives / num_pairs.
        prior: share of similar pairs among those to be decided upon.
        prior_source: "labelled" (taken from the labelled pairs), "given" or
            "estimated".
        confidence: how often the promise holds.
        method: by which the threshold was chosen.
        date: of the choice, as YYYY-MM-DD, or "" if not stated.
        encoder_fingerprint: of the encoder whose distances these are, or "" if it is
            stored within that encoder.
        calibration: the curve from distance to probability, at `prior`.
        by_category: thresholds of categories that have one of their own.
    """

    max_distance: float
    target_precision: float
    precision: float
    precision_lower_bound: float
    recall: float
    num_pairs: int
    num_positives: int
    num_accepted: int
    labelled_prior: float
    prior: float
    prior_source: str
    confidence: float
    method: str
    date: str
    encoder_fingerprint: str
    calibration: Calibration
    by_category: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses values that no labelled pairs can give."""
        if not self.max_distance >= 0:
            raise ValueError(f"max_distance must be >= 0, got {self.max_distance}.")
        if not all(limit >= 0 for limit in self.by_category.values()):
            raise ValueError(f"Distances must be >= 0, got {self.by_category}.")
        shares = (
            *(self.target_precision, self.precision, self.precision_lower_bound),
            *(self.recall, self.labelled_prior, self.prior, self.confidence),
        )
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError(f"Shares lie between 0 and 1, got {shares}.")
        if not 0 < self.num_positives <= self.num_pairs:
            raise ValueError(
                f"num_positives must be between 1 and num_pairs ({self.num_pairs}), "
                f"got {self.num_positives}."
            )
        if not 0 < self.num_accepted <= self.num_pairs:
            raise ValueError(
                f"num_accepted must be between 1 and num_pairs ({self.num_pairs}), "
                f"got {self.num_accepted}."
            )
        if self.prior_source not in SOURCES:
            raise ValueError(
                f"prior_source must be one of {SOURCES}, got {self.prior_source!r}."
            )

    def probability(self, distances: np.ndarray) -> np.ndarray:
        """Returns the float64 probabilities, in the shape of `distances`."""
        return self.calibration.probability(distances)

    def limits(self, categories: Sequence[str] | np.ndarray) -> np.ndarray:
        """Returns [N] float64 thresholds; a category without its own has the global."""
        names, rows = np.unique(np.asarray(categories, object), return_inverse=True)
        limits = [self.by_category.get(name, self.max_distance) for name in names]
        return np.asarray(limits, np.float64)[rows]

    def require_for(self, fingerprint: str) -> None:
        """Refuses an encoder other than the one whose distances these were.

        Raises:
            FingerprintError: names both fingerprints.
        """
        if self.encoder_fingerprint != fingerprint:
            raise FingerprintError(
                "The threshold was chosen for the encoder "
                f"{self.encoder_fingerprint or '(not stated)'}, got {fingerprint}; "
                "distances of different encoders do not compare, choose the threshold "
                "on this encoder's distances."
            )

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON can hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Decision:
        """Returns the decision that `to_json` wrote.

        Raises:
            ModelError: a field is missing, unknown or not a possible value; or an
                earlier version wrote it, whose bound was not corrected for trying many
                thresholds.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(content, Mapping) or set(content) != names:
            found = sorted(content) if isinstance(content, Mapping) else content
            earlier = isinstance(content, Mapping) and "slope" in content
            cause = "An earlier version wrote this decision: " if earlier else ""
            raise ModelError(
                f"{cause}A saved decision has the fields {sorted(names)}, got {found}; "
                "choose the threshold again (train again), or state a distance."
            )
        try:
            curve = Calibration.from_json(content["calibration"])
            return cls(**{**content, "calibration": curve})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"The saved decision is damaged: {error} Choose the threshold again."
            ) from error
