"""Event logs of every kind, and what is said of those that cannot be read."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.events import EventSettings, read_events
from simprod_tf.engine.embedded import Embedded
from simprod_tf.errors import InputError

# 2022-08-01 00:00:00 UTC.
MIDNIGHT_S = 1_659_312_000


@pytest.fixture(scope="module")
def engine() -> Iterator[Embedded]:
    with Embedded(threads=2) as engine:
        yield engine


def events_of(engine: Embedded) -> list[tuple[Any, ...]]:
    """What `events` holds, ordered by event_id: (session, id, kind, time_us)."""
    table = engine.query(
        "SELECT session, id, kind, time_us FROM events ORDER BY event_id"
    )
    return [tuple(row.values()) for row in table.to_pylist()]


def csv_log(folder: Path, *rows: str, header: str = "session,id,event,time") -> Path:
    path = folder / "log.csv"
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


THREE = [
    {"session": "s1", "id": "a", "event": "view", "time": MIDNIGHT_S},
    {"session": "s1", "id": "b", "event": "addtocart", "time": MIDNIGHT_S + 1},
    {"session": "s2", "id": "a", "event": "buy", "time": MIDNIGHT_S + 2},
]
THREE_READ = [
    ("s1", "a", "view", MIDNIGHT_S * 10**6),
    ("s1", "b", "cart", (MIDNIGHT_S + 1) * 10**6),
    ("s2", "a", "purchase", (MIDNIGHT_S + 2) * 10**6),
]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "ndjson", "parquet"])
def test_every_format_gives_the_same_events(
    engine: Embedded, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"it's a log[1].{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(THREE), path)
    elif suffix.endswith("sv"):
        glue = {"csv": ",", "tsv": "\t"}[suffix]
        lines = [list(THREE[0]), *([str(v) for v in row.values()] for row in THREE)]
        path.write_text("\n".join(glue.join(line) for line in lines), encoding="utf-8")
    else:
        path.write_text("\n".join(map(json.dumps, THREE)), encoding="utf-8")
    log = read_events(path, engine=engine)
    assert events_of(engine) == THREE_READ
    assert log.counts == {
        "rows": 3,
        "views": 1,
        "purchases": 1,
        "carts": 1,
        "returns": 0,
        "ignored_events": 0,
        "outside_period": 0,
        "repeated_event_ids": 0,
    }


def test_the_table_has_the_documented_types(engine: Embedded, tmp_path: Path) -> None:
    read_events(csv_log(tmp_path, "s,a,view,1"), engine=engine)
    described = engine.query("DESCRIBE events").to_pydict()
    assert dict(zip(described["column_name"], described["column_type"])) == {
        "event_id": "BIGINT",
        "session": "VARCHAR",
        "id": "VARCHAR",
        "kind": "VARCHAR",
        "time_us": "BIGINT",
    }


def test_csv_dialects_are_read(engine: Embedded, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    text = '\ufeffsession;id;event;time\r\ns1;"x;""1""";view;1\r\n s2 ; y ;Buy ; 2\r\n'
    path.write_bytes(text.encode("utf-8"))
    read_events(path, engine=engine)
    assert events_of(engine) == [
        ("s1", 'x;"1"', "view", 10**6),
        ("s2", "y", "purchase", 2 * 10**6),
    ]


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("0", 0),
        ("-5", -5_000_000),
        ("1659312000", MIDNIGHT_S * 10**6),
        ("1659312000.25", MIDNIGHT_S * 10**6 + 250_000),
        ("1659312000123", MIDNIGHT_S * 10**6 + 123_000),
        ("1659312000123.5", MIDNIGHT_S * 10**6 + 123_500),
        ("1659312000123456", MIDNIGHT_S * 10**6 + 123_456),
        ("1659312000123456789", MIDNIGHT_S * 10**6 + 123_456),
        ("2022-08-01", MIDNIGHT_S * 10**6),
        ("2022-08-01 00:00:01", MIDNIGHT_S * 10**6 + 1_000_000),
        ("2022-08-01 00:00:01 UTC", MIDNIGHT_S * 10**6 + 1_000_000),
        ("2022-08-01T02:00:00+02:00", MIDNIGHT_S * 10**6),
        ("2022-08-01T00:00:00.000007Z", MIDNIGHT_S * 10**6 + 7),
    ],
)
def test_times_as_text(
    engine: Embedded, tmp_path: Path, text: str, time_us: int
) -> None:
    read_events(csv_log(tmp_path, f"s,a,view,{text}"), engine=engine)
    assert events_of(engine) == [("s", "a", "view", time_us)]


