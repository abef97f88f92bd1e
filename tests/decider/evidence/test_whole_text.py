from __future__ import annotations

import math

import pytest

LONG = "a steel kettle KT100 that boils one litre of water in no more than two minutes"


def test_a_title_is_looked_for_in_the_others_description(told):
    found = told(["steel kettle", "acme kt100 boiler red"], description=["", LONG])
    assert found["joined_share_of_lighter"] == 0
    assert found["share_of_lighter_in_whole"] == pytest.approx(1)
    assert found["unmatched_idf_of_lighter_in_whole"] == pytest.approx(0)
    assert found["share_of_heavier_in_whole"] == 0
    assert found["largest_unmatched_number_of_heavier_in_whole"] == pytest.approx(
        math.log(2)
    )


def test_a_missing_description_is_not_known(told):
    found = told(["kettle", "steel kettle"], description=["", LONG])
    assert found["texts_known"] == 1
    assert math.isnan(found["text_cosine"])
    assert math.isnan(found["text_shared_share"])


def test_descriptions_are_compared(told):
    found = told(["kettle", "red kettle"], description=[LONG, LONG])
    assert found["texts_known"] == 2
    assert found["text_cosine"] == pytest.approx(1)
    assert found["text_shared_share"] == pytest.approx(1)
    assert found["whole_cosine"] < 1
