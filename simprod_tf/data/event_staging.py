"""One file of a log, parsed and checked: the table `staged_events` of a DuckDB.

    staged_events(place BIGINT, session VARCHAR, id VARCHAR, kind VARCHAR,
                  time_us BIGINT, event_id BIGINT)

`place` orders the events of a log: the file's number and the row in it, from 0. Every
file is parsed by DuckDB, whichever engine mines it: a time or a quoted text means the
same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from simprod_tf.data.event_file import EventFile
from simprod_tf.data.event_settings import (
    DEFAULT_EVENT_NAMES,
    EVENT_ID,
    EventSettings,
)
from simprod_tf.data.event_time import time_us_sql
from simprod_tf.data.formats import otto
from simprod_tf.engine.embedded import Embedded, sql_name, sql_text
from simprod_tf.errors import InputError

# A place holds the file's number above the row's: 2^40 rows a file, 2^23 files.
ROWS_PER_FILE = 1 << 40

_COUNTS = {
    "views": "view",
    "purchases": "purchase",
    "carts": "cart",
    "returns": "return",
    "ignored_events": "ignored",
}
# SQL for every engine, with `{inside}` for whether an event lies in the period.
_COUNTING = (
    ", ".join(
        f"COUNT(CASE WHEN kind = '{kind}' AND {{inside}} THEN 1 END) AS {name}"
        for name, kind in _COUNTS.items()
    )
    + ", COUNT(CASE WHEN NOT ({inside}) THEN 1 END) AS outside_period"
)
COUNTED = (*_COUNTS, "outside_period")


@dataclass(frozen=True)
class StagedFile:
    """What a file holds.

    Attributes:
        counts: how many events of each kind lie in the period, and how many outside.
        has_event_ids: whether its event_ids are used.
        id_range: the first and the last event_id where they rise from row to row, so
            that none comes twice; else None.
    """

    counts: Mapping[str, int]
    has_event_ids: bool
    id_range: tuple[int, int] | None

    @property
    def rows(self) -> int:
        """How many rows the file has."""
        return sum(self.counts.values())


def counting_sql(settings: EventSettings) -> str:
    """Returns the SQL of the counts, for every engine: what to select from events."""
    return _COUNTING.replace("{inside}", settings.in_period)


def stage_file(
    file: EventFile, *, engine: Embedded, settings: EventSettings, number: int = 0
) -> StagedFile:
    """Makes `staged_events` of `engine` the rows of a file, and returns what it holds.

    A Parquet file is read where it lies, anew for each query.

    Args:
        file: as it was opened in this engine.
        engine: DuckDB, for its own SQL.
        settings: which columns to read, and how.
        number: of the file among those of its log, from 0.

    Raises:
        InputError: a column is missing, or a row lacks something; the first such row
            is named.
    """
    settings = _settings_for(file, settings)
    with file.reading():
        _stage(
            file, engine=engine, settings=settings, first_place=number * ROWS_PER_FILE
        )
        counts = _check_rows(file, engine=engine, settings=settings)
        has_event_ids = settings.event_id is not None
        return StagedFile(
            counts, has_event_ids, _id_range(engine) if has_event_ids else None
        )


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
    if settings.event_id == EVENT_ID and EVENT_ID not in names:
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


def _stage(
    file: EventFile, *, engine: Embedded, settings: EventSettings, first_place: int
) -> None:
    """Makes `staged_events`: every row of the file; what cannot be read is NULL.

    Text is parsed once, into a table; Parquet is quicker to read again than to copy.
    """
    if file.row_number is not None:
        # A plain column can be filtered while it is read; trim() stands in the way.
        padded = _is_padded(file, engine, settings)
        columns = _columns(file, settings, key=_trimmed if padded else _text)
        engine.run(
            f"CREATE OR REPLACE VIEW staged_events AS "
            f"SELECT {first_place} + {file.row_number} AS place, {columns} "
            f"FROM {file.rows}"
        )
        return
    engine.run(
        f"CREATE OR REPLACE TABLE event_rows AS SELECT {_columns(file, settings)} "
        f"FROM {file.rows}"
    )
    # Rows are inserted in the file's order, and rowid counts them.
    engine.run(
        f"CREATE OR REPLACE VIEW staged_events AS "
        f"SELECT {first_place} + rowid AS place, session, id, "
        f"CAST(kind AS VARCHAR) AS kind, time_us, event_id FROM event_rows"
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
        f"MIN(place) FILTER ({fault}) AS {role}" for role, fault in faults.items()
    )
    found = engine.query(
        f"SELECT {counting_sql(settings)}, {firsts} FROM staged_events"
    ).to_pylist()[0]
    first = {role: found[role] for role in faults}
    bad = [role for role, place in first.items() if place is not None]
    if bad:
        role = min(bad, key=first.__getitem__)
        row, column = first[role] % ROWS_PER_FILE, getattr(settings, role)
        value = engine.query(
            f"SELECT CAST({sql_name(column)} AS VARCHAR) AS value "
            f"FROM {file.rows} LIMIT 1 OFFSET {row}"
        ).to_pylist()[0]["value"]
        raise file.error(_complaint(role, column, value), row + 1)
    return {name: found[name] for name in COUNTED}


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


def _id_range(engine: Embedded) -> tuple[int, int] | None:
    """Returns the first and the last event_id where they rise from row to row."""
    # Quick: no sorting, no grouping.
    found = engine.query(
        """SELECT MIN(event_id) AS first, MAX(event_id) AS last,
            COALESCE(BOOL_AND(before IS NULL OR event_id > before), true) AS rising
        FROM (
            SELECT event_id, LAG(event_id) OVER () AS before FROM staged_events
        )"""
    ).to_pylist()[0]
    if not found["rising"] or found["first"] is None:
        return None
    return found["first"], found["last"]
