"""Event logs: who viewed and bought what, and when, as a table in DuckDB.

The log never passes through Python's memory: DuckDB reads the file into the table
`events(event_id BIGINT, session VARCHAR, id VARCHAR, kind VARCHAR, time_us BIGINT)`,
where kind is 'view' or 'purchase' and time_us counts microseconds since 1970 in UTC.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from simprod_tf.data.event_file import EventFile, open_event_file
from simprod_tf.data.formats import otto
from simprod_tf.engine.embedded import Embedded, sql_name, sql_text
from simprod_tf.errors import InputError

KINDS = ("view", "purchase", "ignored")

DEFAULT_EVENT_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("view", "views", "click", "clicks", "pageview"), "view"),
    **dict.fromkeys(
        ("purchase", "purchases", "order", "orders", "buy", "transaction"), "purchase"
    ),
    **dict.fromkeys(("cart", "carts", "addtocart", "add_to_cart"), "ignored"),
}

_EVENT_ID = "event_id"


@dataclass(frozen=True)
class EventSettings:
    """How a log names its columns and its events.

    Args:
        session: the column of the session's key. A customer's key will do as well: the
            session gap alone then cuts the customer's events into sessions.
        id: the column of the product's id.
        event: the column that says what happened.
        time: the column of the time: ISO 8601 text (UTC where it names no zone), a
            timestamp, or a number since 1970. The number's size decides its unit:
            seconds below 1e11, milliseconds below 1e14, microseconds below 1e17, else
            nanoseconds.
        event_id: the column of a unique whole number for each event; rows that repeat
            one are dropped, and it breaks ties in time. `event_id` is used where the
            file has such a column; with None, or without it, the order of the rows
            breaks ties.
        event_names: names of events beyond DEFAULT_EVENT_NAMES, or against them, each
            with 'view', 'purchase' or 'ignored'; upper and lower case are one.
    """

    session: str = "session"
    id: str = "id"
    event: str = "event"
    time: str = "time"
    event_id: str | None = _EVENT_ID
    event_names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in self.event_names.items():
            if kind not in KINDS:
                raise ValueError(
                    f"event name {name!r} must mean one of {', '.join(KINDS)}, "
                    f"got {kind!r}."
                )


@dataclass(frozen=True)
class EventLog:
    """A log that was read and checked; its events are the table `events` of `engine`.

    `counts` says how many `rows` the file has, and of these how many are `views`,
    `purchases`, `ignored_events` and `repeated_event_ids`.
    """

    engine: Embedded
    counts: Mapping[str, int]


def read_events(
    path: str | os.PathLike[str],
    *,
    engine: Embedded,
    settings: EventSettings | None = None,
) -> EventLog:
    """Returns the log at `path`, read into `engine`.

    CSV and TSV with a header, JSONL (one object a line, or OTTO's layout, which is
    recognised and needs no column names) and Parquet are told apart by the suffix.
    Whatever `engine` held in `events` before is replaced.

    Raises:
        InputError: the file or one of its rows cannot be used.
    """
    file = open_event_file(path, engine)
    settings = _settings_for(file, settings or EventSettings())
    with file.reading():
        engine.run(_staging_sql(file, settings))
    _check_rows(file, engine=engine, settings=settings)
    repeated = 0
    if settings.event_id is not None:
        repeated = _drop_repeats(file, engine)
    event_id = "rowid" if settings.event_id is None else "event_id"
    engine.run(
        f"""CREATE OR REPLACE VIEW events AS
        SELECT {event_id} AS event_id, session, id,
            CAST(kind AS VARCHAR) AS kind, time_us
        FROM staged_events WHERE kind IN ('view', 'purchase')"""
    )
    counts = engine.query(
        """SELECT
            COUNT(*) FILTER (kind = 'view') AS views,
            COUNT(*) FILTER (kind = 'purchase') AS purchases,
            COUNT(*) FILTER (kind = 'ignored') AS ignored_events
        FROM staged_events"""
    ).to_pylist()[0]
    rows = sum(counts.values()) + repeated
    return EventLog(engine, {"rows": rows, **counts, "repeated_event_ids": repeated})


def _settings_for(file: EventFile, settings: EventSettings) -> EventSettings:
    """Returns the settings with the columns that this file really has."""
    if file.is_otto:
        return replace(
            settings,
            session=otto.SESSION,
            id=otto.ID,
            event=otto.EVENT,
            time=otto.TIME,
            event_id=None,
        )
    names = list(file.column_types)
    if settings.event_id == _EVENT_ID and _EVENT_ID not in names:
        settings = replace(settings, event_id=None)
    for role in ("session", "id", "event", "time", "event_id"):
        name = getattr(settings, role)
        if name is not None and name not in names:
            raise InputError(
                f"there is no column {name!r}; the file has {', '.join(names)}. "
                f"Say which one holds the {role}: --{role}-column.",
                path=file.path,
            )
    return settings


def _staging_sql(file: EventFile, settings: EventSettings) -> str:
    """Returns the statement that reads the file; what it cannot read becomes NULL."""
    event_id = "NULL"
    if settings.event_id is not None:
        event_id = f"TRY_CAST({sql_name(settings.event_id)} AS BIGINT)"
    time_us = _time_us(sql_name(settings.time), file.column_types[settings.time])
    # Every row stays, in the file's order: rowid + 1 is then the row to name in errors.
    return f"""CREATE OR REPLACE TABLE staged_events AS
        SELECT
            trim(CAST({sql_name(settings.session)} AS VARCHAR)) AS session,
            trim(CAST({sql_name(settings.id)} AS VARCHAR)) AS id,
            CAST({_kind(settings)} AS ENUM ('view', 'purchase', 'ignored')) AS kind,
            {time_us} AS time_us,
            {event_id} AS event_id
        FROM {file.rows}"""


def _kind(settings: EventSettings) -> str:
    """Returns the SQL for an event's kind, NULL where its name is unknown."""
    kinds = dict(DEFAULT_EVENT_NAMES)
    kinds.update((n.strip().lower(), kind) for n, kind in settings.event_names.items())
    name = f"lower(trim(CAST({sql_name(settings.event)} AS VARCHAR)))"
    # Neither IN nor list_contains: DuckDB makes a join of a long list, and a join does
    # not keep the order of the file.
    choices = [f"WHEN {sql_text(n)} THEN '{kind}'" for n, kind in kinds.items()]
    return f"CASE {name} {' '.join(choices)} END"


