"""Precomputed vectors by product id, from each kind of file."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.vectors import (
    VectorTable,
    column_vectors,
    input_name,
    read_vectors,
    write_vectors,
)
from simprod_tf.errors import InputError

IDS = ["a", "b", "c"]
VECTORS = np.array([[1, 2], [0, 0], [3, 4]], np.float32)


@pytest.fixture
def written(tmp_path):
    write_vectors(tmp_path / "clip.npy", IDS, VECTORS)
    np.savez(tmp_path / "clip.npz", ids=np.array(IDS), vectors=VECTORS)
    lists = pa.array(VECTORS.tolist(), pa.list_(pa.float64()))
    pq.write_table(pa.table({"id": IDS, "v": lists}), tmp_path / "clip.parquet")
    return tmp_path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet"])
def test_every_kind_of_file_gives_the_same(written, suffix):
    found = read_vectors(written / f"clip{suffix}")
    assert (found.name, found.dim, list(found.ids)) == ("clip", 2, IDS)
    of = found.of(["c", "x", "a", "b"])
    assert of.shape == (4, 2)
    assert of[np.array([0, 1, 2, 3])].tolist() == [[3, 4], [0, 0], [1, 2], [0, 0]]
    assert of[1:3].tolist() == [[0, 0], [1, 2]]
    assert of.present().tolist() == [True, False, True, False]


def test_a_npy_file_stays_on_disk(written):
    assert isinstance(read_vectors(written / "clip.npy").vectors, np.memmap)


def test_half_precision_is_given_as_float32():
    table = VectorTable("v", IDS, VECTORS.astype(np.float16))
    assert table.of(IDS)[0:3].dtype == np.float32


def test_a_column_of_lists_is_a_table(tmp_path):
    lists = pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32()))
    table = pa.table({"id": IDS, "title": IDS, "My CLIP": lists, "n": [1, 2, 3]})
    pq.write_table(table, tmp_path / "c.parquet")
    catalog = read_catalog(tmp_path / "c.parquet").catalog
    found = column_vectors(catalog, "My CLIP")
    assert (found.name, found.column) == ("my_clip", "My CLIP")
    assert found.of(IDS)[0:3].tolist() == [[1, 2], [0, 0], [3, 4]]
    assert catalog["a"].attributes == {"n": "1"}
    with pytest.raises(ValueError, match="no column 'x'; .*My CLIP, n"):
        column_vectors(catalog, "x")
    with pytest.raises(ValueError, match="'n' must hold lists of floats, got int64"):
        column_vectors(catalog, "n")


def test_lists_of_different_lengths_are_refused(tmp_path):
    lists = pa.array([[1.0], [1.0, 2.0]], pa.list_(pa.float32()))
    pq.write_table(pa.table({"id": ["a", "b"], "v": lists}), tmp_path / "v.parquet")
    with pytest.raises(InputError, match=r"'v' differ in length: \[1, 2\]"):
        read_vectors(tmp_path / "v.parquet")


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        (["a", "a", "c"], VECTORS, "id 'a' stands there twice"),
        (["a", "b"], VECTORS, "one vector an id, got 2 ids"),
        (IDS, VECTORS * np.float32(np.nan), "the vector of 'a' holds NaN"),
        (IDS, np.where(VECTORS == 4, np.inf, VECTORS), "the vector of 'c' holds NaN"),
        (IDS, VECTORS.astype(int), "must be floats, got int64"),
        (IDS, np.array(VECTORS, object), "Object arrays cannot be loaded"),
    ],
)
def test_wrong_vectors_are_refused(tmp_path, ids, vectors, message):
    np.savez(tmp_path / "v.npz", ids=np.array(ids), vectors=vectors)
    with pytest.raises(InputError, match=message):
        read_vectors(tmp_path / "v.npz")


def test_wrong_files_are_refused(written, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_vectors(tmp_path / "none.npy")
    (tmp_path / "v.txt").write_text("a 1 2")
    with pytest.raises(InputError, match=r"use one of \.npy, \.npz, \.parquet"):
        read_vectors(tmp_path / "v.txt")
    for suffix in (".npy", ".npz", ".parquet"):
        whole = (written / f"clip{suffix}").read_bytes()
        (written / f"clip{suffix}").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match="cannot be used as vectors"):
            read_vectors(written / f"clip{suffix}")
    (written / "clip.ids.txt").unlink()
    with pytest.raises(InputError, match=r"one a line, into clip\.ids\.txt"):
        read_vectors(written / "clip.npy")


def test_ids_that_a_text_file_cannot_hold_are_refused(tmp_path):
    with pytest.raises(InputError, match="line break"):
        write_vectors(tmp_path / "v.npy", ["a\nb"], VECTORS[:1])
    with pytest.raises(InputError, match=r"to a \.npy file"):
        write_vectors(tmp_path / "v.bin", ["a"], VECTORS[:1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "slug"), [("CLIP ViT-B/32", "clip_vit_b_32"), ("1st", "vectors_1st")]
)
def test_names_fit_keras(name, slug):
    assert input_name(name) == slug
