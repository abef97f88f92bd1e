"""Numbers of two titles: versions, years, quantities with units, packs."""

from __future__ import annotations

import numpy as np

from simprod_tf.decider.evidence.alignment import Alignment
from simprod_tf.decider.evidence.prepared import PreparedProducts
from simprod_tf.decider.evidence.ragged import Taken, crossed
from simprod_tf.matching.units import DIMENSIONS

# Mixed words are those of letters and digits, as "cs3" and "w120".
_KINDS = ("number", "version", "mixed_word")
_OF_KIND = (
    "shared_{}s",
    "unmatched_{}s_of_lighter",
    "unmatched_{}s_of_heavier",
    "{}s_conflict",
)
_OF_DIMENSION = tuple(
    f"{name.split(' in ')[0].replace(' ', '_')}_agrees" for name in DIMENSIONS
)
NAMES = (
    *(name.format(kind) for kind in _KINDS for name in _OF_KIND),
    *("year_agrees", "least_number_gap"),
    *("dimensions_compared", "dimensions_agree", "dimensions_conflict"),
    *("largest_quantity_gap", "pack_agrees"),
    *_OF_DIMENSION,
)


def features(
    products: PreparedProducts,
    starts: np.ndarray,
    ends: np.ndarray,
    alignment: Alignment,
) -> dict[str, np.ndarray]:
    """Returns [B] columns by the `NAMES`; NaN where a side states nothing.

    Numbers of a kind are in conflict if both titles hold one that the other lacks.
    """
    words = products.words
    is_number = ~np.isnan(words.number)
    kinds = {
        "number": is_number,
        "version": words.is_version,
        "mixed_word": words.has_digit & ~is_number,
    }
    found: dict[str, np.ndarray] = {}
    for kind, which in kinds.items():
        columns = _of_kind(alignment, which)
        found.update(zip((name.format(kind) for name in _OF_KIND), columns))
    found["year_agrees"] = _years_agree(alignment, words.is_year)
    found["least_number_gap"] = _least_gap(alignment, words.number)
    found["pack_agrees"] = _packs_agree(
        products.packs.take(starts), products.packs.take(ends)
    )
    return found | _quantities(products, starts, ends)


def _of_kind(alignment: Alignment, which: np.ndarray) -> list[np.ndarray]:
    one, two = alignment.one, alignment.two
    of_one, of_two = which[one.values], which[two.values]
    left_one = one.count(of_one & (alignment.joined_one == 0))
    left_two = two.count(of_two & (alignment.joined_two == 0))
    shared = one.count(of_one & (alignment.joined_one > 0))
    return [shared, left_one, left_two, (left_one > 0) & (left_two > 0)]


def _years_agree(alignment: Alignment, is_year: np.ndarray) -> np.ndarray:
    one, two = alignment.one, alignment.two
    years = is_year[one.values]
    both = (one.count(years) > 0) & (two.count(is_year[two.values]) > 0)
    shared = one.count(years & (alignment.equal_one > 0)) > 0
    return np.where(both, shared, np.nan)


def _least_gap(alignment: Alignment, number: np.ndarray) -> np.ndarray:
    """Returns [B] how near two unmatched numbers come: 11 and 11.2 are 0.2 apart."""
    one, two = alignment.one, alignment.two
    left, right = crossed(
        one,
        two,
        keep_one=~np.isnan(number[one.values]) & (alignment.joined_one == 0),
        keep_two=~np.isnan(number[two.values]) & (alignment.joined_two == 0),
    )
    least = np.full(one.size, np.inf)
    gaps = np.abs(number[one.values[left]] - number[two.values[right]])
    np.minimum.at(least, one.lines[left], gaps)
    return np.where(np.isinf(least), np.nan, least)


def _packs_agree(one: Taken, two: Taken) -> np.ndarray:
    left, right = crossed(one, two)
    agree = np.full(one.size, np.nan)
    agree[one.lines[left]] = 0
    agree[one.lines[left[one.values[left] == two.values[right]]]] = 1
    return agree


def _quantities(
    products: PreparedProducts, starts: np.ndarray, ends: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns by dimension whether any two quantities agree, and sums over all.

    The gap of a dimension is the least |ln(one / other)|, 0 where any two agree.
    """
    one, two = products.quantities.take(starts), products.quantities.take(ends)
    left, right = crossed(one, two)
    same = one.values[left] == two.values[right]
    left, right = left[same], right[same]
    cells = one.lines[left], one.values[left]
    this = products.quantity_values[one.places[left]]
    that = products.quantity_values[two.places[right]]
    agrees = _within(this[:, 0], that) | _within(that[:, 0], this)
    shape = one.size, len(DIMENSIONS)
    both, agree, gap = (
        np.zeros(shape, bool),
        np.zeros(shape, bool),
        np.full(shape, np.inf),
    )
    both[cells] = True
    agree[cells[0][agrees], cells[1][agrees]] = True
    np.minimum.at(gap, cells, np.abs(np.log(this[:, 0] / that[:, 0])))
    gap[agree | ~both] = 0
    columns = {
        "dimensions_compared": both.sum(axis=1),
        "dimensions_agree": agree.sum(axis=1),
        "dimensions_conflict": (both & ~agree).sum(axis=1),
        "largest_quantity_gap": gap.max(axis=1),
    }
    stated = np.where(both, agree, np.nan)
    return columns | {name: stated[:, at] for at, name in enumerate(_OF_DIMENSION)}


def _within(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    return (bounds[:, 1] <= values) & (values <= bounds[:, 2])
