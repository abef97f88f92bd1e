"""Event logs: who viewed and bought what, and when, as a table in DuckDB.

The log never passes through Python's memory: DuckDB reads the file as the table
`events(event_id BIGINT, session VARCHAR, id VARCHAR, kind VARCHAR, time_us BIGINT)`,
where kind is 'view', 'purchase' or 'cart' and time_us counts microseconds since 1970 in
UTC. No other column is read: an order's quantity, say, plays no part.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from simprod_tf.data.event_file import EventFile, open_event_file
from simprod_tf.data.event_time import EPOCH, instant_us, time_us_sql
from simprod_tf.data.formats import otto
from simprod_tf.engine.embedded import Embedded, sql_name, sql_text
from simprod_tf.errors import InputError

KINDS = ("view", "purchase", "cart", "return", "ignored")

DEFAULT_EVENT_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("view", "views", "click", "clicks", "pageview"), "view"),
    **dict.fromkeys(
        ("purchase", "purchases", "order", "orders", "buy", "transaction"), "purchase"
    ),
    **dict.fromkeys(("cart", "carts", "addtocart", "add_to_cart"), "cart"),
    **dict.fromkeys(
        ("return", "returns", "returned", "refund", "refunds", "refunded"), "return"
    ),
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
            with 'view', 'purchase', 'cart', 'return' or 'ignored'; upper and lower case
            are one. Returns are ignored, too, with a count of their own.
        since: ISO 8601 time (UTC where it names no zone); events before it are left
            out as though they had never been logged. None for no bound.
        until: likewise; events at this time or later are left out. Two logs cut at
            one time, up to it and from it on, share no event and no session.
    """

    session: str = "session"
    id: str = "id"
    event: str = "event"
    time: str = "time"
    event_id: str | None = _EVENT_ID
    event_names: Mapping[str, str] = field(default_factory=dict)
    since: str | None = None
    until: str | None = None

    def __post_init__(self) -> None:
        for name, kind in self.event_names.items():
            if kind not in KINDS:
                raise ValueError(
                    f"event name {name!r} must mean one of {', '.join(KINDS)}, "
                    f"got {kind!r}."
                )
        start, end = instant_us(self.since, "since"), instant_us(self.until, "until")
        if start is not None and end is not None and start >= end:
            raise ValueError(
                f"since must be before until, got {self.since} and {self.until}."
            )


@dataclass(frozen=True)
class EventLog:
    """A log that was read and checked; its events are the table `events` of `engine`.

    `counts` says how many `rows` the file has, and of these how many are `views`,
    `purchases`, `carts`, `returns`, `ignored_events`, `outside_period` (of any kind)
    and `repeated_event_ids`.
    """

    engine: Embedded
    counts: Mapping[str, int]


def read_events(
    path: str | os.PathLike[str],
    *,
    engine: Embedded,
    settings: EventSettings | None = None,
) -> EventLog:
    """Returns the log at `path`, checked, as the table `events` of `engine`.

    CSV and TSV with a header, JSONL (one object a line, or OTTO's layout, which is
    recognised and needs no column names) and Parquet are told apart by the suffix.
    Whatever `engine` held in `events` before is replaced. A Parquet file is read where
    it lies, anew for each query; it must stay there unchanged.

    Raises:
        InputError: the file or one of its rows cannot be used, or no event lies
            between `since` and `until`.
    """
    file = open_event_file(path, engine)
    settings = _settings_for(file, settings or EventSettings())
    with file.reading():
        _stage(file, engine=engine, settings=settings)
        counts = _check_rows(file, engine=engine, settings=settings)
        repeated = 0
        if settings.event_id is not None and not _ids_rise(engine):
            repeated = _drop_repeats(file, engine, settings)
            counts = _check_rows(file, engine=engine, settings=settings)
    if sum(counts.values()) == counts["outside_period"]:
        raise InputError(_nothing_left(engine, settings), path=file.path)
    event_id = "file_row" if settings.event_id is None else "event_id"
    engine.run(
        f"""CREATE OR REPLACE VIEW events AS
        SELECT {event_id} AS event_id, session, id, kind, time_us
        FROM staged_events
        WHERE kind IN ('view', 'purchase', 'cart') AND {_in_period(settings)}"""
    )
    rows = sum(counts.values()) + repeated
    return EventLog(engine, {"rows": rows, **counts, "repeated_event_ids": repeated})


