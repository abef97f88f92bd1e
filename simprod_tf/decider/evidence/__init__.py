"""String and number evidence of pairs of products, from titles and attributes."""

from __future__ import annotations

from simprod_tf.decider.evidence.features import EVIDENCE, FAMILIES, evidence
from simprod_tf.decider.evidence.prepared import PreparedProducts
from simprod_tf.decider.evidence.token_odds import TOKEN_ODDS, TokenOdds
from simprod_tf.decider.evidence.vocabulary import Vocabulary

__all__ = [
    "EVIDENCE",
    "FAMILIES",
    "TOKEN_ODDS",
    "PreparedProducts",
    "TokenOdds",
    "Vocabulary",
    "evidence",
]