@pytest.mark.parametrize(
    "time",
    [
        pa.array([datetime(2022, 8, 1)], pa.timestamp("s")),
        pa.array([datetime(2022, 8, 1)], pa.timestamp("ms")),
        pa.array([datetime(2022, 8, 1)], pa.timestamp("us")),
        pa.array([datetime(2022, 8, 1)], pa.timestamp("ns")),
        pa.array(
            [datetime(2022, 8, 1, 2, tzinfo=timezone(timedelta(hours=2)))],
            pa.timestamp("us", "Europe/Berlin"),
        ),
        pa.array([date(2022, 8, 1)]),
        pa.array([MIDNIGHT_S], pa.uint32()),
        pa.array([float(MIDNIGHT_S)]),
        pa.array([MIDNIGHT_S * 10**9], pa.int64()),
    ],
    ids=lambda time: str(time.type),
)
def test_times_in_parquet(engine: Embedded, tmp_path: Path, time: pa.Array) -> None:
    columns = {"session": [7], "id": [12], "event": ["clicks"], "time": time}
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    read_events(tmp_path / "log.parquet", engine=engine)
    assert events_of(engine) == [("7", "12", "view", MIDNIGHT_S * 10**6)]


def test_columns_and_events_may_have_other_names(
    engine: Embedded, tmp_path: Path
) -> None:
    path = csv_log(
        tmp_path,
        "c9,p1,Seen,1",
        "c9,p2,Wish,2",
        "c9,p2,view,3",
        header='customer,sku,what happened,"at ""UTC"""',
    )
    settings = EventSettings(
        session="customer",
        id="sku",
        event="what happened",
        time='at "UTC"',
        event_names={"seen": "view", "wish": "ignored", "View": "purchase"},
    )
    log = read_events(path, engine=engine, settings=settings)
    assert events_of(engine) == [
        ("c9", "p1", "view", 10**6),
        ("c9", "p2", "purchase", 3 * 10**6),
    ]
    assert log.counts["ignored_events"] == 1


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_without_event_ids_the_order_of_the_file_is_kept(
    engine: Embedded, tmp_path: Path, suffix: str
) -> None:
    # Large enough for several row groups, so that two threads read it; and JSONL whose
    # last line has no end once came first.
    ids = [f"p{n}" for n in range(130_000)]
    path = tmp_path / f"log.{suffix}"
    if suffix == "csv":
        csv_log(tmp_path, *(f"s,{id_},view,5" for id_ in ids))
    elif suffix == "jsonl":
        line = '{"session":"s","id":"%s","event":"view","time":5}'
        path.write_text("\n".join(line % id_ for id_ in ids))
    else:
        num_rows = len(ids)
        columns = {
            "session": ["s"] * num_rows,
            "id": ids,
            "event": ["view"] * num_rows,
            "time": [5] * num_rows,
        }
        pq.write_table(pa.table(columns), path, row_group_size=20_000)
    read_events(path, engine=engine)
    found = engine.query("SELECT id FROM events ORDER BY event_id")["id"].to_pylist()
    assert found == ids


def test_event_ids_order_events_and_repeated_ones_count_once(
    engine: Embedded, tmp_path: Path
) -> None:
    rows = ["s,a,view,5,30", "s,b,view,5,10", "s,c,view,5,20", "s,b,view,5,10"]
    random.Random(0).shuffle(rows)
    path = csv_log(tmp_path, *rows, header="session,id,event,time,event_id")
    log = read_events(path, engine=engine)
    assert [event[1] for event in events_of(engine)] == ["b", "c", "a"]
    assert (log.counts["rows"], log.counts["views"]) == (4, 3)
    assert log.counts["repeated_event_ids"] == 1


