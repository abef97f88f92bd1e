"""The evidence of a pair of products: one row of numbers, whichever comes first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simprod_tf.decider.evidence import (
    attribute,
    code,
    number,
    overlap,
    spelling,
    whole_text,
)
from simprod_tf.decider.evidence.alignment import Alignment, aligned
from simprod_tf.decider.evidence.prepared import PreparedProducts

_Features = Callable[
    [PreparedProducts, np.ndarray, np.ndarray, Alignment], dict[str, np.ndarray]
]
_FAMILIES: dict[str, tuple[tuple[str, ...], _Features]] = {
    "overlap": (overlap.NAMES, overlap.features),
    "spelling": (spelling.NAMES, spelling.features),
    "whole_text": (whole_text.NAMES, whole_text.features),
    "code": (code.NAMES, code.features),
    "number": (number.NAMES, number.features),
    "attribute": (attribute.NAMES, attribute.features),
}
# The names of the features by kind of evidence: for ablations, and for people.
FAMILIES: dict[str, tuple[str, ...]] = {
    family: names for family, (names, _) in _FAMILIES.items()
}
EVIDENCE: tuple[str, ...] = tuple(name for names in FAMILIES.values() for name in names)
# Pairs worked on together: bounds memory to some 200 MB.
_BLOCK = 1 << 14


def evidence(
    products: PreparedProducts, starts: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Returns [P, len(EVIDENCE)] float32, NaN where something is not known.

    The pair (a, b) and the pair (b, a) have the same row: features of one side are of
    the "lighter" title, whose tokens have less IDF together, and of the "heavier" one.

    Args:
        products: of the catalogue.
        starts: [P] int64 rows.
        ends: [P] int64 rows.

    Raises:
        ValueError: the rows are not two arrays of one length.
    """
    starts, ends = np.asarray(starts, np.int64), np.asarray(ends, np.int64)
    lighter, heavier = lighter_first(products, starts, ends)
    found = np.empty((len(starts), len(EVIDENCE)), np.float32)
    for begin in range(0, len(starts), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        one, two = lighter[block], heavier[block]
        alignment = aligned(products, one, two)
        at = 0
        for names, features in _FAMILIES.values():
            columns = features(products, one, two, alignment)
            for name in names:
                found[block, at] = columns[name]
                at += 1
    return found


def lighter_first(
    products: PreparedProducts, starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (lighter, heavier), [P] int64 rows: of equal titles the first row first.

    Raises:
        ValueError: the rows are not two arrays of one length.
    """
    if starts.shape != ends.shape or starts.ndim != 1:
        raise ValueError(
            f"starts and ends must be [P] rows, got shapes {starts.shape} and "
            f"{ends.shape}."
        )
    one, two = products.title_weight[starts], products.title_weight[ends]
    swap = (one > two) | ((one == two) & (starts > ends))
    return np.where(swap, ends, starts), np.where(swap, starts, ends)
