"""The features of all candidate pairs that need no labels, and those that need some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from simprod_tf.decider.context import context_names, pair_context, support
from simprod_tf.decider.embedding_evidence import embedding_evidence, embedding_names
from simprod_tf.decider.evidence import (
    EVIDENCE,
    TOKEN_ODDS,
    PreparedProducts,
    TokenOdds,
    evidence,
)
from simprod_tf.decider.graph import PairGraph
from simprod_tf.decider.lexical import SIMILARITIES, LexicalVectors
from simprod_tf.decider.products import DeciderProducts

# Pairs whose features are made at once.
BLOCK = 1 << 16
_SCORE = "score"
SCORES = (
    _SCORE,
    *context_names((_SCORE,)),
    "third_product_support",
    "third_product_contradiction",
)


def plain_names(views: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the features that need no labels."""
    similar = (*SIMILARITIES, *(f"{view}_embedding" for view in views))
    return (
        *EVIDENCE,
        *embedding_names(views),
        *SIMILARITIES,
        *context_names(similar),
    )


def first_names(views: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the features of the first stage."""
    return (*plain_names(views), *TOKEN_ODDS)


def second_names(views: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the features of the second stage."""
    return (*first_names(views), *SCORES)


@dataclass(frozen=True, eq=False)
class PlainFeatures:
    """What is needed for the features that need no labels, of the pairs of a graph.

    Attributes:
        products: with their embeddings.
        prepared: the same products' texts.
        graph: the E candidate pairs.
        cosines: by name [E] float32, of the texts and of the embeddings.
        context: [E, C] float32, of these cosines.
    """

    products: DeciderProducts
    prepared: PreparedProducts
    graph: PairGraph
    cosines: dict[str, np.ndarray]
    context: np.ndarray

    @classmethod
    def of(
        cls,
        products: DeciderProducts,
        prepared: PreparedProducts,
        lexical: LexicalVectors,
        graph: PairGraph,
    ) -> PlainFeatures:
        """Works out what concerns the graph as a whole."""
        starts, ends = graph.ends.T
        cosines = lexical.cosines(starts, ends)
        for view, vectors in products.embeddings.items():
            cosines[f"{view}_embedding"] = _cosines(vectors, starts, ends)
        context = pair_context(graph, cosines)
        return cls(products, prepared, graph, cosines, context)

    def rows(self, pairs: np.ndarray) -> np.ndarray:
        """Returns [P, F] float32 of the graph's pairs in these rows."""
        starts, ends = self.graph.ends[pairs].T
        texts = [self.cosines[name][pairs, None] for name in SIMILARITIES]
        return np.concatenate(
            [
                evidence(self.prepared, starts, ends),
                embedding_evidence(self.products.embeddings, starts, ends),
                *texts,
                self.context[pairs],
            ],
            axis=1,
            dtype=np.float32,
        )


def odds_rows(
    prepared: PreparedProducts,
    odds: Sequence[TokenOdds],
    ends: np.ndarray,
    folds: np.ndarray,
) -> np.ndarray:
    """Returns [P, len(TOKEN_ODDS)] float32, each pair's by the odds of its fold."""
    found = np.zeros((len(ends), len(TOKEN_ODDS)), np.float32)
    for fold, one in enumerate(odds):
        rows = np.flatnonzero(folds == fold)
        found[rows] = one.transform(prepared, ends[rows, 0], ends[rows, 1])
    return found


def score_rows(graph: PairGraph, log_odds: np.ndarray) -> np.ndarray:
    """Returns [E, len(SCORES)] float32: the first stage's scores and their context."""
    return np.concatenate(
        [
            log_odds[:, None],
            pair_context(graph, {_SCORE: log_odds}),
            support(graph, expit(log_odds)),
        ],
        axis=1,
        dtype=np.float32,
    )


def _cosines(vectors: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Returns [E] float32; NaN where the encoder does not know one of the two."""
    found = np.empty(len(starts), np.float32)
    known = vectors.any(axis=1)
    for first in range(0, len(starts), BLOCK):
        part = slice(first, first + BLOCK)
        both = known[starts[part]] & known[ends[part]]
        dots = np.einsum("pd,pd->p", vectors[starts[part]], vectors[ends[part]])
        found[part] = np.where(both, dots, np.nan)
    return found
