"""What every kind of index promises, against a slow oracle in plain numpy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from simprod_tf.errors import FingerprintError, ModelError
from simprod_tf.index import ExactIndex, Index, Match, ScannIndex, load_index
from simprod_tf.index.exact_tf import TensorFlowExactIndex

KINDS = [ExactIndex, TensorFlowExactIndex, ScannIndex]
FINGERPRINT = "0123456789abcdef"


def unit(vectors: np.ndarray) -> np.ndarray:
    """Returns the rows at unit length, float32."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / lengths).astype(np.float32)


def random_vectors(n: int, *, dim: int = 16, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(n, dim)))


def build(kind: type[Index], vectors: np.ndarray) -> Index:
    ids = [f"p{row}" for row in range(len(vectors))]
    return kind.build(ids, vectors, encoder_fingerprint=FINGERPRINT)


def oracle(vectors: np.ndarray, query: np.ndarray, k: int) -> list[tuple[int, float]]:
    """Returns (row, distance) of the k nearest, one by one."""
    pairs = []
    for row, vector in enumerate(vectors):
        difference = vector.astype(np.float64) - query.astype(np.float64)
        distance = np.float32(np.sqrt(np.sum(difference**2)))
        pairs.append((row, float(distance)))
    return sorted(pairs, key=lambda pair: (pair[1], pair[0]))[:k]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.kind)
def kind(request: pytest.FixtureRequest) -> type[Index]:
    return request.param


@pytest.mark.parametrize(("n", "k"), [(1, 1), (7, 3), (300, 10), (300, 300)])
def test_search_agrees_with_the_oracle(kind: type[Index], n: int, k: int) -> None:
    vectors, queries = random_vectors(n), random_vectors(20, seed=1)
    found = build(kind, vectors).search(queries, k=k)
    assert len(found) == 20
    for query, matches in zip(queries, found):
        expected = oracle(vectors, query, k)
        assert [match.id for match in matches] == [f"p{row}" for row, _ in expected]
        distances = [distance for _, distance in expected]
        np.testing.assert_allclose([m.distance for m in matches], distances, atol=1e-6)


def test_distances_on_the_axes_are_0_sqrt_2_and_2(kind: type[Index]) -> None:
    vectors = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    found = build(kind, vectors).search(vectors[:1], k=3, query_ids=["a"])
    assert found == [
        [
            Match("a", "p0", 0.0),
            Match("a", "p1", float(np.float32(2**0.5))),
            Match("a", "p2", 2.0),
        ]
    ]


def test_a_product_is_at_distance_0_from_itself(kind: type[Index]) -> None:
    index = build(kind, random_vectors(50) * np.float32(1.0005))
    found = index.search(index.embeddings_of(["p7", "p3"]), k=1)
    assert [(m.id, m.distance) for [m] in found] == [("p7", 0.0), ("p3", 0.0)]


def test_equal_distances_come_in_row_order(kind: type[Index]) -> None:
    # 200 equal rows among others: more than the candidates asked for at first.
    vectors = random_vectors(400)
    vectors[100:300] = vectors[0]
    [matches] = build(kind, vectors).search(vectors[:1], k=5)
    assert [match.id for match in matches] == ["p0", "p100", "p101", "p102", "p103"]
    assert {match.distance for match in matches} == {0.0}


def test_search_excludes_the_query_itself(kind: type[Index]) -> None:
    vectors = random_vectors(30)
    index = build(kind, vectors)
    found = index.search(
        vectors[:3], k=4, exclude=["p0", ["p1", "p2", "not here"], None]
    )
    assert [len(matches) for matches in found] == [4, 4, 4]
    rows = [row for row, _ in oracle(vectors, vectors[1], 30) if row not in (1, 2)]
    assert [match.id for match in found[1]] == [f"p{row}" for row in rows[:4]]
    assert "p0" not in {match.id for match in found[0]}
    assert found[2][0].id == "p2"


def test_k_above_the_size_returns_all(kind: type[Index]) -> None:
    vectors = random_vectors(5)
    index = build(kind, vectors)
    [matches] = index.search(vectors[:1], k=10**12, exclude=["p0"])
    assert len(matches) == 4
    found = index.search_rows(vectors[:2], k=7)
    assert found.rows.shape == found.distances.shape == (2, 7)
    assert found.rows[:, 5:].tolist() == [[-1, -1], [-1, -1]]
    assert np.isinf(found.distances[:, 5:]).all()
    assert found.rows.dtype == np.int64
    assert found.distances.dtype == np.float32


