"""Settings of ScaNN by the recall that they reach."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.errors import ModelError, RecallError
from simprod_tf.index import ExactIndex, Index, Neighbours, ScannIndex, load_index
from simprod_tf.index.tuning import ScannSettings, Tuning, leaves_of, tune

N, DIM = 25_000, 32


def clustered(n: int, *, seed: int, noise: float = 0.08) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = random.normal(size=(n // 10, DIM))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    noisy = centres[random.integers(0, len(centres), n)]
    noisy = noisy + noise * random.normal(size=(n, DIM))
    return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)


def ids_of(n: int, prefix: str = "p") -> list[str]:
    return [f"{prefix}{row}" for row in range(n)]


def recall_of(index: Index, queries: np.ndarray, where: str | None = None) -> float:
    """Share of the 10 nearest, by exact search, that the index finds."""
    exact = ExactIndex.build(
        index.ids,
        index.embeddings.copy(),
        encoder_fingerprint="f",
        attributes=index.attributes,
    )
    expected = exact.search_rows(queries, where=where).rows
    found = index.search_rows(queries, where=where).rows
    hits = [len(set(a) & set(b)) for a, b in zip(expected.tolist(), found.tolist())]
    return sum(hits) / (10 * len(queries))


def fake_search(needed_leaves: int, needed_points: int, embeddings: np.ndarray):
    """A search that finds all with enough leaves and points, and else nothing."""
    asked = []

    def search(queries: np.ndarray, k: int, way: ScannSettings) -> np.ndarray:
        asked.append((way.leaves_to_search, way.reordered))
        if way.leaves_to_search < needed_leaves or way.reordered < needed_points:
            return np.full((len(queries), k), -1)
        return np.argsort(-(queries @ embeddings.T), axis=1)[:, :k]

    return search, asked


def test_tune_finds_the_least_that_suffices() -> None:
    embeddings = clustered(2000, seed=0)
    search, asked = fake_search(20, 90, embeddings)
    tuned = tune(
        embeddings,
        search,
        settings=ScannSettings(100, 1),
        wanted=Tuning(recall=0.95),
    )
    # The next steps of the grid: 22 leaves, 130 points.
    assert (tuned.settings.leaves_to_search, tuned.settings.reordered) == (22, 130)
    assert (tuned.recall, tuned.num_queries, tuned.wanted) == (1.0, 666, 0.95)
    assert len(asked) < 30


def test_tune_says_what_the_most_thorough_search_reaches() -> None:
    embeddings = clustered(500, seed=0)
    search, _ = fake_search(10**6, 1, embeddings)
    tuned = tune(
        embeddings, search, settings=ScannSettings(40, 1), wanted=Tuning(recall=0.9)
    )
    assert (tuned.settings.leaves_to_search, tuned.settings.reordered) == (40, 500)
    assert tuned.recall == 0.0


def test_a_wider_search_looks_into_more() -> None:
    settings = ScannSettings(100, leaves_to_search=10, reordered=50)
    assert (settings.leaves_for(10), settings.reordered_for(10)) == (10, 50)
    assert (settings.leaves_for(1), settings.reordered_for(1)) == (10, 50)
    assert (settings.leaves_for(40), settings.reordered_for(40)) == (20, 200)
    assert settings.leaves_for(10**6) == 100
    assert leaves_of(40_000) == 400


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ScannSettings(10, 11), "between 1 and num_leaves \\(10\\), got 11"),
        (lambda: ScannSettings(10, 0), "between 1 and num_leaves"),
        (lambda: ScannSettings(10, 5, reordered=0), "reordered must be at least 1"),
        (lambda: Tuning(recall=0.0), "recall lies above 0"),
        (lambda: Tuning(recall=1.1), "recall lies above 0"),
    ],
)
def test_settings_refuse(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.fixture(scope="module")
def tree() -> ScannIndex:
    shelf = np.random.default_rng(1).permutation(N) % 200
    price = pa.array(np.arange(N) / N)
    index = ScannIndex.build(
        ids_of(N),
        clustered(N, seed=0),
        encoder_fingerprint="f",
        attributes=pa.table({"shelf": shelf, "price": price}),
        recall=0.97,
    )
    assert isinstance(index, ScannIndex)
    return index


def test_the_recall_asked_for_is_reached_and_kept(
    tree: ScannIndex, tmp_path: Path
) -> None:
    assert not tree.is_exact
    tuned = tree.tuned
    assert tuned is not None
    assert tuned.wanted == 0.97
    assert tuned.recall >= 0.96
    # Each product is its own nearest one here, which is no merit.
    recall = (10 * recall_of(tree, tree.embeddings[::20]) - 1) / 9
    assert abs(recall - tuned.recall) < 0.02
    tree.save(tmp_path / "index")
    loaded = load_index(tmp_path / "index")
    assert isinstance(loaded, ScannIndex)
    assert loaded.tuned == tuned
    manifest = json.loads((tmp_path / "index" / "manifest.json").read_text())
    assert manifest["search"]["tuned"]["recall"] == tuned.recall


def test_one_query_alone_gets_as_good_an_answer_as_among_others(
    tree: ScannIndex,
) -> None:
    queries = np.concatenate([tree.embeddings[:100], clustered(100, seed=4)])
    alone = [tree.search_rows(query[None], k=7) for query in queries]
    rows = np.concatenate([found.rows for found in alone])
    distances = np.concatenate([found.distances for found in alone])
    assert (rows.shape, rows.dtype, distances.dtype) == ((200, 7), np.int64, np.float32)
    true = np.linalg.norm(tree.embeddings[rows] - queries[:, None], axis=2)
    np.testing.assert_allclose(distances, true, atol=1e-5)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert (rows[:100, 0] == np.arange(100)).all()
    together = tree.search_rows(queries, k=7)
    assert (together.rows == rows).mean() > 0.95
    np.testing.assert_allclose(distances.mean(), together.distances.mean(), rtol=0.01)


@pytest.mark.parametrize("condition", ["shelf < 100", "shelf < 10", "shelf = 3"])
def test_filtered_search_finds_19_of_20(
    tree: ScannIndex, condition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 50 %, 5 % and 0.5 % of the products, the first two by searching wider."""
    monkeypatch.setattr("simprod_tf.index.scann._BRUTE_ROWS", 500)
    assert recall_of(tree, tree.embeddings[::50], condition) >= 0.95


