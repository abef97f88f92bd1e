"""How many labels a promise takes: by hand, and whether as many then do."""

from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.matching.calibration import Calibration, fit_calibration
from simprod_tf.matching.fixed_sequence import walk_outwards
from simprod_tf.matching.labels_needed import LabelsNeeded, labels_needed

# Of 100 pairs, the nearest 50 are similar with probability 3/4, no other is.
STEP = Calibration(knots=((0.0, np.log(3)), (0.49, np.log(3)), (0.5, -40.0)))
PLACES = np.arange(100) / 100


def test_the_number_by_hand() -> None:
    # 37.5 similar: all places lie within the step but the last, 2/3, which does, too.
    # q = .75, p = .6, z = 1.959964, z' = .841621:
    # ((1.959964 * .489898 + .841621 * .433013) / .15)^2 = (1.324615 / .15)^2 = 77.98
    # accepted pairs; most are accepted at 2/3 of 37.5, so 25 of 100.
    found = labels_needed(STEP, PLACES, precision=0.6, confidence=0.95)
    assert found.best_precision == pytest.approx(0.75)
    assert found.num_pairs == 312


def test_a_precision_above_the_curve_takes_no_number() -> None:
    found = labels_needed(STEP, PLACES, precision=0.8, confidence=0.95)
    assert found == LabelsNeeded(None, pytest.approx(0.75))


def drawn(n: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    labels = random.random(n) < 0.3
    distances = np.where(labels, 0.5, 1.0) + 0.2 * random.normal(size=n)
    return np.abs(distances), labels


def test_as_many_labels_give_a_threshold_most_times() -> None:
    random = np.random.default_rng(0)
    distances, labels = drawn(5_000, random)
    needed = labels_needed(
        fit_calibration(distances, labels), distances, precision=0.9, confidence=0.95
    ).num_pairs
    assert needed is not None

    def passing(n: int) -> float:
        found = [
            walk_outwards(*drawn(n, random), precision=0.9, confidence=0.95)
            for _ in range(200)
        ]
        return sum(one is not None for one in found) / len(found)

    # Four times in five by the normal approximation; a walk has places to choose from.
    assert 0.7 < passing(needed)
    assert passing(needed // 4) < 0.5