def test_an_empty_index_answers_with_empty_lists(
    kind: type[Index], tmp_path: Path
) -> None:
    index = build(kind, np.empty((0, 4), np.float32))
    index.save(tmp_path / "index")
    for empty in (index, load_index(tmp_path / "index")):
        assert len(empty) == 0
        assert empty.search(random_vectors(2, dim=4), k=3) == [[], []]
        assert empty.search_rows(random_vectors(2, dim=4), k=3).rows.max() == -1


def test_no_queries_give_no_answers(kind: type[Index]) -> None:
    index = build(kind, random_vectors(5))
    assert index.search(np.empty((0, 16), np.float32)) == []


def test_an_index_tells_what_it_holds(kind: type[Index]) -> None:
    vectors = random_vectors(5)
    index = build(kind, vectors)
    assert index.ids == ("p0", "p1", "p2", "p3", "p4")
    assert (len(index), index.dim, index.is_exact) == (5, 16, True)
    assert index.encoder_fingerprint == FINGERPRINT
    assert "p4" in index
    assert "p5" not in index
    np.testing.assert_array_equal(index.embedding("p3"), vectors[3])
    np.testing.assert_array_equal(index.embeddings, vectors)
    with pytest.raises(KeyError, match="holds no product 'nope'"):
        index.embedding("nope")


def test_the_callers_array_is_not_the_indexs(kind: type[Index]) -> None:
    vectors = random_vectors(5)
    index = build(kind, vectors)
    before = index.embedding("p1").copy()
    vectors[:] = 0
    np.testing.assert_array_equal(index.embedding("p1"), before)
    assert not index.embeddings.flags.writeable


def bad_inputs() -> list[tuple[list[str], np.ndarray, type[Exception], str]]:
    good = random_vectors(2)
    nan, long = good.copy(), good.copy()
    nan[1, 3], long[1] = np.nan, long[1] * 1.01
    ids = ["a", "b"]
    return [
        (["a", "a"], good, ValueError, "got 'a' twice"),
        (["a", ""], good, ValueError, "got '' at row 1"),
        (["a", 5], good, ValueError, "got 5 at row 1"),  # type: ignore[list-item]
        (["a"], good, ValueError, "2 vectors for 1 ids"),
        (ids, good.astype(np.float64), TypeError, "float32 array, got float64"),
        (ids, good.tolist(), TypeError, "float32 array, got list"),  # type: ignore[list-item]
        (ids, good[0], ValueError, r"shape \[N, D\], got \[16\]"),
        (ids, nan, ValueError, "vector of b holds NaN"),
        (ids, long, ValueError, "vector of b has length 1.01, expected 1"),
    ]


