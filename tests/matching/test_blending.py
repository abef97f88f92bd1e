"""Neighbourhood blending, by hand and against a slow oracle."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.errors import FingerprintError
from simprod_tf.index import ExactIndex, Index
from simprod_tf.index.build import load_index
from simprod_tf.matching import blending as module
from simprod_tf.matching.blending import (
    Blending,
    blended,
    blended_fingerprint,
    blended_index,
    expanded_queries,
)

N = 50


@pytest.fixture(scope="module")
def index() -> Index:
    vectors = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
    vectors[[5, 6]] = vectors[4]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"p{row}" for row in range(N)]
    return ExactIndex.build(
        ids,
        vectors,
        encoder_fingerprint="f",
        extra={"decision": {"max_distance": 1}},
        attributes=pa.table({"price": range(N)}),
    )


def oracle(vectors: np.ndarray, settings: Blending) -> np.ndarray:
    """Returns the blended vectors, one product after the other."""
    for _ in range(settings.iterations):
        after = []
        for row, vector in enumerate(vectors):
            gaps = np.linalg.norm(vectors - vector, axis=1)
            near = [at for at in np.argsort(gaps, kind="stable") if at != row]
            total = vector.astype(float)
            for at in near[: settings.k]:
                cosine = float(vectors[at] @ vector)
                limit = settings.max_distance
                if cosine > 0 and (limit is None or gaps[at] <= limit):
                    total = total + cosine**settings.alpha * vectors[at]
            after.append(total / np.linalg.norm(total))
        vectors = np.array(after)
    return vectors


@pytest.mark.parametrize(
    "settings",
    [
        Blending(),
        Blending(k=1, alpha=0.0),
        Blending(k=99, alpha=1.5),
        Blending(k=8, max_distance=0.7),
        Blending(k=3, iterations=3),
    ],
)
def test_blending_agrees_with_the_oracle(
    index: Index, settings: Blending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", 17)
    found = blended(index, settings)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    expected = oracle(index.embeddings, settings)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - index.embeddings).max() > 0.01


def test_three_products_by_hand() -> None:
    # At 0, 60 and 180 degrees; the cosine of 60 degrees is one half, squared 1/4. The
    # third is 120 degrees from its nearest, which weighs nothing.
    half, high = 0.5, np.sqrt(0.75)
    vectors = np.array([[1, 0], [half, high], [-1, 0]], np.float32)
    index = ExactIndex.build(["a", "b", "c"], vectors, encoder_fingerprint="f")
    sums = np.array([[1 + half / 4, high / 4], [half + 1 / 4, high], [-1, 0]])
    expected = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    found = blended(index, Blending(k=2, alpha=2))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_nothing_near_enough_changes_nothing(index: Index) -> None:
    found = blended(index, Blending(max_distance=0.0))
    np.testing.assert_allclose(found, index.embeddings, atol=1e-6)


def test_a_product_as_query_becomes_what_it_is_in_the_blended_index(
    index: Index,
) -> None:
    settings = Blending(k=4)
    rows = [6, 0, 31]
    found = expanded_queries(
        index, index.embeddings[rows], settings, query_ids=[f"p{row}" for row in rows]
    )
    np.testing.assert_allclose(found, blended(index, settings)[rows], atol=1e-6)


def test_a_query_that_is_no_product_takes_its_k_nearest(index: Index) -> None:
    settings = Blending(k=3, alpha=1.0)
    query = np.eye(1, 4, dtype=np.float32)
    cosines = index.embeddings @ query[0]
    near = np.argsort(-cosines)[:3]
    total = query[0] + cosines[near] @ index.embeddings[near]
    expected = [total / np.linalg.norm(total)]
    for names in (None, ["stranger"]):
        found = expanded_queries(index, query, settings, query_ids=names)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_empty_index_leaves_queries_as_they_are() -> None:
    empty = ExactIndex.build([], np.empty((0, 2), np.float32), encoder_fingerprint="f")
    query = np.eye(1, 2, dtype=np.float32)
    assert blended(empty, Blending(iterations=2)).shape == (0, 2)
    assert expanded_queries(empty, query, Blending()).tolist() == [[1, 0]]


def test_a_blended_index_has_a_fingerprint_of_its_own(index: Index, tmp_path) -> None:
    settings = Blending(k=2, alpha=1.0)
    found = blended_index(index, settings)
    assert found.ids == index.ids
    assert found.attributes.equals(index.attributes)
    assert np.array_equal(found.embeddings, blended(index, settings))
    assert found.encoder_fingerprint == blended_fingerprint("f", settings)
    # The threshold that was chosen without blending is not among it.
    assert found.extra == {"blending": settings.to_json(), "blended_from": "f"}
    found.save(tmp_path / "index")
    with pytest.raises(FingerprintError, match=found.encoder_fingerprint):
        load_index(tmp_path / "index", encoder_fingerprint="f")


def test_a_fingerprint_tells_encoders_and_settings_apart() -> None:
    every = {
        blended_fingerprint(name, settings)
        for name in ("f", "g")
        for settings in (Blending(), Blending(k=6), Blending(max_distance=1.0))
    }
    assert len(every | {"f", "g"}) == 8
    assert blended_fingerprint("f", Blending(k=5)) in every


def test_blending_refuses(index: Index) -> None:
    for wrong in ({"k": 0}, {"iterations": 0}):
        with pytest.raises(ValueError, match="k and iterations must be at least 1"):
            Blending(**wrong)
    for alpha in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="alpha must be finite and >= 0"):
            Blending(alpha=alpha)
    with pytest.raises(ValueError, match="max_distance must be >= 0, got nan"):
        Blending(max_distance=float("nan"))
    query = np.eye(1, 4, dtype=np.float32)
    with pytest.raises(ValueError, match="expanded once, got 2 iterations"):
        expanded_queries(index, query, Blending(iterations=2))
    with pytest.raises(ValueError, match="2 query_ids for 1 queries"):
        expanded_queries(index, query, Blending(), query_ids=["a", "b"])
