"""Price, brand, condition, trade item number and further attributes of two products."""

from __future__ import annotations

import numpy as np
from rapidfuzz import fuzz

from simprod_tf.decider.evidence.alignment import Alignment
from simprod_tf.decider.evidence.overlap import shares
from simprod_tf.decider.evidence.prepared import PreparedProducts
from simprod_tf.decider.evidence.ragged import Taken
from simprod_tf.decider.evidence.spelling import compared

NAMES = (
    *("price_log_ratio", "prices_known", "gtin_agrees"),
    *("brand_ratio", "brands_known", "brand_least_in_title", "brand_most_in_title"),
    *("condition_agrees", "conditions_known"),
    *(
        "others_compared",
        "others_equal_share",
        "others_mean_ratio",
        "others_least_ratio",
    ),
)


def features(
    products: PreparedProducts,
    starts: np.ndarray,
    ends: np.ndarray,
    alignment: Alignment,
) -> dict[str, np.ndarray]:
    """Returns [B] columns by the `NAMES`; NaN where a side is not known."""
    price_one, price_two = products.price[starts], products.price[ends]
    condition_one, condition_two = products.condition[starts], products.condition[ends]
    both_stated = (condition_one >= 0) & (condition_two >= 0)
    gtin_one, gtin_two = products.gtin[starts], products.gtin[ends]
    both_gtin = (gtin_one != "") & (gtin_two != "")
    return {
        "price_log_ratio": np.abs(np.log(price_one / price_two)),
        "prices_known": 2.0 - np.isnan(price_one) - np.isnan(price_two),
        "gtin_agrees": np.where(both_gtin, gtin_one == gtin_two, np.nan),
        "condition_agrees": np.where(
            both_stated, condition_one == condition_two, np.nan
        ),
        "conditions_known": 1.0 * (condition_one >= 0) + (condition_two >= 0),
        **_brands(products, starts, ends, alignment),
        **_others(products, starts, ends),
    }


def _brands(
    products: PreparedProducts,
    starts: np.ndarray,
    ends: np.ndarray,
    alignment: Alignment,
) -> dict[str, np.ndarray]:
    one, two = products.brand_text[starts], products.brand_text[ends]
    known_one, known_two = (one != "").astype(bool), (two != "").astype(bool)
    ratio = compared(one, two, fuzz.token_set_ratio) / 100
    in_titles = (
        _in_title(products, starts, alignment.two),
        _in_title(products, ends, alignment.one),
    )
    return {
        "brand_ratio": np.where(known_one & known_two, ratio, np.nan),
        "brands_known": 1.0 * known_one + known_two,
        "brand_least_in_title": np.fmin(*in_titles),
        "brand_most_in_title": np.fmax(*in_titles),
    }


def _in_title(products: PreparedProducts, rows: np.ndarray, title: Taken) -> np.ndarray:
    """Returns [B] the share of a brand's IDF in the other's title, NaN without one."""
    brand = products.brand.take(rows)
    worth = products.words.idf[brand.values]
    found = brand.among(title, span=len(products.words))
    share = shares(brand.sum(worth * found), brand.sum(worth))
    return np.where(brand.count() > 0, share, np.nan)


def _others(
    products: PreparedProducts, starts: np.ndarray, ends: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns what the further columns that both fill say together."""
    one, two = products.others[starts], products.others[ends]
    both = (one > 0) & (two > 0)
    counts = both.sum(axis=1)
    ratios = (both & (one == two)).astype(np.float32)
    cells = np.nonzero(both & (one != two))
    texts = products.other_text[one[cells]], products.other_text[two[cells]]
    ratios[cells] = compared(*texts, fuzz.token_sort_ratio) / 100
    known = counts > 0
    equal = (both & (one == two)).sum(axis=1)
    least = np.where(both, ratios, 1.0).min(axis=1, initial=1.0)
    return {
        "others_compared": counts,
        "others_equal_share": np.where(known, shares(equal, counts), np.nan),
        "others_mean_ratio": np.where(known, shares(ratios.sum(1), counts), np.nan),
        "others_least_ratio": np.where(known, least, np.nan),
    }
