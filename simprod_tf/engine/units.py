"""Jobs of work units that go on where they were interrupted.

Until its output is whole a job keeps what it has done in `<out>.unfinished`, in a
folder named by everything that the output depends on: a job with other settings, or
over other files, finds nothing there. Of each unit a record says that it is done.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from simprod_tf.atomic import write_json
from simprod_tf.engine.base import Engine, Progress
from simprod_tf.manifest import fingerprint


class Named(Protocol):
    """A work unit; its name is a file's name, and its own within the job."""

    @property
    def name(self) -> str:
        """Names the unit."""


NamedUnit = TypeVar("NamedUnit", bound=Named)


@contextlib.contextmanager
def unfinished(out: str | os.PathLike[str], facts: Mapping[str, Any]) -> Iterator[Path]:
    """Yields the folder in which a job keeps what it has done; gone at the end.

    After an error or an interruption it stays, for the same job to go on.

    Args:
        out: the job's output, beside which the folder lies.
        facts: what the output depends on, as JSON can hold it: settings, inputs.
    """
    text = json.dumps(facts, sort_keys=True)
    parent = Path(f"{os.path.abspath(out)}.unfinished")
    folder = parent / fingerprint([("facts", text.encode())])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except BaseException:
        _remove_empty(folder, parent)
        raise
    # With what jobs of other settings left behind.
    shutil.rmtree(parent, ignore_errors=True)


def _remove_empty(*folders: Path) -> None:
    """Removes folders in which nothing was done, the inner one first."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def file_facts(path: str | os.PathLike[str]) -> list[Any]:
    """Returns what tells a file from a changed one: its place, size and time."""
    status = os.stat(path)
    return [os.path.abspath(path), status.st_size, status.st_mtime_ns]


def run_units(
    engine: Engine,
    work: Callable[[NamedUnit], Mapping[str, Any]],
    units: Sequence[NamedUnit],
    *,
    folder: Path,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Returns the record of every unit by its name; runs those that have none yet.

    Args:
        engine: where they run.
        work: writes the unit's files and returns its record, as JSON can hold it.
        units: by whose names the records are kept.
        folder: of the records, one for each kind of work; made where there is none.
        progress: called with (units done, units in all), those done before too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = {unit.name: _read_record(folder, unit.name) for unit in units}
    left = [unit for unit in units if records[unit.name] is None]
    before = len(units) - len(left)

    def told(done: int, total: int) -> None:
        if progress is not None:
            progress(before + done, before + total)

    told(0, len(left))
    if left:
        found = engine.each(partial(_recorded, work, folder), left, progress=told)
        records.update(zip((unit.name for unit in left), found))
    return {name: record for name, record in records.items() if record is not None}


def _recorded(
    work: Callable[[NamedUnit], Mapping[str, Any]], folder: Path, unit: NamedUnit
) -> dict[str, Any]:
    record = dict(work(unit))
    write_json(_record_path(folder, unit.name), record)
    return record


def _read_record(folder: Path, name: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(_record_path(folder, name).read_text("utf-8")))
    except FileNotFoundError:
        return None


def _record_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"
