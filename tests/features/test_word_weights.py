"""Weights of words: hand-worked, against scikit-learn, SVD and plain loops."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from simprod_tf.features.word_vectors import NO_WORDS, WordVectors
from simprod_tf.features.word_weights import (
    WEIGHTINGS,
    Coverage,
    WordCounts,
    bucket_weights,
    common_component,
    coverage,
    idf_weights,
    sif_weights,
    word_weights,
)

TITLES = [["red", "mug"], ["red", "red", "shoe"], [], ["mug", "cup", "red"]]


def test_counts_of_tokens_and_of_titles():
    counts = WordCounts(TITLES)
    assert counts.num_titles == 3
    assert counts.num_tokens == 8
    assert counts.tokens == {"red": 4, "mug": 2, "shoe": 1, "cup": 1}
    assert counts.titles == {"red": 3, "mug": 2, "shoe": 1, "cup": 1}
    assert counts.words(min_count=2) == {"red", "mug"}
    assert counts.words() == {"red", "mug", "shoe", "cup"}


def test_weights_by_hand():
    counts = WordCounts(TITLES)
    words = ("red", "shoe", "new")
    assert word_weights("plain", words, counts).tolist() == [1, 1, 1]
    assert word_weights("idf", words, counts) == pytest.approx(
        [1, math.log(4 / 2) + 1, math.log(4) + 1]
    )
    assert word_weights("sif", words, counts) == pytest.approx(
        [0.001 / 0.501, 0.001 / 0.126, 1]
    )
    assert sif_weights(["red"], counts, a=0.5) == pytest.approx([0.5])
    assert WEIGHTINGS == ("plain", "idf", "sif")


@pytest.mark.parametrize("weighting", ["plain", "idf", "sif"])
def test_weights_without_titles_or_words_are_finite(weighting):
    assert np.isfinite(word_weights(weighting, ["red"], WordCounts())).all()
    none = word_weights(weighting, [], WordCounts(TITLES))
    assert none.shape == (0,)
    assert none.dtype == np.float32


def test_idf_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    titles = [list(rng.choice(list("abcdefgh"), 3)) for _ in range(50)]
    oracle = TfidfVectorizer(analyzer=lambda title: title).fit(titles)
    words = list(oracle.get_feature_names_out())
    found = idf_weights(words, WordCounts(titles))
    assert found == pytest.approx(oracle.idf_, rel=1e-6)


def test_unknown_weightings_are_refused():
    with pytest.raises(ValueError, match="one of plain, idf, sif, got 'bm25'"):
        word_weights("bm25", [], WordCounts())
    with pytest.raises(ValueError, match="a must be positive, got 0"):
        sif_weights([], WordCounts(), a=0)


def random_titles(num_titles, *, seed=0):
    rng = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(30)]
    vectors = WordVectors(tuple(words), rng.normal(0.3, 1, (30, 6)).astype(np.float32))
    titles = [
        list(rng.choice([*words, "strange"], rng.integers(0, 6)))
        for _ in range(num_titles)
    ]
    return vectors, rng.uniform(0.1, 1, 30).astype(np.float32), titles


def title_vectors(vectors, weights, titles):
    """The same by plain loops."""
    found = []
    for title in titles:
        rows = [vectors.words.index(word) for word in title if word in vectors.words]
        if rows:
            found.append(
                sum(weights[r] * vectors.vectors[r].astype(float) for r in rows)
                / len(rows)
            )
    return np.array(found)


# More than one batch of 4,096.
@pytest.mark.parametrize("num_titles", [20, 9000])
def test_common_component_is_the_first_singular_vector(num_titles):
    vectors, weights, titles = random_titles(num_titles)
    found = common_component(vectors, weights, titles)
    rows = title_vectors(vectors, weights, titles)
    svd = TruncatedSVD(1, algorithm="arpack").fit(rows).components_[0]
    assert found.dtype == np.float32
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    assert abs(found @ svd) == pytest.approx(1, abs=1e-6)
    assert found[np.argmax(np.abs(found))] > 0


def test_common_component_by_hand():
    # The titles' vectors are (0, -2), (0, -2) and (0.5, 0): the second axis wins, and
    # its sign is turned.
    vectors = WordVectors(("a", "b"), np.array([[0, -2], [1, 0]], np.float32))
    weights = np.array([1, 0.5], np.float32)
    found = common_component(vectors, weights, [["a"], ["a", "x", "a"], ["b"], []])
    assert found == pytest.approx([0, 1], abs=1e-7)


def test_titles_without_known_words_have_no_common_component():
    vectors = WordVectors(("a",), np.ones((1, 3), np.float32))
    one = np.ones(1, np.float32)
    assert common_component(vectors, one, [["b"], []]).tolist() == [0, 0, 0]
    assert common_component(NO_WORDS, one[:0], [["b"]]).tolist() == [0]
    with pytest.raises(ValueError, match=r"one weight a word, \[1\], got \(2,\)"):
        common_component(vectors, np.ones(2, np.float32), [])


def test_bucket_weights_by_hand():
    # Three known words, so bucket 0 has id 4. "b" has two ids, both of bucket 2: each
    # counts half of its 3, and the word once. Nothing falls into bucket 3.
    ids = np.array([[4, 5, 0], [6, 6, 0], [4, 5, 6], [0, 0, 0]], np.int32)
    weights = np.array([1, 3, 6, 9], np.float32)
    found = bucket_weights(list("abcd"), weights, ids, num_words=3, buckets=4)
    assert found == pytest.approx(
        [(0.5 + 2) / 2, (0.5 + 2) / 2, (1.5 + 2) / 2, 0], rel=1e-6
    )
    assert found.dtype == np.float32


def test_bucket_weights_are_those_of_a_loop():
    rng = np.random.default_rng(1)
    ids = rng.integers(11, 11 + 7, (40, 5)).astype(np.int32)
    ids[rng.uniform(size=ids.shape) < 0.4] = 0
    weights = rng.uniform(size=40).astype(np.float32)
    words = [str(i) for i in range(40)]
    expected = []
    for bucket in range(8):
        shares = [
            weight / sum(id > 0 for id in row)
            for weight, row in zip(weights, ids)
            if 11 + bucket in row
        ]
        expected.append(np.mean(shares) if shares else 0)
    found = bucket_weights(words, weights, ids, num_words=10, buckets=8)
    assert found == pytest.approx(expected, rel=1e-6)


def test_bucket_weights_without_words_or_buckets():
    nothing, no_ids = np.zeros(0, np.float32), np.zeros((0, 3), np.int32)
    found = bucket_weights([], nothing, no_ids, num_words=2, buckets=3)
    assert found.tolist() == [0, 0, 0]
    assert bucket_weights([], nothing, no_ids, num_words=2, buckets=0).shape == (0,)


def test_bucket_weights_refuse_what_does_not_fit():
    one = np.ones(1, np.float32)
    with pytest.raises(ValueError, match=r"each of 2 words, got weights \(1,\)"):
        bucket_weights(["a", "b"], one, np.ones((1, 1), int), num_words=0, buckets=1)
    for id in (3, 6):
        with pytest.raises(ValueError, match=rf"0 or 4 to 5, got {id} to {id}"):
            bucket_weights(["a"], one, np.array([[id]]), num_words=3, buckets=2)


def test_coverage_by_hand():
    titles = [*TITLES, ["hat", "hat"], ["bag"]]
    found = coverage(titles, ("red", "shoe", "never"))
    assert found == Coverage(
        11, 5, 5, 3, (("hat", 2), ("mug", 2), ("bag", 1), ("cup", 1))
    )
    assert found.token_share == pytest.approx(5 / 11)
    assert found.title_share == pytest.approx(3 / 5)
    assert str(found) == (
        "45.5% of 11 words and 60.0% of 5 titles are known; most frequent unknown "
        "words: hat (2), mug (2), bag (1), cup (1)"
    )


def test_coverage_as_json():
    found = json.loads(json.dumps(coverage([["a", "b"]], ["a"]).to_json()))
    assert found == {
        "num_tokens": 2,
        "known_tokens": 1,
        "num_titles": 1,
        "known_titles": 1,
        "unknown": [["b", 1]],
        "token_share": 0.5,
        "title_share": 1.0,
    }


def test_coverage_lists_at_most_fifty_unknown_words():
    found = coverage([[f"w{i:02}" for i in range(60)]], [])
    assert [word for word, _ in found.unknown] == [f"w{i:02}" for i in range(50)]
    assert found.known_titles == 0


def test_coverage_of_no_titles_or_of_all():
    found = coverage([[], []], ["a"])
    assert (found.token_share, found.title_share, found.num_titles) == (0, 0, 0)
    assert str(coverage([["a"]], ["a"])) == (
        "100.0% of 1 words and 100.0% of 1 titles are known"
    )
    with pytest.raises(ValueError, match="more is known than there is"):
        Coverage(1, 2, 1, 1, ())
