"""Event logs: who viewed and bought what, and when, as a table of an engine.

The log never passes through Python's memory: DuckDB parses each file, and the engine
holds the table `events(event_id BIGINT, session VARCHAR, id VARCHAR, kind VARCHAR,
time_us BIGINT)`, where kind is 'view', 'purchase' or 'cart' and time_us counts
microseconds since 1970 in UTC. No other column is read: an order's quantity, say, plays
no part.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from simprod_tf.data.event_file import open_event_file
from simprod_tf.data.event_settings import EventSettings
from simprod_tf.data.event_shards import log_files, stage_files
from simprod_tf.data.event_staging import (
    COUNTED,
    ROWS_PER_FILE,
    StagedFile,
    counting_sql,
    stage_file,
)
from simprod_tf.data.event_time import EPOCH
from simprod_tf.engine.base import Engine, Progress
from simprod_tf.engine.embedded import Embedded
from simprod_tf.errors import InputError

__all__ = ["EventLog", "EventSettings", "read_events"]


@dataclass(frozen=True)
class EventLog:
    """A log that was read and checked; its events are the table `events` of `engine`.

    `counts` says how many `rows` the log has, and of these how many are `views`,
    `purchases`, `carts`, `returns`, `ignored_events`, `outside_period` (of any kind)
    and `repeated_event_ids`. `folder` is where the engine has its parts, or None.
    """

    engine: Engine
    counts: Mapping[str, int]
    folder: Path | None = None


def read_events(
    path: str | os.PathLike[str],
    *,
    engine: Engine,
    settings: EventSettings | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> EventLog:
    """Returns the log at `path`, checked, as the table `events` of `engine`.

    CSV and TSV with a header, JSONL (one object a line, or OTTO's layout, which is
    recognised and needs no column names) and Parquet are told apart by the suffix. A
    folder of such files is one log: without event_ids the order of their names, and in
    each the order of its rows, breaks ties. Whatever `engine` held in `events` before
    is replaced. DuckDB reads a Parquet file where it lies, anew for each query; it must
    stay there unchanged.

    Args:
        path: a file, or a folder of files.
        engine: where the table is made.
        settings: EventSettings() where None.
        folder: for a folder of files, and for Spark: where the events are kept in
            Parquet while they are used, a file of the log each. All machines must see
            it. What is there already of the same files and settings is used again.
        progress: called with (files read, files in all).

    Raises:
        InputError: a file or one of its rows cannot be used, or no event lies between
            `since` and `until`.
    """
    settings = settings or EventSettings()
    files = log_files(path)
    if isinstance(engine, Embedded) and not os.path.isdir(path):
        told = progress or _silent
        told(0, 1)
        opened = open_event_file(path, engine)
        staged = [stage_file(opened, engine=engine, settings=settings)]
        told(1, 1)
    elif folder is None:
        raise ValueError(
            "a log in a folder, or on Spark, needs a folder for its parts."
        )
    else:
        staged = stage_files(
            engine, files, settings=settings, folder=Path(folder), progress=progress
        )
    counts = _define_events(engine, files, staged, settings, path)
    return EventLog(engine, counts, None if folder is None else Path(folder))


def _silent(done: int, total: int) -> None:
    """Tells nobody."""


def _define_events(
    engine: Engine,
    files: Sequence[Path],
    staged: Sequence[StagedFile],
    settings: EventSettings,
    path: str | os.PathLike[str],
) -> dict[str, int]:
    """Makes `events` of `staged_events`, each event_id once; returns the counts."""
    rows = sum(one.rows for one in staged)
    if not rows:
        raise InputError("the log holds no events.", path=path)
    counts = {name: sum(s.counts.get(name, 0) for s in staged) for name in COUNTED}
    has_event_ids = _have_event_ids(files, staged)
    source, repeated = "staged_events", 0
    if has_event_ids and not _ranges_apart(
        [one.id_range for one in staged if one.rows]
    ):
        repeated = _find_repeats(engine, files)
    if repeated:
        source = "unique_events"
        engine.define(source, _UNIQUE)
        found = engine.query(f"SELECT {counting_sql(settings)} FROM {source}")
        counts = found.to_pylist()[0]
    if sum(counts.values()) == counts["outside_period"]:
        raise InputError(_nothing_left(engine, settings), path=path)
    engine.view(
        "events",
        f"SELECT {'event_id' if has_event_ids else 'place'} AS event_id, "
        f"session, id, kind, time_us FROM {source} "
        f"WHERE kind IN ('view', 'purchase', 'cart') AND {settings.in_period}",
    )
    return {"rows": rows, **counts, "repeated_event_ids": repeated}


def _have_event_ids(files: Sequence[Path], staged: Sequence[StagedFile]) -> bool:
    """Returns whether the files have event_ids; refuses those where only some do."""
    filled = [(file, one) for file, one in zip(files, staged) if one.rows]
    first, of_first = filled[0]
    for file, one in filled:
        if one.has_event_ids != of_first.has_event_ids:
            has, lacks = (file, first) if one.has_event_ids else (first, file)
            raise InputError(
                f"has no event_ids, and {has} of the same log has; give them to all "
                "files or to none.",
                path=lacks,
            )
    return of_first.has_event_ids


def _ranges_apart(ranges: Sequence[tuple[int, int] | None]) -> bool:
    """Returns whether ids rise in each file, and no two files can share one."""
    known = sorted(one for one in ranges if one is not None)
    return len(known) == len(ranges) and all(
        last < first for (_, last), (first, _) in zip(known, known[1:])
    )


# The SQL from here on runs on every engine.
_REPEATED = """SELECT event_id, MIN(place) AS first_place, COUNT(*) AS times
    FROM staged_events GROUP BY event_id HAVING COUNT(*) > 1"""
_CLASH = """SELECT later.event_id, first_place, later.place AS later_place
    FROM repeated_events
    INNER JOIN staged_events AS later ON later.event_id = repeated_events.event_id
    INNER JOIN staged_events AS earlier ON earlier.place = first_place
    WHERE later.session <> earlier.session OR later.id <> earlier.id
        OR later.kind <> earlier.kind OR later.time_us <> earlier.time_us
    ORDER BY later_place LIMIT 1"""
_UNIQUE = """SELECT place, session, id, kind, time_us, staged_events.event_id
    FROM staged_events
    LEFT JOIN repeated_events ON staged_events.event_id = repeated_events.event_id
    WHERE first_place IS NULL OR place = first_place"""


def _find_repeats(engine: Engine, files: Sequence[Path]) -> int:
    """Returns how many rows repeat an earlier row's event_id: `repeated_events`.

    Raises:
        InputError: a row does so for another event.
    """
    engine.define("repeated_events", _REPEATED)
    repeated = engine.query(
        "SELECT CAST(COALESCE(SUM(times - 1), 0) AS BIGINT) AS rows "
        "FROM repeated_events"
    )["rows"][0].as_py()
    if repeated:
        for clash in engine.query(_CLASH).to_pylist():
            raise _clash(files, clash)
    return int(repeated)


def _clash(files: Sequence[Path], clash: Mapping[str, int]) -> InputError:
    later, row = divmod(clash["later_place"], ROWS_PER_FILE)
    first, first_row = divmod(clash["first_place"], ROWS_PER_FILE)
    where = "" if first == later else f"{files[first]}, "
    return InputError(
        f"event_id {clash['event_id']} names another event in {where}row "
        f"{first_row + 1}; an event_id must be an event's own.",
        path=files[later],
        row=row + 1,
    )


def _nothing_left(engine: Engine, settings: EventSettings) -> str:
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
