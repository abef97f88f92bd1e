"""Sharded tables: whole or not there, in order, one file or many."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.tables import read_table
from simprod_tf.errors import InputError
from simprod_tf.shards import is_sharded, publish, read_success, shard_files

PARTS = [
    pa.table({"id": ["b", "c"], "n": [2, 3], "why": [["x", "y"], []]}),
    pa.table({"id": ["a"], "n": [1], "why": [["z"]]}),
]


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """Files whose names do not sort as they are given."""
    files = [tmp_path / "z.parquet", tmp_path / "y.parquet"]
    for file, part in zip(files, PARTS):
        pq.write_table(part, file)
    return files


def test_a_name_without_a_tables_suffix_is_a_folder() -> None:
    assert is_sharded("pairs")
    assert is_sharded("pairs.v2")
    assert not is_sharded("pairs.Parquet")
    assert not is_sharded("pairs.csv")


def test_a_folder_holds_the_parts_in_the_order_given(
    parts: list[Path], tmp_path: Path
) -> None:
    publish(parts, tmp_path / "out", kind="things", facts={"dim": 4})
    files = shard_files(tmp_path / "out")
    assert [file.name for file in files] == ["part-00000.parquet", "part-00001.parquet"]
    assert [pq.read_table(file)["id"].to_pylist() for file in files] == [
        ["b", "c"],
        ["a"],
    ]
    assert read_success(tmp_path / "out", kind="things") == {
        "kind": "things",
        "rows": 3,
        "dim": 4,
    }


def test_a_folder_takes_the_place_of_an_earlier_one(
    parts: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "part-00009.parquet").write_text("old")
    publish(parts, out, kind="things")
    assert sorted(file.name for file in out.iterdir()) == [
        "_SUCCESS",
        "part-00000.parquet",
        "part-00001.parquet",
    ]


def test_without_links_files_are_copied(
    parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    publish(parts, tmp_path / "out", kind="things")
    assert [pq.read_table(file) for file in shard_files(tmp_path / "out")] == PARTS


def test_one_file_holds_all_parts(parts: list[Path], tmp_path: Path) -> None:
    publish(parts, tmp_path / "out.parquet", kind="things")
    assert pq.read_table(tmp_path / "out.parquet") == pa.concat_tables(PARTS)


def test_a_csv_file_joins_lists(parts: list[Path], tmp_path: Path) -> None:
    publish(parts, tmp_path / "out.csv", kind="things")
    assert read_table(tmp_path / "out.csv").table.to_pydict() == {
        "id": ["b", "c", "a"],
        "n": ["2", "3", "1"],
        "why": ["x;y", "", "z"],
    }


def test_nothing_is_there_where_a_part_cannot_be_read(
    parts: list[Path], tmp_path: Path
) -> None:
    parts[1].write_bytes(b"PAR1 cut")
    for name in ("out", "out.parquet"):
        with pytest.raises(pa.ArrowInvalid):
            publish(parts, tmp_path / name, kind="things")
        assert not (tmp_path / name).exists()
        # Whoever mends the bad part goes on with the others.
        assert pq.read_table(parts[0]) == PARTS[0]


def test_names_that_begin_with_a_mark_are_no_data(
    parts: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "log"
    for name in ("day=2/a.parquet", "day=1/b.parquet", "_delta_log/c.parquet"):
        (out / name).parent.mkdir(parents=True)
        pq.write_table(PARTS[0], out / name)
    (out / ".hidden.parquet").write_text("")
    found = [str(file.relative_to(out)) for file in shard_files(out)]
    assert found == ["day=1/b.parquet", "day=2/a.parquet"]


def test_a_folder_that_is_being_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log" / "_temporary" / "0").mkdir(parents=True)
    with pytest.raises(InputError, match="log: holds _temporary: .*wait, or write"):
        shard_files(tmp_path / "log")


def test_a_folder_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no file in .csv, .parquet"):
        shard_files(tmp_path, (".csv", ".parquet"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is no things, or not whole: _SUCCESS is missing"),
        ("{", "_SUCCESS: cannot be read"),
        ("", "_SUCCESS: cannot be read"),
        ("[]", "holds nothing known, not: things"),
        (json.dumps({"kind": "pairs"}), "holds pairs, not: things"),
    ],
)
def test_what_is_not_whole_or_another_thing_is_refused(
    tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "_SUCCESS").write_text(text)
    with pytest.raises(InputError, match=message):
        read_success(tmp_path, kind="things")
