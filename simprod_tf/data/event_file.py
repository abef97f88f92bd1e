"""Event logs as files: how the rows of a CSV, JSONL or Parquet file are named in SQL.

Nothing here reads more than the head of a file; DuckDB reads the rest.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from simprod_tf.data.formats.otto import is_otto, otto_rows
from simprod_tf.engine.embedded import Embedded, QueryError, sql_text
from simprod_tf.errors import InputError


@dataclass(frozen=True)
class EventFile:
    """A log that was opened: `rows` is SQL to stand after FROM, in the file's order.

    `row_number` names the column of `rows` that counts the file's rows from 0, where
    the file can give it, whatever is read of it.
    """

    path: Path
    rows: str
    column_types: Mapping[str, str]
    is_otto: bool = False
    row_number: str | None = None

    def error(self, message: str, row: int) -> InputError:
        """Returns the error for a row; OTTO's lines hold many events each."""
        if self.is_otto:
            return InputError(f"event {row} of the file: {message}", path=self.path)
        return InputError(message, path=self.path, row=row)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turns DuckDB's refusal to read the file into an InputError with its row."""
        try:
            yield
        except QueryError as error:
            if self.path.suffix.lower() in _JSON_SUFFIXES:
                _refuse_bad_line(self.path)
            raise _readable(error, self.path) from error


def open_event_file(path: str | os.PathLike[str], engine: Embedded) -> EventFile:
    """Returns the file at `path` ready for reading, its layout chosen by its suffix.

    Raises:
        InputError: it is missing, empty, of an unknown kind, or its head is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("there is no such file or folder.", path=path)
    try:
        opener = _OPENERS[path.suffix.lower()]
    except KeyError:
        raise InputError(
            f"an event log ends in {', '.join(_OPENERS)}, not in {path.suffix!r}.",
            path=path,
        ) from None
    if path.stat().st_size == 0:
        raise InputError("the file is empty.", path=path)
    return opener(path, engine)


def _open_csv(path: Path, engine: Embedded) -> EventFile:
    # The header is read here: DuckDB would guess at the delimiter and at the header.
    with open(path, "rb") as file:
        line = file.readline()
    try:
        header = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"the header is not UTF-8: {error}.", path=path) from error
    delimiter = max(",\t;|", key=header.count)
    names = next(csv.reader([header], delimiter=delimiter), [])
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"columns {repeated} appear more than once.", path=path)
    types = dict.fromkeys(names, "VARCHAR")
    rows = (
        f"read_csv({sql_text(str(path))}, auto_detect = false, header = true, "
        f"delim = {sql_text(delimiter)}, quote = '\"', escape = '\"', "
        f"columns = {_struct(types)})"
    )
    return EventFile(path, rows, types)


def _open_jsonl(path: Path, engine: Embedded) -> EventFile:
    with open(path, "rb") as file:
        line = next((line for line in file if line.strip()), b"")
    record = _record(line, path, row=1)
    if is_otto(record):
        types = dict.fromkeys(("session", "aid", "type", "ts"), "VARCHAR")
        return EventFile(path, otto_rows(path), types, is_otto=True)
    types = dict.fromkeys(record, "VARCHAR")
    rows = (
        f"read_json({sql_text(str(path))}, format = 'newline_delimited', "
        f"columns = {_struct(types)})"
    )
    return EventFile(path, rows, types)


def _open_parquet(path: Path, engine: Embedded) -> EventFile:
    with open(path, "rb") as raw:
        # Every Parquet file ends in these bytes, after what says where all else is.
        raw.seek(max(0, path.stat().st_size - len(_PARQUET_END)))
        if raw.read() != _PARQUET_END:
            raise InputError("no Parquet file, or one cut short.", path=path)
    # Not hive_partitioning: a folder `id=5` would hide the file's own column.
    read = f"read_parquet({sql_text(str(path))}, hive_partitioning = false"
    rows = f"{read})"
    file = EventFile(path, rows, {})
    with file.reading():
        described = engine.query(f"DESCRIBE SELECT * FROM {rows}").to_pydict()
    types = dict(zip(described["column_name"], described["column_type"]))
    if "file_row_number" in types:
        return EventFile(path, rows, types)
    numbered = f"{read}, file_row_number = true)"
    return EventFile(path, numbered, types, row_number="file_row_number")


def _struct(types: Mapping[str, str]) -> str:
    """Returns column names and types as DuckDB's readers take them."""
    return "{" + ", ".join(f"{sql_text(n)}: '{t}'" for n, t in types.items()) + "}"


def _record(line: bytes, path: Path, row: int) -> dict[str, object]:
    """Returns the JSON object on a line."""
    try:
        record = json.loads(line)
    # UnicodeDecodeError is a ValueError, too.
    except ValueError as error:
        raise InputError(f"not JSON in UTF-8: {error}.", path=path, row=row) from error
    if not isinstance(record, dict):
        raise InputError(
            f"every line must hold one JSON object, got {str(record)[:60]}.",
            path=path,
            row=row,
        )
    return record


def _refuse_bad_line(path: Path) -> None:
    """Raises for the first line that is no JSON object: DuckDB's count is one off."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                _record(line, path, row=number)


def _readable(error: QueryError, path: Path) -> InputError:
    """Returns DuckDB's complaint without its advice on DuckDB's own options."""
    text = str(error)
    found = re.search(r"CSV Error on Line: (\d+)", text)
    # Line 1 is the header, row 1 stands below it.
    row = int(found.group(1)) - 1 if found else None
    lines = re.split(r"\n\s*(?:Possible|Try setting)", text)[0].splitlines()
    kept = [line for line in lines if line and "CSV Error on Line" not in line]
    return InputError(" ".join(kept), path=path, row=row)


_PARQUET_END = b"PAR1"
_JSON_SUFFIXES = (".jsonl", ".ndjson")
_OPENERS: dict[str, Callable[[Path, Embedded], EventFile]] = {
    ".csv": _open_csv,
    ".tsv": _open_csv,
    ".jsonl": _open_jsonl,
    ".ndjson": _open_jsonl,
    ".parquet": _open_parquet,
}
# Of the files that can be logs.
SUFFIXES = tuple(_OPENERS)
