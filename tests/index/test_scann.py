"""What the tree of ScaNN adds to the contract: it may miss, but little."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from simprod_tf.errors import ModelError
from simprod_tf.index import ExactIndex, ScannIndex, load_index
from simprod_tf.manifest import file_sha256

N, DIM = 25_000, 64


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    random = np.random.default_rng(0)
    centres = random.normal(size=(N // 10, DIM))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    noisy = centres[random.integers(0, N // 10, N)]
    noisy = noisy + 0.06 * random.normal(size=(N, DIM))
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    return noisy.astype(np.float32)


@pytest.fixture(scope="module")
def tree(vectors: np.ndarray) -> ScannIndex:
    index = ScannIndex.build(
        [f"p{row}" for row in range(N)], vectors, encoder_fingerprint="f"
    )
    assert isinstance(index, ScannIndex)
    return index


def test_the_tree_finds_19_of_20_neighbours(
    tree: ScannIndex, vectors: np.ndarray
) -> None:
    exact = ExactIndex.build(tree.ids, vectors, encoder_fingerprint="f")
    assert not tree.is_exact
    queries = vectors[:1500]
    expected, found = exact.search_rows(queries), tree.search_rows(queries)
    hits = [
        len(set(a) & set(b))
        for a, b in zip(expected.rows.tolist(), found.rows.tolist())
    ]
    assert sum(hits) / (10 * len(queries)) >= 0.95


def test_the_trees_distances_are_those_of_the_stored_embeddings(
    tree: ScannIndex, vectors: np.ndarray
) -> None:
    found = tree.search_rows(vectors[:50], k=10)
    differences = vectors[found.rows].astype(np.float64) - vectors[:50, None]
    expected = np.sqrt((differences**2).sum(axis=2))
    np.testing.assert_allclose(found.distances, expected, atol=1e-6)
    assert (np.diff(found.distances, axis=1) >= 0).all()
    assert (found.rows[:, 0] == np.arange(50)).all()


def test_k_of_the_whole_catalogue_returns_all_of_it(
    tree: ScannIndex, vectors: np.ndarray
) -> None:
    found = tree.search_rows(vectors[:2], k=N)
    assert (np.sort(found.rows, axis=1) == np.arange(N)).all()


@pytest.mark.slow
def test_a_catalogue_of_one_vector_can_be_searched() -> None:
    same = np.tile(np.eye(8, dtype=np.float32)[:1], (20_000, 1))
    ids = [str(row) for row in range(20_000)]
    index = ScannIndex.build(ids, same, encoder_fingerprint="f")
    assert [len(found) for found in index.search(same[:2], k=5)] == [5, 5]


def test_files_that_scann_cannot_read_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    vectors = np.eye(4, dtype=np.float32)
    ScannIndex.build(list("abcd"), vectors, encoder_fingerprint="f").save(folder)
    # A manifest that vouches for them: what another version of ScaNN would leave.
    (folder / "scann" / "scann_config.pb").write_bytes(b"not a message")
    manifest = json.loads((folder / "manifest.json").read_text())
    name = "scann/scann_config.pb"
    manifest["files"][name] = file_sha256(folder / name)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="ScaNN cannot read"):
        load_index(folder)
