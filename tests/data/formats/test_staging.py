"""Big CSV files as checked tables."""

from __future__ import annotations

import pytest

from simprod_tf.data.formats.source import Source
from simprod_tf.data.formats.staging import (
    ISO_TIME,
    MILLISECONDS,
    TEXT,
    CsvFile,
    Field,
    one_of,
    stage,
)
from simprod_tf.engine.embedded import Embedded
from simprod_tf.errors import InputError

SOURCE = Source("a set", "https://example.org", "none", "big.csv")


@pytest.fixture(scope="module")
def engine():
    with Embedded(threads=2) as engine:
        yield engine


def values(engine, tmp_path, field, *texts):
    """Returns what a field makes of each text, None where it refuses it."""
    rows = ", ".join(f"('{text}')" for text in texts)
    sql = field.sql.replace("{}", "x")
    found = engine.query(f"SELECT {sql} AS value FROM (VALUES {rows}) AS t(x)")
    return [None if one is None else str(one) for one in found["value"].to_pylist()]


@pytest.mark.parametrize(
    ("field", "texts", "expected"),
    [
        (TEXT, ("7", " a ", "", " "), ["7", "a", None, None]),
        (
            MILLISECONDS,
            ("1433221332117", "1433221332", "1433221332117000", "2015-06-02", "", "-5"),
            ["2015-06-02 05:02:12.117000", None, None, None, None, None],
        ),
        (
            ISO_TIME,
            ("2014-04-07T10:51:09.277Z", "2014-04-07T12:51:09.277+02:00", "x", "17"),
            [*["2014-04-07 10:51:09.277000"] * 2, None, None],
        ),
        (
            one_of("view", "buy"),
            ("view", " buy", "View", ""),
            ["view", "buy", None, None],
        ),
    ],
)
def test_fields_take_what_they_say_and_refuse_the_rest(
    engine, tmp_path, field, texts, expected
):
    assert values(engine, tmp_path, field, *texts) == expected


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    """200,000 rows: several threads read them in blocks of their own."""
    path = tmp_path_factory.mktemp("long") / "big.csv"
    lines = [f"{row},item {row},{'x' * 40}\n" for row in range(1, 200_001)]
    path.write_text("n,id,rest\n" + "".join(lines))
    return path


NAMES = ("n", "id", "rest")
NUMBER = Field("TRY_CAST(trim({}) AS BIGINT)", "a number")


def test_rows_keep_their_order_and_columns_not_asked_for_are_left(engine, long_file):
    stage(engine, "big", CsvFile(long_file, NAMES), {"n": NUMBER}, source=SOURCE)
    found = engine.query("SELECT *, rowid FROM big")
    assert found.column_names == ["n", "rowid"]
    assert found["n"].to_pylist() == [row + 1 for row in found["rowid"].to_pylist()]
    assert found.num_rows == 200_000


@pytest.mark.parametrize("row", [1, 150_001, 200_000])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seven,item,x\n", "column 'n' must be a number, got 'seven'"),
        ("7,item\n", "2 columns instead of 3"),
    ],
)
def test_a_faulty_row_far_down_is_named(
    engine, long_file, tmp_path, row, line, message
):
    lines = long_file.read_text().splitlines(keepends=True)
    lines[row] = line
    path = tmp_path / "bad.csv"
    path.write_text("".join(lines))
    with pytest.raises(InputError, match=f"bad.csv, row {row}: {message}"):
        stage(engine, "big", CsvFile(path, NAMES), {"n": NUMBER}, source=SOURCE)


def test_rows_of_no_use_are_neither_kept_nor_checked(engine, tmp_path):
    path = tmp_path / "big.csv"
    path.write_text("n,id,rest\nseven,a,x\n8,b,y\nnine,c,y\n")
    fields = {"n": NUMBER}
    stage(engine, "big", CsvFile(path, NAMES), fields, source=SOURCE, where="id = 'b'")
    assert engine.query("SELECT n FROM big")["n"].to_pylist() == [8]
    # The row is the file's, not the kept rows'.
    with pytest.raises(InputError, match="row 3: column 'n' must be a number"):
        stage(
            engine,
            "big",
            CsvFile(path, NAMES),
            fields,
            source=SOURCE,
            where="rest = 'y'",
        )
    with pytest.raises(InputError, match="no row of use is in it"):
        stage(
            engine, "big", CsvFile(path, NAMES), fields, source=SOURCE, where="id = 'z'"
        )
