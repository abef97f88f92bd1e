from __future__ import annotations

import math

import pytest

from simprod_tf.decider.evidence import Vocabulary
from simprod_tf.decider.evidence.words import Words


def test_words_are_told_apart_by_their_digits():
    words = ["mug", "2007", "5.5", "14111", "w120", "1500"]
    found = Words.of(words, Vocabulary({"mug": 2}, num_products=4))
    assert found.is_year.tolist() == [False, True, False, False, False, False]
    assert found.is_version.tolist() == [False, False, True, False, False, True]
    assert found.has_digit.tolist() == [False, True, True, True, True, True]
    assert [math.isnan(one) for one in found.number] == [
        True,
        False,
        False,
        False,
        True,
        False,
    ]
    assert found.number[2] == 5.5
    assert found.length.tolist() == [3, 4, 3, 5, 4, 4]
    assert found.initial[0] == ord("m")
    assert found.idf[0] == pytest.approx(math.log(3))
    assert len(found) == 6
