"""A log of many files, parsed by work units into the Parquet parts of one table.

A part holds the events of one file as in `event_staging`. The parts of a log that was
being read when it was interrupted are not made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from simprod_tf.atomic import whole_file
from simprod_tf.data.event_file import SUFFIXES, open_event_file
from simprod_tf.data.event_settings import EventSettings
from simprod_tf.data.event_staging import StagedFile, stage_file
from simprod_tf.engine.base import Engine, Progress
from simprod_tf.engine.embedded import Embedded, sql_text
from simprod_tf.engine.units import file_facts, run_units
from simprod_tf.errors import InputError
from simprod_tf.manifest import fingerprint
from simprod_tf.shards import shard_files

# Of the DuckDB that parses a file: a file as large as you like gets by with it.
MEMORY_LIMIT_MB = 512


@dataclass(frozen=True)
class EventUnit:
    """A file of a log, its number among them, and the part to write."""

    name: str
    path: str
    number: int
    part: str


def log_files(path: str | os.PathLike[str]) -> list[Path]:
    """Returns the files of a log, a file itself or a folder of them, in order.

    Raises:
        InputError: the folder holds none, or one that is no event log.
    """
    place = Path(path)
    if not place.is_dir():
        return [place]
    files = shard_files(place, SUFFIXES)
    # A log.csv.gz that nobody read would be missed too late.
    found = {file.suffix.lower() for file in place.rglob("*")}
    for file in shard_files(place, sorted(found)):
        if file.suffix.lower() not in SUFFIXES:
            raise InputError(
                f"holds {file.relative_to(place)}, which is no event log; those end in "
                f"{', '.join(SUFFIXES)}. Move it elsewhere.",
                path=place,
            )
    return files


def stage_files(
    engine: Engine,
    files: Sequence[Path],
    *,
    settings: EventSettings,
    folder: Path,
    progress: Progress | None = None,
) -> list[StagedFile]:
    """Makes `staged_events` of `engine` the events of all files, parsed in units.

    Args:
        engine: where the units run.
        files: of one log, in its order.
        settings: of the log.
        folder: where the parts and the units' records are kept, on a disk that every
            machine sees; the table reads them there.
        progress: called with (files done, files in all).

    Returns:
        What each file holds. Where all are empty, there is no table.

    Raises:
        InputError: a file or a row of it cannot be used; on Spark a SimprodError of
            the same words.
    """
    parts = Path(os.path.abspath(folder)) / "events"
    units = [_unit(file, number, parts) for number, file in enumerate(files)]
    # One thread a task on Spark; here a file has the machine for itself.
    threads = None if isinstance(engine, Embedded) else 1
    work = partial(parse_file, settings, threads)
    parts.mkdir(parents=True, exist_ok=True)
    records = run_units(
        engine, work, units, folder=folder / "records", progress=progress
    )
    staged = [_staged(records[unit.name]) for unit in units]
    filled = [unit.part for unit, file in zip(units, staged) if file.rows]
    if filled:
        engine.read("staged_events", filled)
    return staged


def parse_file(
    settings: EventSettings, threads: int | None, unit: EventUnit
) -> dict[str, Any]:
    """Writes a file's part and returns what it holds, as JSON can hold it."""
    # Spark leaves files of no bytes where a task had no rows.
    if os.path.getsize(unit.path) == 0:
        return asdict(StagedFile({}, False, None))
    with Embedded(memory_limit_mb=MEMORY_LIMIT_MB, threads=threads) as engine:
        file = open_event_file(unit.path, engine)
        staged = stage_file(file, engine=engine, settings=settings, number=unit.number)
        if staged.rows:
            with whole_file(unit.part) as temporary:
                engine.run(
                    f"COPY (SELECT * FROM staged_events) TO {sql_text(str(temporary))} "
                    "(FORMAT parquet)"
                )
    return asdict(staged)


def _unit(file: Path, number: int, parts: Path) -> EventUnit:
    """Returns the unit; a file that has changed since has another name."""
    try:
        facts = json.dumps(file_facts(file)).encode()
    except FileNotFoundError:
        raise InputError("there is no such file.", path=file) from None
    name = f"{number:06d}-{fingerprint([('file', facts)])}"
    part = str(parts / f"{name}.parquet")
    return EventUnit(name, os.path.abspath(file), number, part)


def _staged(record: Mapping[str, Any]) -> StagedFile:
    first_and_last = record["id_range"]
    return StagedFile(
        record["counts"],
        record["has_event_ids"],
        None if first_and_last is None else (first_and_last[0], first_and_last[1]),
    )
