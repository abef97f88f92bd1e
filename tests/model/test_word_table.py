"""What is known of words, and how alike two are, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.model.word_table import TitlePair, WordTable

EQUAL, COSINE, WITHIN, NEAR, MEANING = range(5)


@pytest.fixture(scope="module")
def table():
    found = WordTable(3, 2, 4, buckets=4096)
    vectors = np.array([[3, 4], [4, 3], [0, 1]], np.float32)
    found.set_words(["cup", "mug", "lamp"], vectors, idf=np.array([1.0, 2.0, 4.0]))
    return found


@pytest.fixture(scope="module")
def likes(table):
    pair = TitlePair(table)
    ours = ["cup", "f8n044-slv", "100", "350ml", "a590"]
    theirs = ["mug", "f8n044slv", "110", "cup", "eosa590dbody"]
    return pair([tf.constant([ours]), tf.constant([theirs])])["likes"][0].numpy()


def test_a_known_word_has_its_own_vector_and_frequency(table):
    _, flags, _, vectors, _, _ = table(tf.constant(["mug", "cup", "zebra", ""]))
    np.testing.assert_allclose(
        vectors, [[0.8, 0.6], [0.6, 0.8], [0, 0], [0, 0]], atol=1e-6
    )
    # The rarest and the unknown have 1.
    np.testing.assert_allclose(flags[:, 0], [0.5, 0.25, 1, 0])
    assert flags[:, 4].numpy().tolist() == [1, 1, 0, 0]


def test_numbers_and_model_numbers_are_told_apart(table):
    _, flags, *_, values = table(tf.constant(["350", "3.5", "350ml", "mug"]))
    assert flags[:, 1].numpy().tolist() == [1, 1, 0, 0]
    assert flags[:, 2].numpy().tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(values[:, 0], [np.log(351), np.log(4.5), 0, 0])


def test_padding_is_zeros(table):
    assert all(not np.any(part) for part in table(tf.constant([""])))


def test_equal_is_to_the_last_letter(likes):
    assert likes[0, 3, EQUAL] == 1
    assert likes[1, 1, EQUAL] == 0
    assert likes[..., EQUAL].sum() == 1


def test_spellings_of_one_model_number_are_alike(likes):
    assert likes[1, 1, COSINE] > 0.6
    assert np.abs(likes[1, 0, COSINE]) < 0.4


def test_a_model_number_is_found_within_a_longer_word(likes):
    # Of <a590>'s twelve n-grams a5, 59, 90, a59, 590 and a590 stand in the other.
    assert likes[4, 4, WITHIN] == pytest.approx(6 / 12, abs=0.2)
    assert likes[4, 4, WITHIN] > likes[4, 4, COSINE]


def test_numbers_are_near_by_their_ratio(likes):
    assert likes[2, 2, NEAR] == pytest.approx(1 - 5 * np.log(111 / 101), abs=1e-5)
    assert likes[..., NEAR].sum() == pytest.approx(likes[2, 2, NEAR])


def test_meaning_is_the_cosine_of_the_given_vectors(likes):
    assert likes[0, 0, MEANING] == pytest.approx(0.6 * 0.8 + 0.8 * 0.6, abs=1e-6)
    assert likes[0, 1, MEANING] == 0


def test_a_table_without_a_word_knows_letters(table):
    empty = WordTable(0, 2, 4, buckets=64)
    empty.set_words([], np.zeros((0, 2), np.float32), idf=np.zeros(0))
    learned, flags, *_ = empty(tf.constant(["mug"]))
    assert np.any(learned)
    assert flags[0, 4] == 0


def test_words_that_do_not_fit_are_refused(table):
    vectors = np.zeros((3, 2), np.float32)
    with pytest.raises(ValueError, match="expected different words"):
        table.set_words(["a", "a", "b"], vectors, idf=np.ones(3))
    with pytest.raises(ValueError, match="idf must be above 0, got 0"):
        table.set_words(["a", "b", "c"], vectors, idf=np.array([1.0, 0.0, 1.0]))
