"""A catalogue is read in pieces: every row once, under its own number."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.catalog_shards import (
    catalog_files,
    catalog_pieces,
    numbered,
    parquet_pieces,
    read_blocks,
    split_text,
)
from simprod_tf.errors import InputError


def write_groups(path, *sizes):
    """Writes a Parquet file of row groups of these sizes; ids count from 1."""
    schema = pa.schema([("id", pa.string()), ("title", pa.string())])
    path.parent.mkdir(exist_ok=True)
    at = 0
    with pq.ParquetWriter(path, schema) as writer:
        for size in sizes:
            ids = [str(at + i + 1) for i in range(size)]
            writer.write_table(pa.table({"id": ids, "title": ids}, schema=schema))
            at += size
    return path


def read(pieces, rows_per_block=3):
    """Returns (row number, id) of all pieces, read block by block."""
    return [
        pair
        for piece in pieces
        for block in read_blocks(piece, columns=["id"], rows_per_block=rows_per_block)
        for pair in zip(block.rows, block.table["id"].to_pylist())
    ]


def test_row_groups_are_joined_and_split_into_pieces_of_rows(tmp_path):
    file = write_groups(tmp_path / "a.parquet", 2, 3, 2, 12, 1, 1)
    pieces = catalog_pieces([file], rows_per_piece=5)
    found = [(one.groups, one.skip, one.rows, one.first_row) for one in pieces]
    assert found == [
        ((0, 2), 0, 5, 1),
        ((2, 3), 0, 2, 6),
        ((3, 4), 0, 5, 8),
        ((3, 4), 5, 5, 13),
        ((3, 4), 10, 2, 18),
        ((4, 6), 0, 2, 20),
    ]
    assert [one.number for one in pieces] == [0, 1, 2, 3, 4, 5]
    names = [one.name for one in pieces]
    assert names == sorted(set(names))
    assert read(pieces) == [(i, str(i)) for i in range(1, 22)]


def test_blocks_have_no_more_rows_than_asked_for(tmp_path):
    file = write_groups(tmp_path / "a.parquet", 4, 4)
    (piece,) = catalog_pieces([file], rows_per_piece=8)
    blocks = read_blocks(piece, columns=["id", "nowhere"], rows_per_block=3)
    found = [(block.rows, block.table.column_names) for block in blocks]
    assert [row for rows, _ in found for row in rows] == list(range(1, 9))
    assert max(len(rows) for rows, _ in found) == 3
    assert {tuple(names) for _, names in found} == {("id",)}


def test_a_folder_is_read_in_the_order_of_the_names(tmp_path):
    write_groups(tmp_path / "c" / "b.parquet", 1)
    (tmp_path / "c" / "a.csv").write_text("id\nx\n")
    write_groups(tmp_path / "c" / "_c.parquet", 1)
    files = catalog_files(tmp_path / "c")
    assert [file.name for file in files] == ["a.csv", "b.parquet"]
    pieces = catalog_pieces(files, rows_per_piece=5)
    assert [one.is_text for one in pieces] == [True, False]
    assert catalog_files(files[0]) == [files[0]]


def test_a_text_file_keeps_its_bad_rows_in_their_places(tmp_path):
    source = tmp_path / "a.csv"
    source.write_bytes(b"id,title,price\na,x,1\nb,y\nc,z,3\n\xff,q,4\ne,v,5\n")
    split_text(source, tmp_path / "a.parquet", columns=["id"], rows_per_piece=2)
    pieces = numbered(
        parquet_pieces(tmp_path / "a.parquet", source=str(source), rows_per_piece=2)
    )
    assert [one.rows for one in pieces] == [2, 2, 1]
    blocks = [
        block
        for one in pieces
        for block in read_blocks(one, columns=["id", "title"], rows_per_block=9)
    ]
    assert [block.rows for block in blocks] == [[1, 2], [3, 4], [5]]
    ids = [block.table["id"].to_pylist() for block in blocks]
    assert ids == [["a", None], ["c", None], ["e"]]
    faults = [fault for block in blocks for fault in block.faults]
    assert faults == ["", "2 columns instead of 3", "", "not UTF-8 text", ""]
    assert blocks[0].table.column_names == ["id"]


def test_a_file_that_nobody_would_read_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("id\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.JPG").write_text("")
    (tmp_path / "_notes.txt").write_text("")
    assert catalog_files(tmp_path) == [tmp_path / "a.csv"]
    (tmp_path / "b.csv.gz").write_text("")
    with pytest.raises(InputError, match=r"holds b\.csv\.gz, which is no catalogue"):
        catalog_files(tmp_path)


def test_what_is_no_catalogue_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no such file or folder"):
        catalog_files(tmp_path / "gone")
    (tmp_path / "a.txt").write_text("id\n")
    with pytest.raises(InputError, match=r"unknown kind of file; use one of \.csv"):
        catalog_files(tmp_path / "a.txt")


def test_a_truncated_file_is_named(tmp_path):
    file = write_groups(tmp_path / "a.parquet", 50)
    (piece,) = catalog_pieces([file], rows_per_piece=50)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    message = r"a\.parquet: the file cannot be read as PARQUET"
    with pytest.raises(InputError, match=message):
        catalog_pieces([file], rows_per_piece=50)
    with pytest.raises(InputError, match=message):
        read([piece])
    file.unlink()
    with pytest.raises(InputError, match="there is no such file"):
        read([piece])


def test_pages_that_are_damaged_are_found_when_they_are_read(tmp_path):
    file = write_groups(tmp_path / "a.parquet", 50)
    (piece,) = catalog_pieces([file], rows_per_piece=50)
    content = bytearray(file.read_bytes())
    content[4:60] = b"\xff" * 56
    file.write_bytes(bytes(content))
    with pytest.raises(InputError, match="the file cannot be read as PARQUET"):
        read([piece])


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
def test_a_file_without_ids_is_refused(tmp_path, name):
    message = "column 'id' is missing; the columns are: sku"
    if name == "a.csv":
        (tmp_path / name).write_text("sku\nx\n")
        with pytest.raises(InputError, match=message):
            split_text(tmp_path / name, tmp_path / "b", columns=[], rows_per_piece=1)
        return
    pq.write_table(pa.table({"sku": ["x"]}), tmp_path / name)
    with pytest.raises(InputError, match=message):
        read(catalog_pieces([tmp_path / name], rows_per_piece=1))
