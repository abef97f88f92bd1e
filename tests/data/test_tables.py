"""Tables: what is read, and how bad files and rows are named."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.tables import (
    BadRow,
    read_table,
    require_table_place,
    write_table,
)
from simprod_tf.errors import InputError
from simprod_tf.shards import write_success


def test_csv_is_text_with_record_numbers(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id,title\n007,"two\nlines"\n8, x \n', encoding="utf-8")
    read = read_table(path)
    assert read.strings("id") == ["007", "8"]
    assert read.strings("title") == ["two\nlines", "x"]
    assert read.strings("image") == ["", ""]
    assert read.rows == [1, 2]
    assert read.bad == []


def test_bad_csv_rows_are_named_and_the_rest_is_kept(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("id,title\n1,a\n2,café\n3,x,y\n4,ok\n".encode("latin-1"))
    read = read_table(path)
    assert read.strings("id") == ["1", "4"]
    assert read.rows == [1, 4]
    assert read.bad == [
        BadRow(2, "not UTF-8 text"),
        BadRow(3, "3 columns instead of 2"),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfid,title\n1,a\n")
    assert read_table(path).table.column_names == ["id", "title"]


def test_bad_jsonl_rows_are_named_and_the_rest_is_kept(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": 1}\n\n{"id": \n[1]\n{"id": "4", "title": "x"}\n"\xff"\n')
    read = read_table(path)
    assert read.strings("id") == ["1", "4"]
    assert read.strings("title") == ["", "x"]
    assert [one.row for one in read.bad] == [2, 3, 5]
    assert read.bad[1].reason == "not a JSON object"


def test_parquet_keeps_types(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [1, 2], "price": [0.5, None]}), path)
    read = read_table(path)
    assert read.strings("id") == ["1", "2"]
    assert read.table.column("price").to_pylist() == [0.5, None]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "a.csv: the file is empty"),
        ("a.csv", b"id,id\n1,2\n", "column 'id' stands there twice"),
        ("a.csv", b"id,t\xe9tle\n1,2\n", "the header is not UTF-8 text"),
        ("a.parquet", b"PAR1 cut short", "cannot be read as PARQUET"),
        ("a.xlsx", b"x", "unknown kind of file; use one of .csv, .jsonl, .parquet"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / name)


def test_a_missing_file_or_column_is_named(tmp_path):
    with pytest.raises(InputError, match="none.csv: there is no such file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_text("key,title\n1,x\n")
    with pytest.raises(InputError, match="column 'id' is missing; .*: key, title"):
        read_table(tmp_path / "a.csv").require(["id"])


@pytest.mark.parametrize("name", ["t.csv", "t.CSV", "t.parquet"])
def test_what_is_written_comes_back(tmp_path, name):
    table = pa.table({"id": ['a,"b', "ü"], "n": [1, 2]})
    write_table(table, tmp_path / name)
    read = read_table(tmp_path / name)
    assert read.strings("id") == ['a,"b', "ü"]
    assert read.strings("n") == ["1", "2"]


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"write to a .csv or .parquet file"):
        write_table(pa.table({"a": [1]}), tmp_path / "t.txt")
    assert list(tmp_path.iterdir()) == []


def shards(folder, *tables):
    folder.mkdir(exist_ok=True)
    for number, table in enumerate(tables):
        pq.write_table(pa.table(table), folder / f"part-{number:05d}.parquet")
    return folder


def test_a_folder_of_shards_is_one_table(tmp_path):
    (tmp_path / "_SUCCESS").touch()
    folder = shards(
        tmp_path, {"id": ["a", "b"]}, {"id": pa.array([], "string")}, {"id": ["c"]}
    )
    read = read_table(folder)
    assert read.strings("id") == ["a", "b", "c"]
    assert read.rows == [1, 2, 3]
    assert str(read.error("no.", 2)) == f"{folder / 'part-00000.parquet'}, row 2: no."
    assert str(read.error("no.", 3)) == f"{folder / 'part-00002.parquet'}, row 1: no."


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            {"key": ["b"], "n": [1]},
            "part-00001.parquet: the columns are key, n, in part-",
        ),
        ({"id": ["b"], "n": ["x"]}, "part-00001.parquet: its columns do not have the"),
    ],
)
def test_shards_that_differ_are_refused(tmp_path, second, message):
    with pytest.raises(InputError, match=message):
        read_table(shards(tmp_path, {"id": ["a"], "n": [1]}, second))


def test_a_damaged_or_missing_shard_is_named(tmp_path):
    with pytest.raises(InputError, match="holds no file in .parquet"):
        read_table(tmp_path)
    shards(tmp_path, {"id": ["a"]})
    (tmp_path / "part-00001.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(InputError, match="part-00001.parquet: the file cannot be read"):
        read_table(tmp_path)


def test_a_place_for_a_table_is_a_file_or_a_folder_of_its_kind(tmp_path):
    for name in ("t.csv", "t.parquet", "new"):
        require_table_place(tmp_path / name, kind="pairs")
    (tmp_path / "empty").mkdir()
    require_table_place(tmp_path / "empty", kind="pairs")
    write_success(shards(tmp_path / "made", {"id": ["a"]}), {"kind": "pairs"})
    require_table_place(tmp_path / "made", kind="pairs")
    with pytest.raises(
        InputError, match="made: this folder holds something else than g"
    ):
        require_table_place(tmp_path / "made", kind="groups")
    with pytest.raises(InputError, match="whose name has no suffix, not .txt"):
        require_table_place(tmp_path / "t.txt", kind="pairs")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: this is a file; name a folder"):
        require_table_place(tmp_path / "file", kind="pairs")
