"""OTTO's session logs as event logs in Parquet (layout: see `otto`).

`simprod mine` reads the JSON Lines as they are, too; Parquet is quicker to read again.
"""

from __future__ import annotations

import os
from pathlib import Path

from simprod_tf.data.events import read_events
from simprod_tf.data.formats.conversion import (
    Conversion,
    Progress,
    silent,
    whole_files,
)
from simprod_tf.data.formats.otto import is_otto_file
from simprod_tf.data.formats.source import Source
from simprod_tf.data.formats.staging import MEMORY_LIMIT_MB, write_events
from simprod_tf.engine.embedded import Embedded

SOURCE = Source(
    "the OTTO recommender systems dataset (2022)",
    "https://github.com/otto-de/recsys-dataset",
    "MIT",
    "JSON Lines files (.jsonl) with a session a line: "
    '{"session": 7, "events": [{"aid": 12, "ts": milliseconds, "type": "clicks"}]}',
)


def convert(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    progress: Progress = silent,
) -> Conversion:
    """Writes `<name>.parquet` for each `<name>.jsonl`: session, id, event, time.

    Raises:
        InputError: no file of this layout is there, or an event of one is faulty.
    """
    root = Path(folder)
    logs = otto_files(root)
    if not logs:
        raise SOURCE.missing(root / "*.jsonl", "there is no such file of this layout.")
    paths, notes = [], []
    with Embedded(memory_limit_mb=MEMORY_LIMIT_MB) as engine, whole_files(out) as place:
        for done, log in enumerate(logs):
            progress("Reading sessions", done, len(logs))
            read_events(log, engine=engine)
            name = f"{log.stem}.parquet"
            events = write_events(engine, _EVENT_ROWS, place / name)
            paths.append(Path(out) / name)
            notes.append(f"Event log of {events:,} events: {paths[-1]}")
        progress("Reading sessions", len(logs), len(logs))
    return Conversion(tuple(paths), tuple(notes))


def otto_files(folder: Path) -> list[Path]:
    """Returns the files of OTTO's layout in a folder, by name."""
    return [path for path in sorted(folder.glob("*.jsonl")) if is_otto_file(path)]


_EVENT_ROWS = (
    "SELECT session, id, kind AS event, make_timestamp(time_us) AS time FROM events"
)
