from __future__ import annotations

import math

import pytest

PAIR = ["camera", "sony camera"]


def test_prices_are_compared_by_ratio(told):
    found = told(PAIR, price=["$100", "200.00"])
    assert found["price_log_ratio"] == pytest.approx(math.log(2))
    assert found["prices_known"] == 2
    found = told(PAIR, price=["$100", ""])
    assert math.isnan(found["price_log_ratio"])
    assert found["prices_known"] == 1


def test_a_catalogue_without_columns_knows_nothing_of_them(told):
    found = told(PAIR)
    unknown = {
        *("price_log_ratio", "gtin_agrees", "brand_ratio", "condition_agrees"),
        *("brand_least_in_title", "brand_most_in_title"),
        *("others_equal_share", "others_mean_ratio", "others_least_ratio"),
    }
    assert all(math.isnan(found[name]) for name in unknown)
    assert found["brands_known"] == found["others_compared"] == 0


def test_brands_are_compared_and_looked_for_in_titles(told):
    found = told(PAIR, brand=["Sony", "Sony Corp"])
    assert found["brand_ratio"] == 1
    assert found["brands_known"] == 2
    assert found["brand_most_in_title"] == 1
    assert found["brand_least_in_title"] == 0
    found = told(PAIR, brand=["Sony", ""])
    assert math.isnan(found["brand_ratio"])
    assert found["brand_least_in_title"] == found["brand_most_in_title"] == 1


def test_trade_item_numbers_agree_or_differ(told):
    assert told(PAIR, ean=["4006381333931"] * 2)["gtin_agrees"] == 1
    assert told(PAIR, ean=["4006381333931", "96385074"])["gtin_agrees"] == 0
    assert math.isnan(told(PAIR, ean=["4006381333931", "n/a"])["gtin_agrees"])


def test_conditions_agree_or_differ(told):
    assert told(["camera used", "sony camera refurbished"])["condition_agrees"] == 0
    found = told(PAIR, condition=["refurbished", "renewed"])
    assert found["condition_agrees"] == 1
    assert found["conditions_known"] == 2


def test_further_columns_are_summed_up(told):
    found = told(
        PAIR,
        colour=["red", "Red"],
        material=["steel", "wood"],
        season=["", "summer"],
    )
    assert found["others_compared"] == 2
    assert found["others_equal_share"] == 0.5
    # "steel" and "wood" have no common letter in order.
    assert found["others_least_ratio"] == 0
    assert found["others_mean_ratio"] == 0.5
