"""Tables: what is read, and how bad files and rows are named."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.tables import BadRow, read_table, write_table
from simprod_tf.errors import InputError


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
