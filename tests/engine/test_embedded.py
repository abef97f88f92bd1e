"""The embedded engine: answers, limits, errors and its temporary folder."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from simprod_tf.engine.embedded import Embedded, QueryError, sql_name, sql_text
from simprod_tf.errors import SimprodError


def test_query_returns_an_arrow_table() -> None:
    with Embedded() as engine:
        engine.run("CREATE TABLE numbers AS SELECT range AS n FROM range(4)")
        table = engine.query("SELECT CAST(SUM(n) AS BIGINT) AS total FROM numbers")
    assert table.to_pydict() == {"total": [6]}


def test_an_arrow_table_is_loaded_in_place_of_an_older_one() -> None:
    with Embedded() as engine:
        for n in (1, 2):
            engine.load("a b", pa.table({"n": [n]}))
        assert engine.query('SELECT n FROM "a b"').to_pydict() == {"n": [2]}


def test_two_engines_share_no_tables() -> None:
    with Embedded() as one, Embedded() as other:
        one.run("CREATE TABLE mine AS SELECT 1 AS n")
        with pytest.raises(QueryError, match="mine"):
            other.query("SELECT * FROM mine")


def test_wrong_sql_is_a_simprod_error() -> None:
    with Embedded() as engine:
        with pytest.raises(SimprodError, match="SELEC"):
            engine.run("SELEC 1")
        assert engine.query("SELECT 1 AS n").num_rows == 1


def test_a_time_without_zone_is_utc() -> None:
    with Embedded() as engine:
        table = engine.query(
            "SELECT epoch_us(CAST('1970-01-01 00:00:01' AS TIMESTAMPTZ)) AS time_us"
        )
    assert table.to_pydict() == {"time_us": [1_000_000]}


def test_running_out_of_memory_says_what_to_raise() -> None:
    with Embedded(memory_limit_mb=20, threads=1) as engine:
        with pytest.raises(SimprodError, match="raise memory_limit_mb") as caught:
            engine.query("SELECT array_agg(range) AS all_of_them FROM range(20000000)")
    assert not isinstance(caught.value, QueryError)


def test_tables_beyond_the_limit_go_to_the_temporary_folder(tmp_path: Path) -> None:
    with Embedded(memory_limit_mb=20, temp_directory=tmp_path, threads=1) as engine:
        engine.run("CREATE TABLE big AS SELECT hash(range) AS n FROM range(4000000)")
        assert [file for file in tmp_path.rglob("*") if file.is_file()]
        found = engine.query("SELECT COUNT(DISTINCT n % 1000) AS kinds FROM big")
        assert found.to_pydict() == {"kinds": [1000]}
    assert list(tmp_path.iterdir()) == []


def test_closing_twice_does_no_harm(tmp_path: Path) -> None:
    engine = Embedded(temp_directory=tmp_path)
    engine.close()
    engine.close()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_temporary_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SimprodError, match="nowhere cannot hold temporary files"):
        Embedded(temp_directory=tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["memory_limit_mb", "threads"])
def test_limits_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be 1 or more, got 0"):
        Embedded(**{name: 0})


def test_quotes_in_names_and_texts_survive() -> None:
    text, name = "it's", 'a "b"'
    with Embedded() as engine:
        table = engine.query(f"SELECT {sql_text(text)} AS {sql_name(name)}")
    assert table.to_pydict() == {name: [text]}


def test_ctrl_c_during_a_query_stays_ctrl_c():
    long = "SELECT sum(a.i * b.i) FROM range(100000000) a(i), range(1000000) b(i)"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    stop = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        with Embedded() as engine, pytest.raises(KeyboardInterrupt):
            stop.start()
            engine.run(long)
    finally:
        stop.cancel()
        signal.signal(signal.SIGINT, before)


def test_a_full_disk_is_named() -> None:
    with Embedded() as engine:
        with pytest.raises(
            SimprodError, match="^/dev/full: No space left on device; m"
        ):
            engine.run("COPY (SELECT 1) TO '/dev/full' (FORMAT csv)")
