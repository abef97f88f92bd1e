"""Which tokens of two titles belong together: equal, written as one, or nearly equal.

What is left on both sides is what parts two products, or what one shop leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rapidfuzz import distance, process

from simprod_tf.decider.evidence.prepared import PreparedProducts
from simprod_tf.decider.evidence.ragged import Taken, crossed

# Jaro-Winkler similarity from which two words may be one: "upg" and "upgrade" have
# .87, "std" and "standard" .83.
_NEAR = 0.8


@dataclass(frozen=True, eq=False)
class Alignment:
    """The tokens of the titles of B pairs, and how well each is matched.

    A token is matched as far as another of the pair's other title equals it; `joined`
    also where compounds do ("cyber shot" and "cybershot"); `soft` also as far as a
    word without digits is spelled like one that is left over.

    Attributes:
        one, two: the tokens of the first and of the second title, M and N entries.
        equal_one, joined_one, soft_one: [M] float64, from 0 to 1.
        equal_two, joined_two, soft_two: [N] float64, likewise.
    """

    one: Taken
    two: Taken
    equal_one: np.ndarray
    equal_two: np.ndarray
    joined_one: np.ndarray
    joined_two: np.ndarray
    soft_one: np.ndarray
    soft_two: np.ndarray


def aligned(
    products: PreparedProducts, starts: np.ndarray, ends: np.ndarray
) -> Alignment:
    """Returns the alignment of the titles in [B] rows and [B] other rows."""
    one, two = products.title.take(starts), products.title.take(ends)
    wide_one, wide_two = (products.compounds.take(rows) for rows in (starts, ends))
    span = len(products.words)
    equal_one, equal_two = one.among(two, span=span), two.among(one, span=span)
    joined_one = equal_one | one.among(wide_two, span=span)
    joined_two = equal_two | two.among(wide_one, span=span)
    joined_one |= _inside(products, one, wide_one, wide_one.among(two, span=span))
    joined_two |= _inside(products, two, wide_two, wide_two.among(one, span=span))
    left, right, near = _near(products, one, two, ~joined_one, ~joined_two)
    soft_one, soft_two = joined_one.astype(np.float64), joined_two.astype(np.float64)
    np.maximum.at(soft_one, left, near)
    np.maximum.at(soft_two, right, near)
    return Alignment(
        one,
        two,
        equal_one.astype(np.float64),
        equal_two.astype(np.float64),
        joined_one.astype(np.float64),
        joined_two.astype(np.float64),
        soft_one,
        soft_two,
    )


def _inside(
    products: PreparedProducts, title: Taken, wide: Taken, found: np.ndarray
) -> np.ndarray:
    """Returns [M] bool: which tokens are part of a compound that is `found`."""
    inside = np.zeros(len(title.lines), bool)
    begins = np.searchsorted(title.lines, wide.lines[found])
    parts = products.compound_parts[wide.places[found]]
    inside[(begins[:, None] + parts).ravel()] = True
    return inside


def _near(
    products: PreparedProducts,
    one: Taken,
    two: Taken,
    left_one: np.ndarray,
    left_two: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (entries of one, entries of two, likeness), [C]: near spellings.

    A digit makes another number or model of it; so words without digits alone, and
    those that begin alike, which spares nine comparisons of ten.
    """
    words = products.words
    plain_one = left_one & ~words.has_digit[one.values]
    plain_two = left_two & ~words.has_digit[two.values]
    left, right = crossed(one, two, keep_one=plain_one, keep_two=plain_two)
    alike = words.initial[one.values[left]] == words.initial[two.values[right]]
    left, right = left[alike], right[alike]
    near = np.zeros(0, np.float32)
    if len(left):
        near = process.cpdist(
            words.text[one.values[left]],
            words.text[two.values[right]],
            scorer=distance.JaroWinkler.similarity,
            score_cutoff=_NEAR,
            dtype=np.float32,
            workers=1,
        )
    return left, right, near
