"""Pairs in shards: what is read of them, and which of them a worker reads."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data import pair_shards
from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pair_shards import PairShards, read_chunks
from simprod_tf.errors import InputError


def catalog(ids="abcdef"):
    empty = text_array([""] * len(ids))
    return Catalog(text_array(list(ids)), empty, empty, empty, pa.table({}))


def table(text, **columns):
    """Pairs as "ab1 cd0"."""
    each = text.split()
    return pa.table(
        {
            "anchor_id": [one[0] for one in each],
            "other_id": [one[1] for one in each],
            "label": pa.array([int(one[2]) for one in each], pa.int8()),
            **columns,
        }
    )


def write(folder, *tables, group=2):
    folder.mkdir(exist_ok=True)
    for number, one in enumerate(tables):
        pq.write_table(one, folder / f"part-{number}.parquet", row_group_size=group)
    return folder


def read(shards, products=None, **kw):
    return [
        one
        for piece in shards.pieces
        for one in read_chunks(piece, products or catalog(), **kw)
    ]


def test_pairs_come_as_rows_in_the_order_of_the_files(tmp_path):
    weights = pa.array([0.5, 0.25, 1.0], pa.float64())
    write(tmp_path / "p", table("ab1 dc0 xa1", weight=weights), table("ef1"))
    (tmp_path / "p" / "_SUCCESS").write_text("")
    shards = PairShards.open(tmp_path / "p")
    assert len(shards) == 4
    assert [(p.file.name, p.group, p.first_row) for p in shards.pieces] == [
        ("part-0.parquet", 0, 0),
        ("part-0.parquet", 1, 2),
        ("part-1.parquet", 0, 0),
    ]
    found = read(shards)
    # The lower row first; x is no product of the catalogue.
    assert [one.rows.tolist() for one in found] == [
        [[0, 1], [2, 3]],
        [[-1, 0]],
        [[4, 5]],
    ]
    assert [one.labels.tolist() for one in found] == [[1, 0], [1], [1]]
    assert [one.weights.tolist() for one in found] == [[0.5, 0.25], [1], [1]]
    assert {one.labels.dtype.name for one in found} == {"float32"}


@pytest.mark.parametrize("kind", ["dictionary", "large_string", "int64", "padded"])
def test_ids_may_be_of_any_kind_of_text_or_whole_numbers(tmp_path, kind):
    ids = ["12", "7", "12"]
    column = {
        "dictionary": lambda: pa.array(ids).dictionary_encode(),
        "large_string": lambda: pa.array(ids, pa.large_string()),
        "int64": lambda: pa.array([12, 7, 12]),
        "padded": lambda: pa.array([" 12", "7 ", "12"]),
    }[kind]()
    one = pa.table({"anchor_id": column, "other_id": ["8"] * 3, "label": [1, 0, 1]})
    shards = PairShards.open(write(tmp_path / "p", one, group=9))
    (found,) = read(shards, catalog(["7", "8", "12"]))
    assert found.rows.tolist() == [[1, 2], [0, 1], [1, 2]]


@pytest.mark.parametrize("count", [2, 3])
def test_workers_share_the_rows_whatever_the_chunks(tmp_path, monkeypatch, count):
    monkeypatch.setattr(pair_shards, "CHUNK", 4)
    rng = np.random.default_rng(0)
    rows = np.sort(rng.permuted(np.tile(np.arange(30), (101, 1)), axis=1)[:, :2])
    products = catalog([f"p{row:02}" for row in range(30)])
    columns = {
        "anchor_id": products.ids[rows[:, 0]],
        "other_id": products.ids[rows[:, 1]],
        "label": np.zeros(101, np.int8),
    }
    shards = PairShards.open(write(tmp_path / "p", pa.table(columns), group=37))
    whole = np.concatenate([one.rows for one in read(shards, products)])
    np.testing.assert_array_equal(whole, rows)
    for index in range(count):
        own = read(shards, products, share=(index, count))
        np.testing.assert_array_equal(
            np.concatenate([one.rows for one in own]), rows[index::count]
        )


def test_a_folder_without_pairs_or_columns_is_refused(tmp_path):
    for name, one, message in (
        ("empty", table("ab1").slice(0, 0), "empty: no pair is in its shards"),
        ("less", table("ab1").drop(["label"]), "column .label. is missing; the col"),
        ("text", table("ab1").set_column(2, "label", pa.array(["1"])),
         "column 'label' must hold numbers, got string"),
        ("float", table("ab1").set_column(0, "anchor_id", pa.array([1.5])),
         "column 'anchor_id' must hold ids, got double"),
    ):  # fmt: skip
        folder = write(tmp_path / name, one)
        with pytest.raises(InputError, match=message):
            PairShards.open(folder)
    (tmp_path / "empty" / "part-1.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(InputError, match=r"part-1.parquet: cannot be read as Parquet"):
        PairShards.open(tmp_path / "empty")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"other_id": ["b", "d", "", "f"]}, "row 3: an id is empty"),
        ({"anchor_id": ["a", None, "c", "e"]}, "row 2: an id is empty"),
        ({"label": [1, 0, 1, 2]}, "row 4: label must be 1 .similar. or 0 .not., got 2"),
        ({"label": [None, 0, 1, 1]}, "row 1: label must be 1 .* got nan"),
        ({"weight": [1.0, 0.0, 1.0, 1.0]}, "row 2: weight must be above 0, got 0"),
        ({"weight": [1.0, 1.0, 1.0, np.inf]}, "row 4: weight must be above 0, got inf"),
    ],
)
def test_a_bad_row_is_named(tmp_path, change, message):
    columns = {**table("ab1 cd0 ef1 ea0").to_pydict(), **change}
    shards = PairShards.open(write(tmp_path / "p", pa.table(columns)))
    with pytest.raises(InputError, match=rf"part-0.parquet, {message}"):
        read(shards)


def test_a_shard_damaged_within_is_named(tmp_path):
    numbers = pa.array(np.random.default_rng(0).random(5000), pa.float32())
    one = table("ab1 " * 5000, weight=numbers)
    folder = write(tmp_path / "p", one, group=9000)
    shards = PairShards.open(folder)
    path = folder / "part-0.parquet"
    content = bytearray(path.read_bytes())
    content[40:15000] = bytes(14960)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"part-0.parquet: cannot be read as Parquet"):
        read(shards)


def test_changed_shards_are_told_from_the_same_ones(tmp_path):
    folder = write(tmp_path / "p", table("ab1"), table("cd0"))
    before = PairShards.open(folder).facts()
    assert before == PairShards.open(folder).facts()
    write(folder, table("ab1 ac0"))
    assert before != PairShards.open(folder).facts()
