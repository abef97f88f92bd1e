import numpy as np
import pytest

from simprod_tf.decider.embedding_evidence import embedding_evidence, embedding_names


def test_evidence_of_embeddings_by_hand():
    vectors = np.array([[1, 0, 0], [0.6, 0.8, 0], [0, 0, 0]], np.float32)
    found = embedding_evidence({"both": vectors}, np.array([0, 0]), np.array([1, 2]))
    names = embedding_names(["both"])
    first = dict(zip(names, found[0]))
    assert first["both_embedding_cosine"] == pytest.approx(0.6)
    assert first["both_embedding_most_apart"] == pytest.approx(0.8)
    assert first["both_embedding_apart_in_most"] == pytest.approx(1.0)
    assert first["both_embedding_most_shared"] == pytest.approx(0.6)
    # Nothing is known of the third product.
    assert np.isnan(found[1]).all()


def test_a_difference_in_few_dimensions_is_told_from_one_in_many():
    many = np.ones((1, 32), np.float32) / np.sqrt(32)
    few = many.copy()
    few[0, 0] += 0.5
    vectors = np.concatenate([many, few, np.roll(np.eye(32, dtype=np.float32), 1)])
    found = embedding_evidence({"x": vectors}, np.array([0, 0]), np.array([1, 2]))
    assert found[0, 2] == pytest.approx(1.0, abs=1e-6)
    assert found[1, 2] < 1.0


def test_the_order_of_two_does_not_count_and_no_view_is_no_column():
    vectors = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    starts, ends = np.array([0, 3, 5]), np.array([1, 2, 8])
    one = embedding_evidence({"x": vectors}, starts, ends)
    assert (one == embedding_evidence({"x": vectors}, ends, starts)).all()
    assert embedding_evidence({}, starts, ends).shape == (3, 0)
