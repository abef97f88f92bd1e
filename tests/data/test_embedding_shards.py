"""Embeddings on disk come back as they were, and only where they are whole."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.embedding_shards import (
    CHANGED,
    SET_ASIDE,
    EmbeddingShards,
    is_embeddings,
    write_embeddings,
)
from simprod_tf.errors import InputError
from simprod_tf.shards import part_name, write_success


def unit_rows(count, dim=6):
    rows = np.random.default_rng(0).normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def written(folder, *parts, dtype="float32", rows=None, dim=6):
    """Writes parts of embeddings; ids are a running number."""
    folder.mkdir()
    at = 0
    for number, part in enumerate(parts):
        ids = [str(at + i) for i in range(len(part))]
        write_embeddings(
            folder / part_name(number),
            ids=ids,
            embeddings=part.astype(dtype),
            content=["d"] * len(part),
        )
        at += len(part)
    facts = {"encoder_fingerprint": "f", "dim": dim, "dtype": dtype, "decision": None}
    rows = at if rows is None else rows
    write_success(folder, {"kind": "embeddings", "rows": rows, **facts})
    return folder


def test_float32_comes_back_bit_for_bit_part_by_part(tmp_path):
    rows = unit_rows(5)
    folder = written(tmp_path / "e", rows[:3], rows[:0], rows[3:])
    # What lies beside the parts is none.
    for name in (SET_ASIDE, CHANGED):
        pq.write_table(pa.table({"id": ["x"]}), folder / name)
    found = EmbeddingShards.open(folder)
    assert [file.name for file in found.files] == [part_name(i) for i in range(3)]
    assert (found.rows, len(found)) == ((3, 0, 2), 5)
    assert (found.encoder_fingerprint, found.dim, found.dtype) == ("f", 6, "float32")
    read = [found.read(file) for file in found.files]
    assert [ids for ids, _ in read] == [["0", "1", "2"], [], ["3", "4"]]
    assert np.array_equal(np.concatenate([part for _, part in read]), rows)


def test_float16_comes_back_at_unit_length(tmp_path):
    rows = unit_rows(50)
    found = EmbeddingShards.open(written(tmp_path / "e", rows, dtype="float16"))
    _, read = found.read(found.files[0])
    assert read.dtype == np.float32
    assert np.abs(np.linalg.norm(read, axis=1) - 1).max() < 1e-6
    # Rounding to 11 binary digits moves a number below 1 by 2**-12 at most.
    assert 0 < np.abs(read - rows).max() < 2**-11


@pytest.mark.parametrize(
    ("value", "length"), [(0.0, "0"), (np.nan, "nan"), (1.0, "2.449")]
)
def test_an_embedding_that_is_none_is_named(tmp_path, value, length):
    rows = unit_rows(3)
    rows[1] = value
    found = EmbeddingShards.open(written(tmp_path / "e", rows))
    message = rf"part-00000\.parquet, row 2: the embedding of '1' has length {length}"
    with pytest.raises(InputError, match=message):
        found.read(found.files[0])


def test_a_folder_that_is_not_whole_is_refused(tmp_path):
    (tmp_path / "e").mkdir()
    assert not is_embeddings(tmp_path / "e")
    with pytest.raises(InputError, match="is no embeddings, or not whole: _SUCCESS"):
        EmbeddingShards.open(tmp_path / "e")


def test_a_part_that_is_missing_is_noticed(tmp_path):
    folder = written(tmp_path / "e", unit_rows(2), unit_rows(3))
    (folder / part_name(1)).unlink()
    message = "holds 2 embeddings, but was written with 5: files are missing"
    with pytest.raises(InputError, match=message):
        EmbeddingShards.open(folder)


def test_a_part_that_is_damaged_is_named(tmp_path):
    folder = written(tmp_path / "e", unit_rows(2))
    assert is_embeddings(folder)
    found = EmbeddingShards.open(folder)
    part = folder / part_name(0)
    part.write_bytes(part.read_bytes()[:50])
    with pytest.raises(InputError, match=r"part-00000\.parquet: cannot be read"):
        EmbeddingShards.open(folder)
    with pytest.raises(InputError, match=r"part-00000\.parquet: cannot be read as emb"):
        found.read(found.files[0])


def test_embeddings_of_another_length_are_refused(tmp_path):
    found = EmbeddingShards.open(written(tmp_path / "e", unit_rows(2), dim=7))
    with pytest.raises(InputError, match="cannot be read as embeddings"):
        found.read(found.files[0])


def test_a_success_file_without_facts_is_refused(tmp_path):
    folder = tmp_path / "e"
    folder.mkdir()
    write_embeddings(
        folder / part_name(0), ids=["a"], embeddings=unit_rows(1), content=["d"]
    )
    write_success(folder, {"kind": "embeddings", "rows": 1})
    with pytest.raises(InputError, match="does not say what the embeddings are"):
        EmbeddingShards.open(folder)
