"""What every engine does alike: tables, files, work units, errors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.engine.base import Engine, QueryError
from simprod_tf.engine.spark import Spark, local_with_tries
from simprod_tf.errors import InputError, MissingLibraryError, SimprodError

NUMBERS = pa.table(
    {
        "n": pa.array([3, 1, 2, None], pa.int64()),
        "text": ["x", "é", None, "a b"],
        "share": pa.array([0.5, None, 0.25, 1.0], pa.float32()),
    }
)


@pytest.fixture(params=["embedded", pytest.param("spark", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    yield request.getfixturevalue(request.param)


def test_a_table_comes_back_with_its_types(engine: Engine) -> None:
    engine.load("numbers", NUMBERS)
    found = engine.query("SELECT * FROM numbers ORDER BY n NULLS LAST")
    assert found.to_pydict() == {
        "n": [1, 2, 3, None],
        "text": ["é", None, "x", "a b"],
        "share": [None, 0.25, 0.5, 1.0],
    }
    assert found.schema.types == NUMBERS.schema.types


def test_no_rows_keep_their_columns(engine: Engine) -> None:
    engine.load("numbers", NUMBERS)
    found = engine.query("SELECT n, text FROM numbers WHERE n > 7")
    assert found.num_rows == 0
    assert found.schema.names == ["n", "text"]


def test_a_table_can_be_made_of_what_had_its_name(engine: Engine) -> None:
    engine.load("numbers", NUMBERS)
    engine.define("numbers", "SELECT n + 1 AS n FROM numbers WHERE n < 3")
    engine.define("numbers", "SELECT n * 10 AS n FROM numbers")
    assert sorted(engine.query("SELECT n FROM numbers")["n"].to_pylist()) == [20, 30]


def test_a_view_is_what_its_table_is_now(engine: Engine) -> None:
    engine.load("numbers", NUMBERS)
    engine.view("small", "SELECT n FROM numbers WHERE n < 3")
    assert sorted(engine.query("SELECT n FROM small")["n"].to_pylist()) == [1, 2]
    engine.view("small", "SELECT n FROM numbers WHERE n < 2")
    assert engine.query("SELECT n FROM small")["n"].to_pylist() == [1]


def test_files_are_read_where_they_lie(engine: Engine, tmp_path: Path) -> None:
    files = [tmp_path / "it's 100%.parquet", tmp_path / "[other], {one}*.parquet"]
    for file in files:
        pq.write_table(NUMBERS, file)
    engine.read("two", files)
    found = engine.query("SELECT COUNT(*) AS rows, SUM(n) AS total FROM two")
    assert found.to_pylist() == [{"rows": 8, "total": 12}]
    engine.read("two", files[:1])
    assert engine.query("SELECT COUNT(*) AS rows FROM two")["rows"].to_pylist() == [4]


def test_a_folders_name_is_no_column(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "n=5" / "part-00000.parquet"
    file.parent.mkdir()
    pq.write_table(NUMBERS, file)
    engine.read("two", [file])
    found = engine.query("SELECT SUM(n) AS total FROM two")
    assert found["total"].to_pylist() == [6]


def test_files_are_written_in_the_order_of_the_query(
    engine: Engine, tmp_path: Path
) -> None:
    engine.load("numbers", NUMBERS)
    for _ in range(2):
        files = engine.write(
            "SELECT n FROM numbers WHERE n > 0 ORDER BY n DESC", tmp_path / "w"
        )
    found = [n for file in files for n in pq.read_table(file)["n"].to_pylist()]
    assert found == [3, 2, 1]


def test_each_value_of_a_column_has_its_folder(engine: Engine, tmp_path: Path) -> None:
    engine.load("numbers", NUMBERS)
    out = tmp_path / "deep" / "w"
    engine.write(
        "SELECT n, text, n % 2 AS odd FROM numbers WHERE n > 0",
        out,
        partition_by="odd",
    )
    assert sorted(one.name for one in out.iterdir() if one.is_dir()) == [
        "odd=0",
        "odd=1",
    ]
    odd = [pq.ParquetFile(one).read() for one in (out / "odd=1").glob("*.parquet")]
    assert sorted(pa.concat_tables(odd)["n"].to_pylist()) == [1, 3]
    assert odd[0].schema.names == ["n", "text"]


def test_wrong_sql_is_a_query_error(engine: Engine) -> None:
    with pytest.raises(QueryError, match="(?i)syntax error at or near .selec"):
        engine.query("selec 1")
    with pytest.raises(QueryError, match="nowhere"):
        engine.query("SELECT * FROM nowhere")
    with pytest.raises(QueryError, match="lacking"):
        engine.define("x", "SELECT lacking FROM (SELECT 1 AS n) AS one")
    assert engine.query("SELECT 1 AS n")["n"].to_pylist() == [1]


@dataclass(frozen=True)
class Unit:
    number: int


def squared(unit: Unit) -> dict[str, int]:
    if unit.number == 40:
        raise InputError("the id is empty", path="a.csv", row=3)
    if unit.number == 41:
        with open("/dev/full", "w", buffering=1) as file:
            file.write("x\n")
    return {"square": unit.number**2}


def by_value() -> None:
    """Gives Spark's workers the functions of this file, which they cannot import."""
    from pyspark import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])


def test_units_answer_in_their_order(engine: Engine) -> None:
    by_value()
    told: list[tuple[int, int]] = []
    found = engine.each(
        squared, map(Unit, range(9)), progress=lambda *one: told.append(one)
    )
    assert [one["square"] for one in found] == [n * n for n in range(9)]
    assert told == sorted(told)
    assert all(total == 9 for _, total in told)


def test_no_units_are_no_work(engine: Engine) -> None:
    assert engine.each(squared, []) == []


def test_what_a_unit_says_is_wrong_ends_the_job(engine: Engine) -> None:
    by_value()
    with pytest.raises(SimprodError, match="a.csv, row 3: the id is empty"):
        engine.each(squared, map(Unit, [1, 40, 2]))


def test_a_full_disk_ends_the_job(engine: Engine) -> None:
    by_value()
    with pytest.raises((SimprodError, OSError), match="No space left on device"):
        engine.each(squared, map(Unit, [1, 41, 2]))


@pytest.mark.parametrize(
    ("master", "tried"),
    [
        ("local", "local[1,4]"),
        ("local[*]", "local[*,4]"),
        ("local[3]", "local[3,4]"),
        ("local[3,2]", "local[3,2]"),
        ("spark://host:7077", "spark://host:7077"),
        ("local-cluster[2,1,1024]", "local-cluster[2,1,1024]"),
    ],
)
def test_a_local_master_tries_a_lost_task_again(master: str, tried: str) -> None:
    assert local_with_tries(master) == tried


def test_a_master_that_is_not_there_is_named(tmp_path: Path) -> None:
    # Nothing listens on port 1.
    with pytest.raises(SimprodError, match=r"spark://127.0.0.1:1 does not answer \("):
        Spark(tmp_path, master="spark://127.0.0.1:1")


def test_what_is_no_master_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SimprodError, match="spark://HOST:7077, yarn, .*, got nonsense"):
        Spark(tmp_path, master="nonsense")


def test_without_pyspark_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'simprod-tf\[spark\]'"):
        Spark(tmp_path, master="local")