def test_a_filter_that_hides_the_whole_neighbourhood_still_finds_k(
    tree: ScannIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simprod_tf.index.scann._BRUTE_ROWS", 500)
    attributes = tree.attributes
    assert attributes is not None
    # Of the products near the query, none satisfies the condition.
    order = np.argsort(-(tree.embeddings @ tree.embeddings[0]))
    far = np.zeros(N, bool)
    far[order[N - 1000 :]] = True
    index = ScannIndex.build(
        tree.ids,
        tree.embeddings.copy(),
        encoder_fingerprint="f",
        attributes=pa.table({"far": far}),
        recall=0.9,
    )
    found = index.search_rows(tree.embeddings[:1], k=10, where="far").rows[0]
    assert set(found) == set(order[N - 1000 : N - 990])


def test_a_recall_that_is_missed_fails_unless_it_is_allowed(tree: ScannIndex) -> None:
    vectors = tree.embeddings.copy()
    poor = ScannSettings(300, leaves_to_search=1, reordered=10)
    with pytest.raises(RecallError, match=r"recall@10 0\.\d+, .* but 0.99 was asked"):
        ScannIndex.build(tree.ids, vectors, encoder_fingerprint="f", settings=poor)
    kept = ScannIndex.build(
        tree.ids, vectors, encoder_fingerprint="f", settings=poor, allow_low_recall=True
    )
    assert isinstance(kept, ScannIndex)
    assert kept.tuned is not None
    assert kept.tuned.settings == poor
    assert kept.tuned.recall < 0.95
    assert kept.drift().due


def test_settings_that_scann_cannot_do_are_refused() -> None:
    with pytest.raises(ModelError, match="cannot divide 10 products into 2 leaves"):
        ScannIndex.build(
            ids_of(10),
            clustered(10, seed=0),
            encoder_fingerprint="f",
            settings=ScannSettings(2, 1),
        )


def test_damaged_settings_in_the_manifest_are_refused(
    tree: ScannIndex, tmp_path: Path
) -> None:
    tree.save(tmp_path / "index")
    path = tmp_path / "index" / "manifest.json"
    content = json.loads(path.read_text())
    del content["search"]["tuned"]["settings"]["num_leaves"]
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="holds no settings of ScaNN"):
        load_index(tmp_path / "index")


def test_no_neighbours_are_padded(tree: ScannIndex) -> None:
    found = tree.search_rows(np.empty((0, DIM), np.float32), k=3)
    assert isinstance(found, Neighbours)
    assert found.rows.shape == (0, 3)


@pytest.mark.slow
def test_10000_changes_of_200000_products_leave_the_recall_of_a_fresh_build() -> None:
    vectors = clustered(205_000, seed=0)
    index = ScannIndex.build(
        ids_of(200_000), vectors[:200_000], encoder_fingerprint="f", recall=0.95
    )
    random = np.random.default_rng(0)
    new = vectors[200_000:]
    for start in range(0, 5000, 500):
        index.add(ids_of(5000, "n")[start : start + 500], new[start : start + 500])
        gone = random.choice(index.ids, 500, replace=False)
        index.remove([str(id) for id in gone])
    assert len(index) == 200_000
    fresh = ScannIndex.build(
        index.ids, index.embeddings.copy(), encoder_fingerprint="f", recall=0.95
    )
    queries = index.embeddings[random.permutation(200_000)[:2000]]
    assert abs(recall_of(index, queries) - recall_of(fresh, queries)) < 0.01
    assert not index.drift().due