@pytest.mark.parametrize(("ids", "vectors", "error", "message"), bad_inputs())
def test_build_refuses(
    ids: list[str], vectors: np.ndarray, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ExactIndex.build(ids, vectors, encoder_fingerprint=FINGERPRINT)


def test_build_refuses_an_empty_fingerprint() -> None:
    with pytest.raises(ValueError, match="encoder_fingerprint is a non-empty str"):
        ExactIndex.build(["a"], random_vectors(1), encoder_fingerprint="")


def test_search_refuses(kind: type[Index]) -> None:
    index, query = build(kind, random_vectors(5)), random_vectors(1)
    with pytest.raises(ValueError, match="16 dimensions, got 8"):
        index.search(random_vectors(1, dim=8))
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        index.search(query, k=0)
    with pytest.raises(ValueError, match="vector of query 0 holds NaN"):
        index.search(query * np.float32(np.nan))
    with pytest.raises(ValueError, match="2 query_ids for 1 queries"):
        index.search(query, query_ids=["a", "b"])
    with pytest.raises(ValueError, match="2 exclude for 1 queries"):
        index.search(query, exclude=["a", "b"])


def test_a_saved_index_carries_what_the_caller_keeps(
    kind: type[Index], tmp_path: Path
) -> None:
    index = build(kind, random_vectors(5))
    index.save(tmp_path / "index", extra={"decision": {"max_distance": 0.4}})
    loaded = load_index(tmp_path / "index", encoder_fingerprint=FINGERPRINT)
    assert type(loaded) is kind
    assert loaded.extra == {"decision": {"max_distance": 0.4}}
    # Saving again, over the folder that the embeddings are mapped from, keeps it.
    loaded.save(tmp_path / "index")
    again = load_index(tmp_path / "index")
    assert again.extra == loaded.extra
    np.testing.assert_array_equal(again.embeddings, index.embeddings)
    manifest = (tmp_path / "index" / "manifest.json").read_text()
    assert str(tmp_path) not in manifest


def test_load_refuses_another_encoder(kind: type[Index], tmp_path: Path) -> None:
    build(kind, random_vectors(5)).save(tmp_path / "index")
    with pytest.raises(FingerprintError, match=f"{FINGERPRINT}.*fedcba"):
        load_index(tmp_path / "index", encoder_fingerprint="fedcba")


def test_load_names_the_file_that_was_touched(
    kind: type[Index], tmp_path: Path
) -> None:
    build(kind, random_vectors(50)).save(tmp_path / "index")
    files = [path for path in (tmp_path / "index").rglob("*") if path.is_file()]
    for path in files:
        if path.name == "manifest.json":
            continue
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        with pytest.raises(ModelError, match=f"{path.name} is not the file"):
            load_index(tmp_path / "index")
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ModelError, match=f"{path.name} is not the file"):
            load_index(tmp_path / "index")
        path.unlink()
        with pytest.raises(ModelError, match=f"{path.name} is missing"):
            load_index(tmp_path / "index")
        path.write_bytes(content)
    load_index(tmp_path / "index")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("kind", "model", "holds model, not: index"),
        ("format", 99, "has format 99, this simprod_tf reads 2"),
        ("type", "faiss", "type 'faiss', this simprod_tf reads exact, exact-tf, scann"),
        ("files", None, "lacks 'files'"),
        ("files", {}, "embeddings.npy is not the file"),
        ("n", 4, "states 4 products in 16 dimensions, but holds 5 ids"),
    ],
)
def test_load_refuses_a_manifest_that_does_not_fit(
    tmp_path: Path, field: str, value: object, message: str
) -> None:
    build(ExactIndex, random_vectors(5)).save(tmp_path / "index")
    path = tmp_path / "index" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(ModelError, match=message):
        load_index(tmp_path / "index")


def test_load_says_where_no_index_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no index: manifest.json is missing"):
        load_index(tmp_path)


_READER = """
import sys, numpy
from simprod_tf.index import load_index
queries = numpy.load(sys.argv[1])
for folder in sys.argv[2:]:
    found = load_index(folder).search_rows(queries, k=10)
    numpy.savez(folder + ".npz", rows=found.rows, distances=found.distances)
"""


def test_a_moved_index_answers_the_same_in_a_fresh_process(tmp_path: Path) -> None:
    queries = random_vectors(40, seed=1)
    np.save(tmp_path / "queries.npy", queries)
    # A tree, too, and a folder's name that a careless path would trip over.
    cases = {
        "exact": build(ExactIndex, random_vectors(500)),
        "brute": build(ScannIndex, random_vectors(500)),
        'a "tree\\n\u00e9': build(ScannIndex, random_vectors(20_000)),
    }
    places = [str(tmp_path / "moved" / name) for name in cases]
    for name, index in cases.items():
        index.save(tmp_path / "saved" / name)
    shutil.move(str(tmp_path / "saved"), str(tmp_path / "moved"))
    before = sorted(path.name for path in (tmp_path / "moved").rglob("*"))
    subprocess.run(
        [sys.executable, "-c", _READER, str(tmp_path / "queries.npy"), *places],
        check=True,
    )
    for place, index in zip(places, cases.values()):
        expected, found = index.search_rows(queries, k=10), np.load(place + ".npz")
        np.testing.assert_array_equal(found["rows"], expected.rows)
        np.testing.assert_array_equal(found["distances"], expected.distances)
        Path(place + ".npz").unlink()
    assert sorted(p.name for p in (tmp_path / "moved").rglob("*")) == before
