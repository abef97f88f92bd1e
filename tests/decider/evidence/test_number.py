from __future__ import annotations

import math

import pytest


def test_versions_that_differ_are_in_conflict(told):
    found = told(["nero 7 ultra", "nero 8 ultra edition"])
    assert found["versions_conflict"] == 1
    assert found["unmatched_versions_of_lighter"] == 1
    assert found["least_number_gap"] == 1


def test_a_number_on_one_side_alone_is_no_conflict(told):
    found = told(["jeopardy deluxe", "encore 14111 jeopardy deluxe"])
    assert found["unmatched_numbers_of_heavier"] == 1
    assert found["unmatched_versions_of_heavier"] == 0
    assert found["numbers_conflict"] == 0
    assert math.isnan(found["least_number_gap"])


def test_years_agree_differ_or_are_not_known(told):
    assert told(["office 2007", "office pro 2007"])["year_agrees"] == 1
    assert told(["office 2004", "office pro 2007"])["year_agrees"] == 0
    assert math.isnan(told(["office", "office pro 2007"])["year_agrees"])


def test_mixed_words_are_counted(told):
    found = told(["adobe cs3 upgrade", "adobe cs2 upgrade kit"])
    assert found["mixed_words_conflict"] == 1
    assert found["numbers_conflict"] == 0


def test_quantities_agree_across_units(told):
    found = told(["stick 2 gb", "usb stick of 2048 mb"])
    assert found["memory_agrees"] == 1
    assert found["dimensions_agree"] == found["dimensions_compared"] == 1
    assert found["largest_quantity_gap"] == 0
    assert math.isnan(found["mass_agrees"])


def test_quantities_that_differ_tell_how_far(told):
    found = told(["flour 400 g", "bag of flour 200 g"])
    assert found["mass_agrees"] == 0
    assert found["dimensions_conflict"] == 1
    assert found["largest_quantity_gap"] == pytest.approx(math.log(2))


def test_packs_agree_differ_or_are_not_known(told):
    assert told(["dvd pack of 3", "sony dvd 3 pack"])["pack_agrees"] == 1
    assert told(["dvd pack of 3", "sony dvd 5 pack"])["pack_agrees"] == 0
    assert math.isnan(told(["dvd", "sony dvd 5 pack"])["pack_agrees"])
