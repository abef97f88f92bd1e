"""Titles against all that the other product says, and descriptions with another."""

from __future__ import annotations

import numpy as np

from simprod_tf.decider.evidence.alignment import Alignment
from simprod_tf.decider.evidence.overlap import shares
from simprod_tf.decider.evidence.prepared import PreparedProducts
from simprod_tf.decider.evidence.ragged import Taken

_OF_SIDE = (
    "share_of_{}_in_whole",
    "unmatched_idf_of_{}_in_whole",
    "largest_unmatched_of_{}_in_whole",
    "largest_unmatched_number_of_{}_in_whole",
)
NAMES = (
    *(name.format(side) for side in ("lighter", "heavier") for name in _OF_SIDE),
    *("text_cosine", "text_shared_share", "texts_known", "whole_cosine"),
)


def features(
    products: PreparedProducts,
    starts: np.ndarray,
    ends: np.ndarray,
    alignment: Alignment,
) -> dict[str, np.ndarray]:
    """Returns [B] columns by the `NAMES`; NaN where a description is missing."""
    whole_one, whole_two = products.whole.take(starts), products.whole.take(ends)
    text_one, text_two = products.text.take(starts), products.text.take(ends)
    known = (text_one.count() > 0) * 1.0 + (text_two.count() > 0)
    cosine, shared = _likeness(products, text_one, text_two)
    whole_cosine, _ = _likeness(products, whole_one, whole_two)
    sides = (
        ("lighter", alignment.one, alignment.joined_one, whole_two),
        ("heavier", alignment.two, alignment.joined_two, whole_one),
    )
    found: dict[str, np.ndarray] = {}
    for side, title, matched, whole in sides:
        columns = _of_side(products, title, matched > 0, whole)
        found.update(zip((name.format(side) for name in _OF_SIDE), columns))
    return found | {
        "text_cosine": np.where(known == 2, cosine, np.nan),
        "text_shared_share": np.where(known == 2, shared, np.nan),
        "texts_known": known,
        "whole_cosine": whole_cosine,
    }


def _of_side(
    products: PreparedProducts, title: Taken, matched: np.ndarray, whole: Taken
) -> list[np.ndarray]:
    found = matched | title.among(whole, span=len(products.words))
    worth = products.words.idf[title.values]
    left = worth * ~found
    return [
        shares(title.sum(worth * found), title.sum(worth)),
        title.sum(left),
        title.max(left),
        title.max(left * products.words.has_digit[title.values]),
    ]


def _likeness(
    products: PreparedProducts, one: Taken, two: Taken
) -> tuple[np.ndarray, np.ndarray]:
    """Returns [B] cosines of TF-IDF, and [B] shared IDF by that of either."""
    both = one.among(two, span=len(products.words))
    worth_one, worth_two = (
        products.words.idf[one.values],
        products.words.idf[two.values],
    )
    lengths = np.sqrt(one.sum(worth_one**2) * two.sum(worth_two**2))
    shared = one.sum(worth_one * both)
    either = one.sum(worth_one) + two.sum(worth_two) - shared
    return shares(one.sum(worth_one**2 * both), lengths), shares(shared, either)
