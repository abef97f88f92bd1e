"""Shared and unmatched tokens of two titles, weighted by IDF."""

from __future__ import annotations

import numpy as np

from simprod_tf.decider.evidence.alignment import Alignment
from simprod_tf.decider.evidence.prepared import PreparedProducts

# As `Alignment` has them: each lets more count as matched than the one before.
VIEWS = ("equal", "joined", "soft")
_OF_VIEW = (
    *("shared_idf", "shared_share"),
    *("share_of_lighter", "share_of_heavier"),
    *("unmatched_idf_of_lighter", "unmatched_idf_of_heavier"),
    *("largest_unmatched_of_lighter", "largest_unmatched_of_heavier"),
    *("unmatched_tokens_of_lighter", "unmatched_tokens_of_heavier"),
)
NAMES = (
    *(f"{view}_{name}" for view in VIEWS for name in _OF_VIEW),
    *("title_cosine", "title_gram_cosine", "shared_tokens", "largest_shared_idf"),
    *("tokens_of_lighter", "tokens_of_heavier"),
    *("title_idf_of_lighter", "title_idf_of_heavier"),
    *("first_token_agrees", "first_of_lighter_shared", "first_of_heavier_shared"),
)
_TINY = 1e-9


def shares(parts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Returns parts / totals, 0 where the total is 0."""
    return parts / np.maximum(totals, _TINY)


def features(
    products: PreparedProducts,
    starts: np.ndarray,
    ends: np.ndarray,
    alignment: Alignment,
) -> dict[str, np.ndarray]:
    """Returns [B] columns by the `NAMES`; `starts` are the lighter titles.

    Shares are of IDF; `title_cosine` is that of the two rows of TF-IDF.
    """
    found: dict[str, np.ndarray] = {}
    for view in VIEWS:
        columns = _of_view(products, alignment, view)
        found.update({f"{view}_{name}": one for name, one in columns.items()})
    return found | _of_titles(products, starts, ends, alignment)


def _of_view(
    products: PreparedProducts, alignment: Alignment, view: str
) -> dict[str, np.ndarray]:
    one, two = alignment.one, alignment.two
    matched_one = getattr(alignment, f"{view}_one")
    matched_two = getattr(alignment, f"{view}_two")
    worth_one, worth_two = (
        products.words.idf[one.values],
        products.words.idf[two.values],
    )
    total_one, total_two = one.sum(worth_one), two.sum(worth_two)
    shared_one = one.sum(worth_one * matched_one)
    shared_two = two.sum(worth_two * matched_two)
    return {
        "shared_idf": (shared_one + shared_two) / 2,
        "shared_share": shares(shared_one + shared_two, total_one + total_two),
        "share_of_lighter": shares(shared_one, total_one),
        "share_of_heavier": shares(shared_two, total_two),
        "unmatched_idf_of_lighter": total_one - shared_one,
        "unmatched_idf_of_heavier": total_two - shared_two,
        "largest_unmatched_of_lighter": one.max(worth_one * (1 - matched_one)),
        "largest_unmatched_of_heavier": two.max(worth_two * (1 - matched_two)),
        "unmatched_tokens_of_lighter": one.sum(1 - matched_one),
        "unmatched_tokens_of_heavier": two.sum(1 - matched_two),
    }


def _of_titles(
    products: PreparedProducts,
    starts: np.ndarray,
    ends: np.ndarray,
    alignment: Alignment,
) -> dict[str, np.ndarray]:
    one, two = alignment.one, alignment.two
    worth_one, worth_two = (
        products.words.idf[one.values],
        products.words.idf[two.values],
    )
    lengths = np.sqrt(one.sum(worth_one**2) * two.sum(worth_two**2))
    grams = products.grams
    cosines = np.asarray(grams[starts].multiply(grams[ends]).sum(axis=1)).ravel()
    first_one, first_two = products.first[starts], products.first[ends]
    is_first_one = one.values == first_one[one.lines]
    is_first_two = two.values == first_two[two.lines]
    return {
        "title_cosine": shares(one.sum(worth_one**2 * alignment.equal_one), lengths),
        "title_gram_cosine": cosines,
        "shared_tokens": one.sum(alignment.equal_one),
        "largest_shared_idf": one.max(worth_one * alignment.joined_one),
        "tokens_of_lighter": one.count(),
        "tokens_of_heavier": two.count(),
        "title_idf_of_lighter": products.title_weight[starts],
        "title_idf_of_heavier": products.title_weight[ends],
        "first_token_agrees": (first_one == first_two) & (first_one >= 0),
        "first_of_lighter_shared": one.max(is_first_one * alignment.joined_one),
        "first_of_heavier_shared": two.max(is_first_two * alignment.joined_two),
    }