def _time_us(column: str, column_type: str) -> str:
    """Returns the SQL for microseconds since 1970, NULL where a time is no time."""
    if column_type == "TIMESTAMP WITH TIME ZONE":
        return f"epoch_us({column})"
    if column_type.startswith(("TIMESTAMP", "DATE")):
        return f"epoch_us(CAST({column} AS TIMESTAMP))"
    text = f"trim(CAST({column} AS VARCHAR))"
    whole, real = f"TRY_CAST({text} AS BIGINT)", f"TRY_CAST({text} AS DOUBLE)"
    # Whole numbers keep to integers: a double cannot hold nanoseconds since 1970.
    return f"""CASE
        WHEN {real} IS NULL THEN epoch_us(TRY_CAST({text} AS TIMESTAMPTZ))
        WHEN contains({text}, '.') THEN TRY_CAST(round(CASE
            WHEN abs({real}) < 1e11 THEN {real} * 1e6
            WHEN abs({real}) < 1e14 THEN {real} * 1e3
            WHEN abs({real}) < 1e17 THEN {real}
            ELSE {real} / 1e3 END) AS BIGINT)
        WHEN abs({real}) < 1e11 THEN {whole} * 1000000
        WHEN abs({real}) < 1e14 THEN {whole} * 1000
        WHEN abs({real}) < 1e17 THEN {whole}
        ELSE {whole} // 1000 END"""


def _check_rows(file: EventFile, *, engine: Embedded, settings: EventSettings) -> None:
    """Refuses the first row that lacks something, with what stands there instead."""
    faults = {
        "session": "session IS NULL OR session = ''",
        "id": "id IS NULL OR id = ''",
        "event": "kind IS NULL",
        "time": "time_us IS NULL",
    }
    if settings.event_id is not None:
        faults["event_id"] = "event_id IS NULL"
    firsts = ", ".join(
        f"MIN(rowid) FILTER ({fault}) AS {role}" for role, fault in faults.items()
    )
    found = engine.query(f"SELECT COUNT(*) AS rows, {firsts} FROM staged_events")
    first = found.to_pylist()[0]
    if first.pop("rows") == 0:
        raise InputError("the log holds no events.", path=file.path)
    bad = [role for role, row in first.items() if row is not None]
    if bad:
        role = min(bad, key=first.__getitem__)
        row, column = first[role], getattr(settings, role)
        value = engine.query(
            f"SELECT CAST({sql_name(column)} AS VARCHAR) AS value "
            f"FROM {file.rows} LIMIT 1 OFFSET {row}"
        ).to_pylist()[0]["value"]
        raise file.error(_complaint(role, column, value), row + 1)


def _complaint(role: str, column: str, value: str | None) -> str:
    """Returns what is wrong with the value of a column, and the way out."""
    if value is None or not value.strip():
        return f"column {column!r} is empty; every event needs its {role}."
    shown = repr(value if len(value) <= 60 else value[:57] + "...")
    if role == "event":
        return (
            f"unknown event {shown}; say what it means: --event-name {value}=view, "
            f"{value}=purchase or {value}=ignored."
        )
    if role == "event_id":
        return f"column {column!r} must be a whole number, got {shown}."
    return (
        f"column {column!r} must be a time (ISO 8601 like 2024-05-01T12:30:00Z, or a "
        f"number since 1970), got {shown}."
    )


def _drop_repeats(file: EventFile, engine: Embedded) -> int:
    """Returns how many rows repeated an earlier row's event_id; they are gone then."""
    engine.run(
        """CREATE OR REPLACE TABLE repeated_events AS
        SELECT event_id, MIN(rowid) AS first_row
        FROM staged_events GROUP BY event_id HAVING COUNT(*) > 1"""
    )
    clash = engine.query(
        """SELECT event_id, first_row, later.rowid AS later_row
        FROM repeated_events
        JOIN staged_events AS later USING (event_id)
        JOIN staged_events AS earlier ON earlier.rowid = first_row
        WHERE (later.session, later.id, later.kind, later.time_us)
            <> (earlier.session, earlier.id, earlier.kind, earlier.time_us)
        ORDER BY later_row LIMIT 1"""
    ).to_pylist()
    if clash:
        raise file.error(
            f"event_id {clash[0]['event_id']} names another event in row "
            f"{clash[0]['first_row'] + 1}; an event_id must be an event's own.",
            clash[0]["later_row"] + 1,
        )
    before = _row_count(engine)
    engine.run(
        """DELETE FROM staged_events USING repeated_events
        WHERE staged_events.event_id = repeated_events.event_id
            AND staged_events.rowid > repeated_events.first_row"""
    )
    engine.run("DROP TABLE repeated_events")
    return before - _row_count(engine)


def _row_count(engine: Embedded) -> int:
    found = engine.query("SELECT COUNT(*) AS rows FROM staged_events")
    return int(found["rows"][0].as_py())
