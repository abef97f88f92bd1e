"""What exact search on TensorFlow adds to the contract."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import simprod_tf.index.exact_tf as exact_tf
from simprod_tf.index.exact import ExactIndex
from simprod_tf.index.exact_tf import TensorFlowExactIndex


@pytest.fixture
def vectors() -> np.ndarray:
    found = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    # Equal ones, more than k.
    found[200:260] = found[3]
    return found


def built(kind: type[ExactIndex], vectors: np.ndarray) -> ExactIndex:
    ids = [f"p{row}" for row in range(len(vectors))]
    index = kind.build(ids, vectors, encoder_fingerprint="f")
    assert isinstance(index, kind)
    return index


def assert_same(first: ExactIndex, second: ExactIndex, k: int) -> None:
    queries = first.embeddings
    found, expected = first.search_rows(queries, k=k), second.search_rows(queries, k=k)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.distances, expected.distances)


@pytest.mark.parametrize("k", [1, 10, 500])
def test_a_catalogue_searched_with_itself_gives_what_numpy_gives(
    vectors: np.ndarray, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 3 queries at once, and the last two of the 500 on their own.
    monkeypatch.setattr(exact_tf, "_BLOCK_SCORES", 3 * 500)
    assert_same(built(TensorFlowExactIndex, vectors), built(ExactIndex, vectors), k)


def test_a_change_after_a_search_is_seen(vectors: np.ndarray) -> None:
    index, oracle = built(TensorFlowExactIndex, vectors), built(ExactIndex, vectors)
    index.search_rows(vectors[:1])
    new = np.eye(8, dtype=np.float32)[:2]
    for one in (index, oracle):
        one.add(["new", "p0"], new)
    assert [m.id for m in index.search(new, k=1)[0]] == ["new"]
    assert [m.id for m in index.search(new, k=1)[1]] == ["p0"]
    for one in (index, oracle):
        one.remove(["new", "p7"])
    assert_same(index, oracle, 10)


def test_products_of_tf32_still_give_the_exact_answer(
    vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    def rounded(array: np.ndarray) -> np.ndarray:
        # To 10 bits of fraction, as a GPU's matrix product takes its factors.
        bits = array.view(np.int32)
        return ((bits + 0x1000) & ~0x1FFF).view(np.float32)

    def product(first: tf.Tensor, second: tf.Tensor, *, transpose_b: bool) -> tf.Tensor:
        assert transpose_b
        return tf.constant(rounded(first.numpy()) @ rounded(second.numpy()).T)

    near = vectors[:1] + np.random.default_rng(1).normal(0, 2e-4, vectors.shape)
    near = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    expected = built(ExactIndex, near).search_rows(near, k=5).rows
    monkeypatch.setattr(tf, "matmul", product)
    index = built(TensorFlowExactIndex, near)
    # Without the wider margin, right neighbours are lost.
    assert (index.search_rows(near, k=5).rows != expected).any()
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])
    assert (index.search_rows(near, k=5).rows == expected).all()


def test_its_import_loads_no_tensorflow() -> None:
    code = (
        "import sys, simprod_tf.index.exact_tf; sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
