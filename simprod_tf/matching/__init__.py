"""Neighbours -> decisions: which products are similar, and how sure that is."""

from __future__ import annotations

from simprod_tf.matching.calibration import Calibration, fit_calibration
from simprod_tf.matching.grouping import Groups, group_matches
from simprod_tf.matching.matcher import find_matches
from simprod_tf.matching.threshold import (
    Decision,
    choose_threshold,
    wilson_lower_bound,
)

__all__ = [
    "Calibration",
    "Decision",
    "Groups",
    "choose_threshold",
    "find_matches",
    "fit_calibration",
    "group_matches",
    "wilson_lower_bound",
]
