from __future__ import annotations

import math

import numpy as np
import pytest

from simprod_tf.decider.evidence import EVIDENCE, PreparedProducts, Vocabulary, evidence
from simprod_tf.decider.evidence.overlap import shares


def weighed(catalog_of, titles, counts, size):
    products = PreparedProducts.prepare(
        catalog_of(titles), Vocabulary(counts, num_products=size)
    )
    row = evidence(products, np.array([0]), np.array([1]))[0]
    return dict(zip(EVIDENCE, row.tolist()))


def test_overlap_is_weighed_by_idf(catalog_of):
    # mug ln 2, red ln 3, tall ln 5, blue and small ln 9.
    counts = {"mug": 8, "red": 4, "tall": 2, "blue": 1, "small": 1}
    found = weighed(catalog_of, ["red tall mug", "blue small mug"], counts, 8)
    lighter, heavier = math.log(2 * 3 * 5), math.log(2 * 9 * 9)
    assert found["equal_shared_idf"] == pytest.approx(math.log(2))
    assert found["equal_share_of_lighter"] == pytest.approx(math.log(2) / lighter)
    assert found["equal_share_of_heavier"] == pytest.approx(math.log(2) / heavier)
    assert found["equal_shared_share"] == pytest.approx(
        2 * math.log(2) / (lighter + heavier)
    )
    assert found["equal_largest_unmatched_of_lighter"] == pytest.approx(math.log(5))
    assert found["equal_unmatched_idf_of_heavier"] == pytest.approx(math.log(81))
    assert found["largest_shared_idf"] == pytest.approx(math.log(2))
    lengths = math.sqrt(
        sum(math.log(n) ** 2 for n in (2, 3, 5))
        * sum(math.log(n) ** 2 for n in (2, 9, 9))
    )
    assert found["title_cosine"] == pytest.approx(math.log(2) ** 2 / lengths)
    assert found["title_idf_of_lighter"] == pytest.approx(lighter)


def test_views_match_more_and_more(told):
    found = told(["acme cyber shot upg", "acme cybershot upgrade"])
    assert found["equal_unmatched_tokens_of_lighter"] == 2
    assert found["joined_unmatched_tokens_of_lighter"] == 1
    assert 0 < found["soft_unmatched_tokens_of_lighter"] < 0.2


def test_first_tokens_are_compared_and_looked_for(told):
    found = told(["sony camera", "camera by sony"])
    assert found["first_token_agrees"] == 0
    assert found["first_of_lighter_shared"] == found["first_of_heavier_shared"] == 1
    found = told(["sony camera", "sony lens kit"])
    assert found["first_token_agrees"] == 1
    assert told(["sony camera", "nikon lens kit"])["first_of_lighter_shared"] == 0


def test_equal_titles_have_cosines_of_one(told):
    found = told(["red mug", "mug red"])
    assert found["title_cosine"] == pytest.approx(1)
    assert found["title_gram_cosine"] == pytest.approx(1)


def test_a_share_of_nothing_is_zero():
    assert shares(np.array([0.0, 1.0]), np.array([0.0, 4.0])).tolist() == [0, 0.25]