def _in_period(settings: EventSettings) -> str:
    """Returns the SQL for whether an event lies between `since` and `until`."""
    start = instant_us(settings.since, "since")
    end = instant_us(settings.until, "until")
    bounds = [f"time_us >= {start}"] if start is not None else []
    bounds += [f"time_us < {end}"] if end is not None else []
    return " AND ".join(bounds) or "true"


def _nothing_left(engine: Embedded, settings: EventSettings) -> str:
    first, last = (
        (EPOCH + timedelta(microseconds=time_us)).isoformat()
        for time_us in engine.query(
            "SELECT MIN(time_us) AS first, MAX(time_us) AS last FROM staged_events"
        )
        .to_pylist()[0]
        .values()
    )
    bounds = (("since", settings.since), ("until", settings.until))
    named = " and ".join(f"{name} {text}" for name, text in bounds if text is not None)
    return f"no event is left with {named}; the log runs from {first} to {last}."


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


def _is_padded(file: EventFile, engine: Embedded, settings: EventSettings) -> bool:
    """Returns whether an id or a session's key has spaces at its ends."""
    padded = " OR ".join(
        f"{_text(column)} <> {_trimmed(column)}"
        for column in (settings.session, settings.id)
    )
    found = engine.query(
        f"SELECT COALESCE(BOOL_OR({padded}), false) AS padded FROM {file.rows}"
    )
    return bool(found["padded"][0].as_py())


def _stage(file: EventFile, *, engine: Embedded, settings: EventSettings) -> None:
    """Makes `staged_events`: every row of the file; what cannot be read is NULL.

    `file_row` counts the file's rows from 0. Text is parsed once, into a table; Parquet
    is quicker to read again than to copy.
    """
    if file.row_number is not None:
        # A plain column can be filtered while it is read; trim() stands in the way.
        padded = _is_padded(file, engine, settings)
        columns = _columns(file, settings, key=_trimmed if padded else _text)
        engine.run(
            f"CREATE OR REPLACE VIEW staged_events AS "
            f"SELECT {file.row_number} AS file_row, {columns} FROM {file.rows}"
        )
        return
    _copy_rows(file, engine, settings)


def _copy_rows(file: EventFile, engine: Embedded, settings: EventSettings) -> None:
    """Makes `staged_events` a view of the table `event_rows`, a copy of the file."""
    engine.run(
        f"CREATE OR REPLACE TABLE event_rows AS SELECT {_columns(file, settings)} "
        f"FROM {file.rows}"
    )
    # Rows are inserted in the file's order, and rowid counts them.
    engine.run(
        "CREATE OR REPLACE VIEW staged_events AS SELECT rowid AS file_row, session, "
        "id, CAST(kind AS VARCHAR) AS kind, time_us, event_id FROM event_rows"
    )


def _text(column: str) -> str:
    """Returns the SQL of a column as text, as it is."""
    return f"CAST({sql_name(column)} AS VARCHAR)"


def _trimmed(column: str) -> str:
    """Returns the SQL of a column as text, without spaces at the ends."""
    return f"trim({_text(column)})"


def _columns(
    file: EventFile, settings: EventSettings, *, key: Callable[[str], str] = _trimmed
) -> str:
    """Returns the SQL of session, id, kind, time_us and event_id."""
    event_id = "NULL"
    if settings.event_id is not None:
        event_id = f"TRY_CAST({sql_name(settings.event_id)} AS BIGINT)"
    time_us = time_us_sql(sql_name(settings.time), file.column_types[settings.time])
    return f"""
        {key(settings.session)} AS session,
        {key(settings.id)} AS id,
        {_kind(settings)} AS kind,
        {time_us} AS time_us,
        {event_id} AS event_id"""