def test_a_second_log_replaces_the_first(engine: Embedded, tmp_path: Path) -> None:
    read_events(csv_log(tmp_path, "s,a,view,1"), engine=engine)
    read_events(csv_log(tmp_path, "s,b,view,1"), engine=engine)
    assert [event[1] for event in events_of(engine)] == ["b"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("s,a,wishlist,1", r"unknown event 'wishlist'.*--event-name wishlist=view"),
        ("s,a,,1", "row 2: column 'event' is empty; every event needs its event"),
        (",a,view,1", "row 2: column 'session' is empty"),
        ('s," ",view,1', "row 2: column 'id' is empty"),
        ("s,a,view,", "row 2: column 'time' is empty"),
        ("s,a,view,soon", "row 2: column 'time' must be a time .*, got 'soon'"),
        ("s,a,view,nan", "row 2: column 'time' must be a time .*, got 'nan'"),
        ("s,a,view,1e99", "row 2: column 'time' must be a time .*, got '1e99'"),
        ("s,a,view,2022-13-01", "must be a time .*, got '2022-13-01'"),
        ("s,a,view", "row 2: Original Line: s,a,view Expected Number of Columns: 4"),
        ('s,"a,view,1', "row 2: .*unterminated quote"),
    ],
)
def test_a_bad_row_is_named(
    engine: Embedded, tmp_path: Path, row: str, message: str
) -> None:
    path = csv_log(tmp_path, "s,a,view,1", row, "s,b,view,2")
    with pytest.raises(InputError, match=message) as caught:
        read_events(path, engine=engine)
    assert (caught.value.path, caught.value.row) == (str(path), 2)


def test_the_first_bad_row_is_the_one_named(engine: Embedded, tmp_path: Path) -> None:
    path = csv_log(tmp_path, "s,a,view,1", "s,a,view,x", ",a,view,1")
    with pytest.raises(InputError, match="row 2: column 'time'"):
        read_events(path, engine=engine)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("s,a,view,1,x7", "row 2: column 'event_id' must be a whole number, got 'x7'"),
        ("s,a,view,1,", "row 2: column 'event_id' is empty"),
        ("s,b,view,1,1", "row 2: event_id 1 names another event in row 1"),
        ("s,a,cart,1,1", "row 2: event_id 1 names another event in row 1"),
    ],
)
def test_a_bad_event_id_is_named(
    engine: Embedded, tmp_path: Path, row: str, message: str
) -> None:
    header = "session,id,event,time,event_id"
    path = csv_log(tmp_path, "s,a,view,1,1", row, header=header)
    with pytest.raises(InputError, match=message):
        read_events(path, engine=engine)


