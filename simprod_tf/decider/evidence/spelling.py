"""How alike two titles are, letter by letter."""

from __future__ import annotations

from typing import Any

import numpy as np
from rapidfuzz import distance, fuzz, process

from simprod_tf.decider.evidence.alignment import Alignment
from simprod_tf.decider.evidence.prepared import PreparedProducts

NAMES = (
    "title_edit_ratio",
    "title_partial_ratio",
    "title_token_sort_ratio",
    "title_token_set_ratio",
    "title_jaro_winkler",
)


def compared(one: np.ndarray, two: np.ndarray, scorer: Any) -> np.ndarray:
    """Returns [B] float32: the scorer of rapidfuzz on two arrays of texts."""
    if not len(one):
        return np.zeros(0, np.float32)
    return process.cpdist(one, two, scorer=scorer, dtype=np.float32, workers=1)


def features(
    products: PreparedProducts,
    starts: np.ndarray,
    ends: np.ndarray,
    alignment: Alignment,
) -> dict[str, np.ndarray]:
    """Returns [B] columns by the `NAMES`, from 0 to 1."""
    one, two = products.title_text[starts], products.title_text[ends]
    # Sorted once a product, where token_sort_ratio would sort in every pair.
    in_order = products.sorted_title[starts], products.sorted_title[ends]
    return {
        "title_edit_ratio": compared(one, two, fuzz.ratio) / 100,
        "title_partial_ratio": compared(one, two, fuzz.partial_ratio) / 100,
        "title_token_sort_ratio": compared(*in_order, fuzz.ratio) / 100,
        "title_token_set_ratio": compared(one, two, fuzz.token_set_ratio) / 100,
        "title_jaro_winkler": compared(one, two, distance.JaroWinkler.similarity),
    }
