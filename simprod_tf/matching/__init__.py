"""Neighbours -> decisions: which products are similar, and how sure that is."""

from __future__ import annotations

from simprod_tf.matching.blending import Blending, blended_index, expanded_queries
from simprod_tf.matching.calibration import (
    Calibration,
    cross_fitted_probabilities,
    fit_calibration,
)
from simprod_tf.matching.candidate_recall import CandidateRecall, RecallCounter
from simprod_tf.matching.candidates import Candidates, candidate_blocks
from simprod_tf.matching.category_threshold import choose_category_thresholds
from simprod_tf.matching.conflicts import Conflict, TraitTable, why
from simprod_tf.matching.decision import Decision
from simprod_tf.matching.decisions import Decisions, read_decisions, write_decisions
from simprod_tf.matching.explain import Explanation, explain
from simprod_tf.matching.fixed_sequence import wilson_lower_bound
from simprod_tf.matching.grouping import Groups, extend_groups, group_matches
from simprod_tf.matching.keys import KeyGroups, key_columns
from simprod_tf.matching.matcher import find_matches, match_blocks, write_matches
from simprod_tf.matching.outcome import Outcome, OutcomeCounter
from simprod_tf.matching.prior import Prior, estimate_prior
from simprod_tf.matching.rule import MatchRule, decide
from simprod_tf.matching.threshold import choose_threshold
from simprod_tf.matching.views import Views

__all__ = [
    "Blending",
    "Calibration",
    "CandidateRecall",
    "Candidates",
    "Conflict",
    "Decision",
    "Decisions",
    "Explanation",
    "Groups",
    "KeyGroups",
    "MatchRule",
    "Outcome",
    "OutcomeCounter",
    "Prior",
    "RecallCounter",
    "TraitTable",
    "Views",
    "blended_index",
    "candidate_blocks",
    "choose_category_thresholds",
    "choose_threshold",
    "cross_fitted_probabilities",
    "decide",
    "estimate_prior",
    "expanded_queries",
    "explain",
    "extend_groups",
    "find_matches",
    "fit_calibration",
    "group_matches",
    "key_columns",
    "match_blocks",
    "read_decisions",
    "why",
    "wilson_lower_bound",
    "write_decisions",
    "write_matches",
]
