from __future__ import annotations

import math

import numpy as np
import pytest

from simprod_tf.decider.evidence import Vocabulary
from simprod_tf.decider.evidence.grams import gram_rows, trigrams
from simprod_tf.decider.evidence.ragged import Ragged
from simprod_tf.decider.evidence.words import Words


def test_trigrams_hold_the_ends_of_a_word():
    assert trigrams("mugs") == {" mu", "mug", "ugs", "gs "}
    assert trigrams("a") == {" a "}


def test_rows_are_tf_idf_of_unit_length():
    vocabulary = Vocabulary({"ab": 1, "abc": 2}, num_products=4)
    words = Words.of(["ab", "abc"], vocabulary)
    rows = gram_rows(Ragged.of([[0], [0, 1], []]), words, vocabulary).toarray()
    # " ab" is of both tokens (3 products), "ab " of one, "abc" and "bc " of two.
    begin, end = math.log(1 + 4 / 3), math.log(1 + 4)
    cosine = rows[0] @ rows[1]
    both = (1 + math.log(2)) * begin
    other = math.log(1 + 4 / 2)
    length = math.sqrt(both**2 + end**2 + 2 * other**2)
    expected = (begin * both + end * end) / (math.hypot(begin, end) * length)
    assert cosine == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 1, 0], rtol=1e-6)
