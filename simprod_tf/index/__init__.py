"""Embeddings of a catalogue -> the nearest products, exactly or with ScaNN."""

from __future__ import annotations

from simprod_tf.index.answer import Drift, Match
from simprod_tf.index.base import Index
from simprod_tf.index.build import build_index, load_index
from simprod_tf.index.exact import ExactIndex
from simprod_tf.index.exact_tf import TensorFlowExactIndex
from simprod_tf.index.scann import ScannIndex
from simprod_tf.index.tuning import ScannSettings
from simprod_tf.index.vectors import Neighbours
from simprod_tf.index.versions import open_current, prune, publish, rollback, switch

__all__ = [
    "Drift",
    "ExactIndex",
    "Index",
    "Match",
    "Neighbours",
    "ScannIndex",
    "ScannSettings",
    "TensorFlowExactIndex",
    "build_index",
    "load_index",
    "open_current",
    "prune",
    "publish",
    "rollback",
    "switch",
]
