"""Embeddings of a catalogue -> the nearest products, exactly or with ScaNN."""

from __future__ import annotations

from simprod_tf.index.base import Index, Match
from simprod_tf.index.build import build_index, load_index
from simprod_tf.index.exact import ExactIndex
from simprod_tf.index.scann import ScannIndex
from simprod_tf.index.vectors import Neighbours

__all__ = [
    "ExactIndex",
    "Index",
    "Match",
    "Neighbours",
    "ScannIndex",
    "build_index",
    "load_index",
]