def _kind(settings: EventSettings) -> str:
    """Returns the SQL for an event's kind, NULL where its name is unknown."""
    kinds = dict(DEFAULT_EVENT_NAMES)
    kinds.update((n.strip().lower(), kind) for n, kind in settings.event_names.items())
    name = f"lower(trim(CAST({sql_name(settings.event)} AS VARCHAR)))"
    # Neither IN nor list_contains: DuckDB makes a join of a long list, and a join does
    # not keep the order of the file.
    choices = [f"WHEN {sql_text(n)} THEN '{kind}'" for n, kind in kinds.items()]
    return f"CASE {name} {' '.join(choices)} END"


def _check_rows(
    file: EventFile, *, engine: Embedded, settings: EventSettings
) -> dict[str, int]:
    """Returns the count of every kind; refuses the first row that lacks something."""
    faults = {
        "session": "session IS NULL OR session = ''",
        "id": "id IS NULL OR id = ''",
        "event": "kind IS NULL",
        "time": "time_us IS NULL",
    }
    if settings.event_id is not None:
        faults["event_id"] = "event_id IS NULL"
    firsts = ", ".join(
        f"MIN(file_row) FILTER ({fault}) AS {role}" for role, fault in faults.items()
    )
    inside = _in_period(settings)
    kinds = ", ".join(
        f"COUNT(*) FILTER (kind = '{kind}' AND {inside}) AS {name}"
        for name, kind in _COUNTS.items()
    )
    found = engine.query(
        f"SELECT COUNT(*) AS rows, {kinds}, "
        f"COUNT(*) FILTER (NOT ({inside})) AS outside_period, {firsts} "
        "FROM staged_events"
    ).to_pylist()[0]
    if found["rows"] == 0:
        raise InputError("the log holds no events.", path=file.path)
    first = {role: found[role] for role in faults}
    bad = [role for role, row in first.items() if row is not None]
    if bad:
        role = min(bad, key=first.__getitem__)
        row, column = first[role], getattr(settings, role)
        value = engine.query(
            f"SELECT CAST({sql_name(column)} AS VARCHAR) AS value "
            f"FROM {file.rows} LIMIT 1 OFFSET {row}"
        ).to_pylist()[0]["value"]
        raise file.error(_complaint(role, column, value), row + 1)
    return {name: found[name] for name in (*_COUNTS, "outside_period")}


_COUNTS = {
    "views": "view",
    "purchases": "purchase",
    "carts": "cart",
    "returns": "return",
    "ignored_events": "ignored",
}


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


def _ids_rise(engine: Embedded) -> bool:
    """Returns whether event_ids rise from row to row: then none is repeated."""
    # Quick: no sorting, no grouping.
    found = engine.query(
        """SELECT COALESCE(BOOL_AND(event_id > before), true) AS rising FROM (
            SELECT event_id, LAG(event_id) OVER () AS before FROM staged_events
        ) WHERE before IS NOT NULL"""
    )
    return bool(found["rising"][0].as_py())


def _drop_repeats(file: EventFile, engine: Embedded, settings: EventSettings) -> int:
    """Returns how many rows repeated an earlier row's event_id; they are gone then."""
    engine.run(
        """CREATE OR REPLACE TABLE repeated_events AS
        SELECT event_id, MIN(file_row) AS first_row
        FROM staged_events GROUP BY event_id HAVING COUNT(*) > 1"""
    )
    clash = engine.query(
        """SELECT event_id, first_row, later.file_row AS later_row
        FROM repeated_events
        JOIN staged_events AS later USING (event_id)
        JOIN staged_events AS earlier ON earlier.file_row = first_row
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
    repeated = engine.query(
        """SELECT COUNT(*) AS repeated FROM repeated_events
        JOIN staged_events USING (event_id) WHERE file_row > first_row"""
    )["repeated"][0].as_py()
    if repeated:
        if file.row_number is not None:
            _copy_rows(file, engine, settings)
        engine.run(
            """DELETE FROM event_rows USING repeated_events
            WHERE event_rows.event_id = repeated_events.event_id
                AND event_rows.rowid > repeated_events.first_row"""
        )
    engine.run("DROP TABLE repeated_events")
    return int(repeated)
