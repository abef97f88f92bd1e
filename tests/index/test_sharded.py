"""A sharded index on disk: opened whole, or refused with the reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simprod_tf.errors import ModelError
from simprod_tf.index import ExactIndex, Index, load_index, publish
from simprod_tf.index.sharded import (
    ShardedIndex,
    ShardEntry,
    is_sharded_index,
    load_shard,
    shard_embeddings,
    shard_ids,
    shard_name,
    write_sharded,
)
from simprod_tf.manifest import MANIFEST_NAME, file_sha256

ANGLES = {"a": 0, "b": 10, "c": 30, "d": 31, "e": 90}


def index_of(*ids: str) -> Index:
    turns = np.radians([ANGLES[id] for id in ids])
    points = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)
    return ExactIndex.build(list(ids), points, encoder_fingerprint="f")


def entry(folder: Path, number: int, first_row: int, index: Index) -> ShardEntry:
    place = folder / shard_name(number)
    index.save(place)
    sha256 = file_sha256(place / MANIFEST_NAME)
    rows = len(index)
    return ShardEntry(place.name, first_row, rows, index.ids[0], "d", sha256, 1.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of two shards, of 3 and of 2 products."""
    place = tmp_path / "index"
    entries = [
        entry(place, 0, 0, index_of("a", "b", "c")),
        entry(place, 1, 3, index_of("d", "e")),
    ]
    extra = {"decision": {"refused": "no pairs"}}
    write_sharded(place, entries, encoder_fingerprint="f", dim=2, extra=extra)
    return place


def test_what_was_written_is_opened(folder: Path) -> None:
    index = ShardedIndex.open(folder)
    assert len(index) == 5 and index.dim == 2 and index.encoder_fingerprint == "f"
    assert index.extra == {"decision": {"refused": "no pairs"}}
    assert [(one.first_row, one.stop_row) for one in index.shards] == [(0, 3), (3, 5)]
    assert [one.first_id for one in index.entries] == ["a", "d"]
    second = index.shards[1]
    assert shard_ids(second).to_pylist() == ["d", "e"] == list(load_shard(second).ids)
    np.testing.assert_array_equal(
        shard_embeddings(second), index_of("d", "e").embeddings
    )


def test_an_ordinary_index_opens_as_one_shard(tmp_path: Path) -> None:
    index_of("a", "b").save(tmp_path / "index")
    index = ShardedIndex.open(tmp_path / "index")
    assert len(index) == 2 and len(index.shards) == 1 and index.entries == ()
    assert not is_sharded_index(tmp_path / "index")
    # And so does the current one of several versions.
    publish(index_of("a"), tmp_path / "versions")
    publish(index_of("a", "b", "c"), tmp_path / "versions")
    assert len(ShardedIndex.open(tmp_path / "versions")) == 3


def test_an_index_without_success_is_not_whole(folder: Path) -> None:
    (folder / "_SUCCESS").unlink()
    assert is_sharded_index(folder)
    with pytest.raises(ModelError, match="not whole: _SUCCESS is missing; build"):
        ShardedIndex.open(folder)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("format", 2, "has format 2, this simprod_tf reads 1"),
        ("shards", [{"name": "shard-00000"}], "manifest .* is damaged"),
        ("dim", "wide", "manifest .* is damaged"),
    ],
)
def test_a_damaged_manifest_is_refused(
    folder: Path, name: str, value: object, message: str
) -> None:
    path = folder / MANIFEST_NAME
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, name: value}))
    with pytest.raises(ModelError, match=message):
        ShardedIndex.open(folder)


def test_shards_with_a_gap_are_refused(folder: Path) -> None:
    entries = ShardedIndex.open(folder).entries
    wrong = [entries[0], replace(entries[1], first_row=4)]
    write_sharded(folder, wrong, encoder_fingerprint="f", dim=2, extra={})
    with pytest.raises(ModelError, match="shard-00001 begins at row 4, not 3"):
        ShardedIndex.open(folder)


def test_a_shard_that_was_touched_is_named(folder: Path) -> None:
    shard = ShardedIndex.open(folder).shards[0]
    index_of("b", "c", "a").save(shard.folder)
    with pytest.raises(ModelError, match=r"shard-00000.*not the file that the sharded"):
        load_shard(shard)
    (Path(shard.folder) / MANIFEST_NAME).unlink()
    with pytest.raises(ModelError, match=r"shard-00000/manifest.json is missing"):
        load_shard(shard)
    (Path(shard.folder) / "ids.parquet").write_bytes(b"no table")
    with pytest.raises(ModelError, match=r"shard-00000/ids.parquet cannot be read"):
        shard_ids(shard)
    (Path(shard.folder) / "embeddings.npy").unlink()
    with pytest.raises(ModelError, match=r"shard-00000/embeddings.npy cannot be read"):
        shard_embeddings(shard)


def test_who_wants_an_index_in_one_piece_is_told(folder: Path) -> None:
    with pytest.raises(ModelError, match="sharded index, which `simprod match` alone"):
        load_index(folder)
    assert len(load_index(folder / "shard-00001")) == 2
