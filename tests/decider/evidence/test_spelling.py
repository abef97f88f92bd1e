from __future__ import annotations

import numpy as np
import pytest
from rapidfuzz import distance, fuzz

from simprod_tf.decider.evidence.spelling import compared


def test_ratios_are_those_of_rapidfuzz(told):
    one, two = "canon power shot a590", "power shot a590 camera by canon"
    found = told([one, two])
    assert found["title_edit_ratio"] == pytest.approx(fuzz.ratio(one, two) / 100)
    assert found["title_partial_ratio"] == pytest.approx(
        fuzz.partial_ratio(one, two) / 100
    )
    assert found["title_token_sort_ratio"] == pytest.approx(
        fuzz.token_sort_ratio(one, two) / 100
    )
    assert found["title_token_set_ratio"] == pytest.approx(
        fuzz.token_set_ratio(one, two) / 100
    )
    assert found["title_jaro_winkler"] == pytest.approx(
        distance.JaroWinkler.similarity(one, two)
    )


def test_nothing_is_compared_with_nothing():
    none = np.array([], object)
    assert compared(none, none, fuzz.ratio).shape == (0,)
