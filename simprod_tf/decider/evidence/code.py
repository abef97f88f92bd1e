"""Model and part numbers of two products: shared, nearly so, or in conflict."""

from __future__ import annotations

import numpy as np
from rapidfuzz import distance

from simprod_tf.decider.evidence.alignment import Alignment
from simprod_tf.decider.evidence.prepared import PreparedProducts
from simprod_tf.decider.evidence.ragged import Taken, crossed
from simprod_tf.decider.evidence.spelling import compared

_OF_SIDE = (
    "codes_of_{}",
    "codes_of_{}_found",
    "largest_unmatched_code_of_{}",
    "largest_code_of_{}_not_found",
)
NAMES = (
    *(name.format(side) for side in ("lighter", "heavier") for name in _OF_SIDE),
    *("shared_codes", "largest_shared_code_idf", "longest_shared_code"),
    *("largest_found_code_idf", "longest_found_code"),
    *("codes_conflict", "codes_conflict_everywhere"),
    *("codes_edit_ratio", "codes_common_prefix", "codes_one_in_other"),
    *("models_known", "model_ratio", "model_begins_alike", "model_found"),
)


def features(
    products: PreparedProducts,
    starts: np.ndarray,
    ends: np.ndarray,
    alignment: Alignment,
) -> dict[str, np.ndarray]:
    """Returns [B] columns by the `NAMES`; NaN where a side has no code.

    A code is shared if both titles (or model numbers) have it, and found if it stands
    anywhere with the other product. A conflict is that both have codes and share none.
    """
    words, span = products.words, len(products.words)
    one, two = products.codes.take(starts), products.codes.take(ends)
    shared_one, shared_two = one.among(two, span=span), two.among(one, span=span)
    found_one = shared_one | one.among(*_written(products, ends), span=span)
    found_two = shared_two | two.among(*_written(products, starts), span=span)
    both = (one.count() > 0) & (two.count() > 0)
    worth_one, worth_two = words.idf[one.values], words.idf[two.values]
    length_one, length_two = words.length[one.values], words.length[two.values]
    shared = one.count(shared_one)
    found = one.count(found_one) + two.count(found_two)
    sides = (
        ("lighter", one, shared_one, found_one),
        ("heavier", two, shared_two, found_two),
    )
    columns = {
        name.format(side): column
        for side, *taken in sides
        for name, column in zip(_OF_SIDE, _of_side(products, *taken))
    }
    columns |= {
        "shared_codes": shared,
        "largest_shared_code_idf": one.max(worth_one * shared_one),
        "longest_shared_code": one.max(length_one * shared_one),
        "largest_found_code_idf": np.maximum(
            one.max(worth_one * found_one), two.max(worth_two * found_two)
        ),
        "longest_found_code": np.maximum(
            one.max(length_one * found_one), two.max(length_two * found_two)
        ),
        "codes_conflict": np.where(both, shared == 0, np.nan),
        "codes_conflict_everywhere": np.where(both, found == 0, np.nan),
    }
    columns |= _nearest(products, one, two, ~shared_one, ~shared_two)
    return columns | _models(products, starts, ends)


def _written(products: PreparedProducts, rows: np.ndarray) -> list[Taken]:
    """Returns all that a code of the other product may stand in."""
    lists = products.other_codes, products.whole, products.compounds
    return [one.take(rows) for one in lists]


def _of_side(
    products: PreparedProducts, codes: Taken, shared: np.ndarray, found: np.ndarray
) -> list[np.ndarray]:
    worth = products.words.idf[codes.values]
    return [
        codes.count(),
        codes.count(found),
        codes.max(worth * ~shared),
        codes.max(worth * ~found),
    ]


def _nearest(
    products: PreparedProducts,
    one: Taken,
    two: Taken,
    left_one: np.ndarray,
    left_two: np.ndarray,
) -> dict[str, np.ndarray]:
    """Returns of each pair the largest likeness of two codes that are not shared.

    By edits; by how much of the shorter code both begin with; and whether one begins
    or ends with the whole of the other.
    """
    left, right = crossed(one, two, keep_one=left_one, keep_two=left_two)
    words = products.words
    texts = words.text[one.values[left]], words.text[two.values[right]]
    shorter = np.minimum(
        words.length[one.values[left]], words.length[two.values[right]]
    )
    begin = compared(*texts, distance.Prefix.similarity)
    end = compared(*texts, distance.Postfix.similarity)
    edits = compared(*texts, distance.Levenshtein.normalized_similarity)
    likeness = {
        "codes_edit_ratio": edits,
        "codes_common_prefix": begin / shorter,
        "codes_one_in_other": np.maximum(begin, end) >= shorter,
    }
    columns = {}
    for name, values in likeness.items():
        most = np.full(one.size, -1.0)
        np.maximum.at(most, one.lines[left], values)
        columns[name] = np.where(most < 0, np.nan, most)
    return columns


def _models(
    products: PreparedProducts, starts: np.ndarray, ends: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns what the columns of model numbers say."""
    one, two = products.model_text[starts], products.model_text[ends]
    known = (one != "").astype(np.float64), (two != "").astype(np.float64)
    both = (known[0] > 0) & (known[1] > 0)
    lengths = [
        np.fromiter(map(len, side), np.float64, len(side)) for side in (one, two)
    ]
    shorter = np.maximum(1, np.minimum(*lengths))
    begin = compared(one, two, distance.Prefix.similarity) / shorter
    ratio = compared(one, two, distance.Levenshtein.normalized_similarity)
    found = [
        _model_found(products, own, other)
        for own, other in ((starts, ends), (ends, starts))
    ]
    return {
        "models_known": known[0] + known[1],
        "model_ratio": np.where(both, ratio, np.nan),
        "model_begins_alike": np.where(both, begin, np.nan),
        "model_found": np.fmax(*found),
    }


def _model_found(
    products: PreparedProducts, own: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Returns [B] whether the other product names the model, NaN without one."""
    model = products.model.take(own)
    places = [products.codes.take(other), *_written(products, other)]
    found = model.max(model.among(*places, span=len(products.words)) * 1.0)
    return np.where(model.count() > 0, found, np.nan)
