"""A decision: limits by category, whose encoder it is for, and JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from simprod_tf.errors import FingerprintError, ModelError
from simprod_tf.matching.calibration import Calibration
from simprod_tf.matching.decision import Decision

STEPS = Calibration(knots=((0.2, 3.0), (0.9, -1.0), (1.4, -5.5)))
LINE = Calibration(slope=-6.0, intercept=4.0)


def decision(calibration: Calibration = LINE) -> Decision:
    return Decision(
        max_distance=0.6,
        target_precision=0.9,
        precision=0.94,
        precision_lower_bound=0.91,
        recall=0.5,
        num_pairs=1000,
        num_positives=300,
        num_accepted=160,
        labelled_prior=0.3,
        prior=0.05,
        prior_source="given",
        confidence=0.95,
        method="fixed sequence, Wilson bound",
        date="2026-11-23",
        encoder_fingerprint="0123456789abcdef",
        calibration=calibration,
        by_category={"mugs": 0.5, "shoes": 0.8},
    )


@pytest.mark.parametrize("calibration", [LINE, STEPS])
def test_a_decision_survives_json(calibration: Calibration) -> None:
    before = decision(calibration)
    again = Decision.from_json(json.loads(json.dumps(before.to_json())))
    assert again == before
    distances = np.linspace(0, 2, 5)
    np.testing.assert_array_equal(
        again.probability(distances), calibration.probability(distances)
    )


def test_limits_are_the_categories_own_or_the_global_one() -> None:
    limits = decision().limits(["shoes", "hats", "mugs", "shoes", ""])
    np.testing.assert_array_equal(limits, [0.8, 0.6, 0.5, 0.8, 0.6])
    assert limits.dtype == np.float64
    assert decision().limits([]).shape == (0,)
    plain = dataclasses.replace(decision(), by_category={})
    np.testing.assert_array_equal(plain.limits(np.array(["a", "mugs"])), [0.6, 0.6])


def test_another_encoder_is_refused_with_both_fingerprints() -> None:
    decision().require_for("0123456789abcdef")
    with pytest.raises(FingerprintError, match="0123456789abcdef, got fedcba98"):
        decision().require_for("fedcba98")
    unstated = dataclasses.replace(decision(), encoder_fingerprint="")
    with pytest.raises(FingerprintError, match=r"\(not stated\), got fedcba98"):
        unstated.require_for("fedcba98")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_distance": -1}, "damaged: max_distance must be >= 0, got -1"),
        ({"max_distance": "x"}, "damaged: "),
        ({"recall": 1.5}, "Shares lie between 0 and 1"),
        ({"num_positives": 0}, "num_positives must be between 1 and num_pairs"),
        ({"num_accepted": 1001}, "num_accepted must be between 1 and num_pairs"),
        ({"prior_source": "guessed"}, "prior_source must be one of .*'guessed'"),
        ({"by_category": {"mugs": -1}}, "Distances must be >= 0, got {'mugs': -1}"),
        ({"by_category": [1]}, "damaged: "),
        ({"calibration": {"slope": 1, "intercept": 0, "knots": []}}, "slope <= 0"),
        ({"calibration": {"slope": -1}}, "damaged: "),
        ({"calibration": None}, "damaged: "),
        ({"margin": 1.0}, "has the fields"),
    ],
)
def test_a_damaged_decision_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Decision.from_json({**decision().to_json(), **changes})


def test_what_is_no_decision_is_refused() -> None:
    with pytest.raises(ModelError, match="has the fields .*, got None"):
        Decision.from_json(None)  # type: ignore[arg-type]


def test_a_decision_of_the_earlier_version_is_refused_with_the_way_out() -> None:
    earlier = {
        "max_distance": 0.6,
        "target_precision": 0.9,
        "precision": 0.94,
        "precision_lower_bound": 0.91,
        "recall": 0.5,
        "num_pairs": 1000,
        "num_positives": 300,
        "prior": 0.3,
        "confidence": 0.95,
        "slope": -6.0,
        "intercept": 4.0,
    }
    message = r"^An earlier version wrote this decision: .* choose the threshold again"
    with pytest.raises(ModelError, match=message):
        Decision.from_json(earlier)