def test_a_column_that_is_not_there_is_refused(
    engine: Embedded, tmp_path: Path
) -> None:
    path = csv_log(tmp_path, "s,a,view,1", header="visit,id,event,time")
    with pytest.raises(
        InputError,
        match="no column 'session'; the file has visit, id, event, time. Say which one",
    ):
        read_events(path, engine=engine)
    settings = EventSettings(session="visit", event_id="number")
    with pytest.raises(InputError, match="no column 'number'"):
        read_events(path, engine=engine, settings=settings)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.csv", None, "there is no such file"),
        ("log.txt", b"x", r"ends in .csv, .tsv, .jsonl, .ndjson, .parquet, not in"),
        ("log.csv", b"", "the file is empty"),
        ("log.csv", b"session,id,event,time\n", "the log holds no events"),
        ("log.csv", b"a,b,a\n1,2,3\n", r"columns \['a'\] appear more than once"),
        ("log.csv", b"s\xffn,id\n", "the header is not UTF-8"),
        (
            "log.csv",
            b"session,id,event,time\ns,a,view,1\ns,\xff\xfe,view,2\n",
            "row 2: .*not utf-8 encoded",
        ),
        (
            "log.parquet",
            b"PAR1 and no more",
            "log.parquet: no Parquet file, or one cut short",
        ),
        ("log.parquet", b"P", "no Parquet file, or one cut short"),
        ("log.jsonl", b"\n", "row 1: not JSON in UTF-8"),
        ("log.jsonl", b"[1]\n", "row 1: every line must hold one JSON object, got"),
        (
            "log.jsonl",
            b'{"session":1,"id":2,"event":"view","time":3}\n{"session":\n',
            "row 2: not JSON in UTF-8",
        ),
        (
            "log.jsonl",
            b'{"session":1,"id":2,"event":"view","time":3}\n[4]\n',
            "row 2: every line must hold one JSON object",
        ),
        (
            "log.jsonl",
            b'{"session":1,"id":2,"event":"view","time":3}\n{"session":"\xff"}\n',
            "row 2: not JSON in UTF-8",
        ),
        (
            "log.jsonl",
            b'{"session":1,"id":2,"event":"view","time":3}\n{"session":1}\n',
            "row 2: column 'id' is empty",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    engine: Embedded, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_events(tmp_path / name, engine=engine)


def test_a_folder_without_logs_is_refused(engine: Embedded, tmp_path: Path) -> None:
    (tmp_path / "log.csv").mkdir()
    with pytest.raises(InputError, match=r"log.csv: holds no file in .csv, .tsv, "):
        read_events(tmp_path / "log.csv", engine=engine)


def test_a_truncated_parquet_is_refused(engine: Embedded, tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_pylist(THREE), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="log.parquet: "):
        read_events(path, engine=engine)


def test_returns_and_ignored_events_are_counted_and_left_out(
    engine: Embedded, tmp_path: Path
) -> None:
    names = ("view", "Refund", "returned", "cart", "scroll")
    path = csv_log(tmp_path, *(f"s,a,{name},{n}" for n, name in enumerate(names)))
    settings = EventSettings(event_names={"scroll": "ignored"})
    log = read_events(path, engine=engine, settings=settings)
    assert [event[2] for event in events_of(engine)] == ["view", "cart"]
    counts = ("rows", "views", "carts", "returns", "ignored_events")
    assert [log.counts[name] for name in counts] == [5, 1, 1, 2, 1]


@pytest.mark.parametrize(
    ("since", "until", "ids"),
    [
        (None, None, "abcd"),
        # The first instant belongs to the period, the last one does not.
        ("1970-01-01T00:00:02Z", None, "bcd"),
        (None, "1970-01-01T00:00:02Z", "a"),
        ("1970-01-01 00:00:02", "1970-01-01T00:00:04+00:00", "bc"),
        ("1970-01-01T01:00:03+01:00", None, "cd"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_only_events_of_the_period_count(
    engine: Embedded,
    tmp_path: Path,
    since: str | None,
    until: str | None,
    ids: str,
    suffix: str,
) -> None:
    rows = [("s", id_, "view", second) for second, id_ in enumerate("abcd", start=1)]
    path = csv_log(tmp_path, *(",".join(map(str, row)) for row in rows))
    if suffix == "parquet":
        names = ("session", "id", "event", "time")
        path = tmp_path / "log.parquet"
        pq.write_table(pa.table(dict(zip(names, map(list, zip(*rows))))), path)
    settings = EventSettings(since=since, until=until)
    log = read_events(path, engine=engine, settings=settings)
    assert "".join(event[1] for event in events_of(engine)) == ids
    assert (log.counts["views"], log.counts["outside_period"]) == (
        len(ids),
        4 - len(ids),
    )


def test_a_period_without_events_is_refused(engine: Embedded, tmp_path: Path) -> None:
    path = csv_log(tmp_path, "s,a,view,1", "s,a,view,3")
    settings = EventSettings(since="1971-01-01", until="1972-01-01")
    with pytest.raises(
        InputError,
        match="no event is left with since 1971-01-01 and until 1972-01-01; the log "
        r"runs from 1970-01-01T00:00:01\+00:00 to 1970-01-01T00:00:03",
    ):
        read_events(path, engine=engine, settings=settings)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"since": "soon"}, "since must be a time like 2024-05-01 or .*, got 'soon'"),
        ({"until": ""}, "until must be a time like"),
        (
            {"since": "2024-01-02", "until": "2024-01-02T00:00:00Z"},
            "since must be before until, got 2024-01-02 and 2024-01-02T00:00:00Z",
        ),
    ],
)
def test_a_wrong_period_is_refused(bounds: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EventSettings(**bounds)


def test_parquet_with_a_repeated_event_id_counts_it_once(
    engine: Embedded, tmp_path: Path
) -> None:
    # Not a copy of the file otherwise: the row to drop is dropped from one.
    rows = [{**row, "event_id": 9 - n} for n, row in enumerate(THREE)]
    path = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_pylist([*rows, rows[1]]), path)
    log = read_events(path, engine=engine)
    assert sorted(events_of(engine)) == sorted(THREE_READ)
    assert (log.counts["rows"], log.counts["repeated_event_ids"]) == (4, 1)


