"""Embeddings become a sharded index, by work units on the embedded engine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simprod_tf.data.embedding_shards import KIND, write_embeddings
from simprod_tf.engine.embedded import Embedded
from simprod_tf.errors import (
    FingerprintError,
    InputError,
    RecallError,
    SimprodError,
)
from simprod_tf.index import ScannSettings, load_index
from simprod_tf.pipeline import sharded_index
from simprod_tf.pipeline.index_shard import ShardSettings, build_shard
from simprod_tf.pipeline.sharded_index import IndexedShards, index_embeddings
from simprod_tf.shards import part_name, write_success

EXACT = ShardSettings(kind="exact")


def vectors(num: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(num, 4)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def embeddings_in(
    folder: Path,
    ids: Sequence[str],
    embeddings: np.ndarray,
    *,
    parts: Sequence[int] = (),
    fingerprint: str = "f",
) -> Path:
    """Writes embeddings, a new part at each of the rows `parts`."""
    folder.mkdir()
    for number, rows in enumerate(np.split(np.arange(len(ids)), parts)):
        write_embeddings(
            folder / part_name(number),
            ids=[ids[row] for row in rows],
            embeddings=embeddings[rows],
            content=["c"] * len(rows),
        )
    facts = {"encoder_fingerprint": fingerprint, "dim": 4, "dtype": "float32"}
    content = {"kind": KIND, "rows": len(ids), "decision": {"refused": "x"}, **facts}
    write_success(folder, content)
    return folder


IDS = [f"p{row:02d}" for row in range(20)]
VECTORS = vectors(20)


@pytest.fixture
def engine() -> Iterator[Embedded]:
    with Embedded() as engine:
        yield engine


@pytest.fixture
def embeddings(tmp_path: Path) -> Path:
    """20 products in parts of 7, 0 and 13."""
    return embeddings_in(tmp_path / "emb", IDS, VECTORS, parts=(7, 7))


def shapes(made: IndexedShards) -> list[tuple[int, int]]:
    return [(one.first_row, one.rows) for one in made.index.shards]


def test_shards_hold_the_catalogue_in_its_order(
    engine: Embedded, embeddings: Path, tmp_path: Path
) -> None:
    out = tmp_path / "index"
    made = index_embeddings(engine, embeddings, out, num_shards=3, settings=EXACT)
    assert shapes(made) == [(0, 6), (6, 7), (13, 7)] and made.num_reused == 0
    shards = [load_index(one.folder) for one in made.index.shards]
    assert [id for one in shards for id in one.ids] == IDS
    found = np.concatenate([one.embeddings for one in shards])
    np.testing.assert_array_equal(found, VECTORS)
    assert made.index.extra == {"decision": {"refused": "x"}} == shards[2].extra
    assert [one.recall for one in made.index.entries] == [1, 1, 1]
    assert sorted(os.listdir(tmp_path)) == ["emb", "index"]


def test_by_default_there_is_a_shard_for_each_million(
    engine: Embedded,
    embeddings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sharded_index, "ROWS_PER_SHARD", 9)
    made = index_embeddings(engine, embeddings, tmp_path / "index", settings=EXACT)
    assert shapes(made) == [(0, 6), (6, 7), (13, 7)]


def test_an_interrupted_job_builds_what_it_lacks(
    engine: Embedded,
    embeddings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = []

    def failing_at(name: str) -> Any:
        def build(plan: Any, unit: Any) -> dict[str, Any]:
            if unit.name == name:
                raise OSError("the power is gone")
            built.append(unit.name)
            return build_shard(plan, unit)

        return build

    out = tmp_path / "index"
    monkeypatch.setattr(sharded_index, "build_shard", failing_at("shard-00001"))
    with pytest.raises(OSError, match="power"):
        index_embeddings(engine, embeddings, out, num_shards=3, settings=EXACT)
    assert built == ["shard-00000"] and not out.exists()
    monkeypatch.setattr(sharded_index, "build_shard", failing_at("none"))
    made = index_embeddings(engine, embeddings, out, num_shards=3, settings=EXACT)
    assert built == ["shard-00000", "shard-00001", "shard-00002"]
    assert len(made.index) == 20


def test_shards_that_did_not_change_are_taken_over(
    engine: Embedded, embeddings: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    index_embeddings(engine, embeddings, first, num_shards=4, settings=EXACT)
    # p07 (second shard) went, p12 (third) changed, two came at the end.
    ids = [*IDS[:7], *IDS[8:], "q0", "q1"]
    moved = VECTORS.copy()
    moved[12] = -moved[12]
    new = np.concatenate([moved[:7], moved[8:], vectors(2, seed=1)])
    after = embeddings_in(tmp_path / "after", ids, new)
    made = index_embeddings(
        engine, after, tmp_path / "second", settings=EXACT, previous=first
    )
    assert shapes(made) == [(0, 5), (5, 4), (9, 5), (14, 7)] and made.num_reused == 1
    shards = [load_index(one.folder) for one in made.index.shards]
    assert [id for one in shards for id in one.ids] == ids
    found = np.concatenate([one.embeddings for one in shards])
    np.testing.assert_array_equal(found, new)
    # Built in another way, they are others.
    other = ShardSettings(kind="exact", recall=0.9)
    made = index_embeddings(
        engine, after, tmp_path / "third", settings=other, previous=first
    )
    assert made.num_reused == 0
    # It may take the place of the one that it goes on from.
    made = index_embeddings(engine, after, first, settings=EXACT, previous=first)
    assert made.num_reused == 1 and len(made.index) == 21


def test_a_shard_that_has_grown_far_is_divided(
    engine: Embedded, embeddings: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    index_embeddings(engine, embeddings, first, num_shards=4, settings=EXACT)
    ids = [*IDS, *(f"q{row}" for row in range(9))]
    new = np.concatenate([VECTORS, vectors(9, seed=1)])
    after = embeddings_in(tmp_path / "after", ids, new)
    made = index_embeddings(
        engine, after, tmp_path / "second", settings=EXACT, previous=first
    )
    # 15 to 29 are 14, the others hold 5: three shards instead of one.
    assert shapes(made)[3:] == [(15, 4), (19, 5), (24, 5)] and made.num_reused == 3


@pytest.mark.parametrize("num_shards", [21, 1000])
def test_more_shards_than_products_are_refused(
    engine: Embedded, embeddings: Path, tmp_path: Path, num_shards: int
) -> None:
    message = rf"number of products \(20\), got {num_shards}"
    with pytest.raises(SimprodError, match=message):
        index_embeddings(engine, embeddings, tmp_path / "i", num_shards=num_shards)


def test_what_cannot_be_indexed_is_refused(
    engine: Embedded, embeddings: Path, tmp_path: Path
) -> None:
    def refused(error: type[Exception], message: str, **more: Any) -> None:
        place = more.pop("embeddings", embeddings)
        out = more.pop("out", tmp_path / "index")
        with pytest.raises(error, match=message):
            index_embeddings(engine, place, out, settings=EXACT, **more)

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    refused(InputError, "no index and would be lost", out=tmp_path / "full")
    refused(InputError, "is no sharded index", previous=embeddings)
    none = embeddings_in(tmp_path / "none", [], np.empty((0, 4), np.float32))
    refused(SimprodError, "holds no embedding", embeddings=none)
    twice = embeddings_in(tmp_path / "twice", ["a", "b", "a"], vectors(3))
    refused(InputError, "product 'a' is there twice", embeddings=twice, num_shards=1)
    first = tmp_path / "first"
    index_embeddings(engine, embeddings, first, num_shards=2, settings=EXACT)
    other = embeddings_in(tmp_path / "other", IDS, VECTORS, fingerprint="g")
    refused(FingerprintError, "belongs to encoder f", embeddings=other, previous=first)


def test_settings_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueError, match="kind is one of auto, .*, got 'best'"):
        ShardSettings(kind="best")
    with pytest.raises(ValueError, match="settings of ScaNN are for kind scann"):
        ShardSettings(kind="exact", settings=ScannSettings(2, 1, 1))
    with pytest.raises(ValueError, match="recall lies above 0"):
        ShardSettings(recall=0)


@pytest.mark.slow
def test_a_shard_that_misses_its_recall_is_named(
    engine: Embedded, tmp_path: Path
) -> None:
    pytest.importorskip("scann")
    ids = [f"p{row}" for row in range(4000)]
    embeddings = embeddings_in(tmp_path / "emb", ids, vectors(4000))
    hasty = ScannSettings(num_leaves=100, leaves_to_search=1, reordered=10)
    with pytest.raises(RecallError, match="shard-00000: the index reaches recall@10"):
        index_embeddings(
            engine,
            embeddings,
            tmp_path / "index",
            num_shards=2,
            settings=ShardSettings("scann", settings=hasty),
        )
    kept = ShardSettings("scann", settings=hasty, allow_low_recall=True)
    made = index_embeddings(
        engine, embeddings, tmp_path / "index", num_shards=2, settings=kept
    )
    assert all(0 < one.recall < 0.99 for one in made.index.entries)
    # Taken over, a shard's recall is known still.
    again = index_embeddings(
        engine,
        embeddings,
        tmp_path / "again",
        settings=kept,
        previous=tmp_path / "index",
    )
    assert again.num_reused == 2 and again.index.entries == made.index.entries
