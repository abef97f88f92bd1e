from __future__ import annotations

import math

import numpy as np
import pytest

from simprod_tf.evaluation.cuts import (
    Cuts,
    area_under_roc,
    average_precision,
    highest_f1,
    highest_recall,
    last_of_ties,
)


def test_ties_end_where_the_value_changes() -> None:
    ascending = np.array([0.1, 0.1, 0.2, 0.3, 0.3, 0.3])
    assert last_of_ties(ascending).tolist() == [1, 2, 5]
    assert last_of_ties(np.empty(0)).tolist() == []


def test_a_cut_that_no_pair_was_drawn_for_changes_nothing() -> None:
    drawn = Cuts(np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.0, 2.0]))
    idle = Cuts(
        np.array([0.0, 1.0, 1.0, 2.0, 4.0]), np.array([0.0, 1.0, 1.0, 1.0, 2.0])
    )
    for measure in (average_precision, area_under_roc, highest_f1):
        assert measure(idle) == pytest.approx(measure(drawn))
    assert highest_recall(idle, precision=0.9) == highest_recall(drawn, precision=0.9)


def test_no_cuts_have_no_measures() -> None:
    nothing = Cuts(np.empty(0), np.empty(0))
    assert (nothing.num_similar, nothing.num_others) == (0, 0)
    assert math.isnan(average_precision(nothing))
    assert math.isnan(area_under_roc(nothing))
    assert math.isnan(highest_f1(nothing))
    assert math.isnan(highest_recall(nothing, precision=0.5))