def test_event_names_mean_a_known_kind() -> None:
    with pytest.raises(ValueError, match="'click' must mean one of view, purchase"):
        EventSettings(event_names={"click": "look"})


def log_folder(
    folder: Path, *files: tuple[str, Sequence[str]], ids: bool = False
) -> Path:
    """A log of CSV files, each of rows, and Parquet files, each of the same rows."""
    header = ["session", "id", "event", "time", *(["event_id"] if ids else [])]
    for name, rows in files:
        path = folder / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            path.write_text("\n".join([",".join(header), *rows]), encoding="utf-8")
        else:
            columns = map(list, zip(*(row.split(",") for row in rows)))
            pq.write_table(pa.table(dict(zip(header, columns))), path)
    return folder / "logs"


def test_a_folder_of_files_is_one_log(engine: Embedded, tmp_path: Path) -> None:
    logs = log_folder(
        tmp_path,
        ("day=2/part-1.csv", ["s,d,view,7", "s,e,view,7"]),
        ("day=1/part-2.parquet", ["s,b,view,7", "s,c,buy,9"]),
        ("day=1/part-10.csv", ["s,a,view,7", "t,a,refund,8"]),
        # As Spark leaves them where a task had no rows.
        ("day=3/part-0.csv", []),
    )
    (logs / "day=3" / "part-1.csv").write_bytes(b"")
    (logs / "_SUCCESS").write_bytes(b"")
    told: list[tuple[int, int]] = []
    log = read_events(
        logs,
        engine=engine,
        folder=tmp_path / "kept",
        progress=lambda done, total: told.append((done, total)),
    )
    # The order of the names, not of the numbers in them: part-10 before part-2.
    assert [event[1] for event in events_of(engine)] == ["a", "b", "c", "d", "e"]
    assert (log.counts["rows"], log.counts["views"], log.counts["returns"]) == (6, 4, 1)
    assert told[0] == (0, 5)
    assert told[-1] == (5, 5)


def test_what_a_folder_is_called_hides_no_column(
    engine: Embedded, tmp_path: Path
) -> None:
    logs = log_folder(tmp_path, ("id=5/time=6/part-0.parquet", ["s,a,view,1"]))
    read_events(logs, engine=engine, folder=tmp_path / "kept")
    assert events_of(engine) == [("s", "a", "view", 10**6)]


def test_files_of_a_folder_are_one_log_with_their_event_ids(
    engine: Embedded, tmp_path: Path
) -> None:
    files = (
        ("a.csv", ["s,a,view,5,30", "s,b,view,5,10"]),
        ("b.parquet", ["s,c,view,5,20", "s,b,view,5,10", "s,d,view,6,40"]),
    )
    logs = log_folder(tmp_path, *files, ids=True)
    log = read_events(logs, engine=engine, folder=tmp_path / "kept")
    assert [event[1] for event in events_of(engine)] == ["b", "c", "a", "d"]
    counts = ("rows", "views", "repeated_event_ids")
    assert [log.counts[name] for name in counts] == [5, 4, 1]


def test_event_ids_that_rise_in_each_file_are_looked_at_across_files(
    engine: Embedded, tmp_path: Path
) -> None:
    files = [
        ("a.csv", ["s,a,view,5,1", "s,b,view,5,4"]),
        ("b.csv", ["s,c,view,5,2", "s,d,view,5,3"]),
    ]
    logs = log_folder(tmp_path, *files, ids=True)
    log = read_events(logs, engine=engine, folder=tmp_path / "kept")
    assert [event[1] for event in events_of(engine)] == ["a", "c", "d", "b"]
    assert log.counts["repeated_event_ids"] == 0
    log_folder(tmp_path, ("b.csv", ["s,c,view,5,2", "s,d,view,5,4"]), ids=True)
    with pytest.raises(
        InputError,
        match=r"b.csv, row 2: event_id 4 names another event in .*a.csv, row 2; an",
    ):
        read_events(logs, engine=engine, folder=tmp_path / "kept")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([("a.csv", ["s,a,view,1"]), ("b.csv.gz", [])], "holds b.csv.gz, which is no"),
        ([("a.csv", []), ("b.csv", [])], "logs: the log holds no events"),
        (
            [("a.csv", ["s,a,view,1"]), ("b.parquet", ["s,a,view,1", "s,a,view,"])],
            "b.parquet, row 2: column 'time' is empty",
        ),
        (
            [("a.csv", ["s,a,view,1"]), ("b.tsv", [])],
            "b.tsv: there is no column 'session'; the file has nothing",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(
    engine: Embedded,
    tmp_path: Path,
    files: list[tuple[str, list[str]]],
    message: str,
) -> None:
    logs = log_folder(tmp_path, *files[:1])
    for name, rows in files[1:]:
        if name.endswith(".csv") or name.endswith(".parquet"):
            log_folder(tmp_path, (name, rows))
        else:
            (logs / name).write_bytes(b"nothing\n")
    with pytest.raises(InputError, match=message):
        read_events(logs, engine=engine, folder=tmp_path / "kept")


def test_event_ids_in_some_files_only_are_refused(
    engine: Embedded, tmp_path: Path
) -> None:
    log_folder(tmp_path, ("a.csv", ["s,a,view,1,1"]), ids=True)
    logs = log_folder(tmp_path, ("b.csv", ["s,b,view,1"]))
    with pytest.raises(InputError, match=r"b.csv: has no event_ids, and .*a.csv of"):
        read_events(logs, engine=engine, folder=tmp_path / "kept")


def test_a_folder_needs_a_place_for_its_parts(engine: Embedded, tmp_path: Path) -> None:
    logs = log_folder(tmp_path, ("a.csv", ["s,a,view,1"]))
    with pytest.raises(
        ValueError, match="a log in a folder, or on Spark, needs a folder"
    ):
        read_events(logs, engine=engine)


def test_files_that_were_parsed_are_not_parsed_again(
    engine: Embedded, tmp_path: Path
) -> None:
    good, bad = ("a.csv", ["s,a,view,1"]), ("b.csv", ["s,b,look,2"])
    logs, kept = log_folder(tmp_path, good, bad), tmp_path / "kept"
    with pytest.raises(InputError, match="b.csv, row 1: unknown event 'look'"):
        read_events(logs, engine=engine, folder=kept)
    (part,) = kept.glob("events/*.parquet")
    written = part.stat().st_mtime_ns
    log_folder(tmp_path, ("b.csv", ["s,b,viewed,2"]))
    with pytest.raises(InputError, match="b.csv, row 1: unknown event 'viewed'"):
        read_events(logs, engine=engine, folder=kept)
    log_folder(tmp_path, ("b.csv", ["s,b,view,2"]))
    read_events(logs, engine=engine, folder=kept)
    assert [event[1] for event in events_of(engine)] == ["a", "b"]
    assert part.stat().st_mtime_ns == written
    # A file that has changed is another file.
    log_folder(tmp_path, ("a.csv", ["s,changed,view,1"]))
    read_events(logs, engine=engine, folder=kept)
    assert [event[1] for event in events_of(engine)] == ["changed", "b"]
