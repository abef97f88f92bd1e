"""Sharded tables: a folder of Parquet files, and `_SUCCESS` once they are all there.

What is too large for one file lies as `part-00000.parquet` and so on. `_SUCCESS` is the
name by which Spark, Hive and others say that a folder is whole; in ours it holds JSON.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_file, whole_folder
from simprod_tf.errors import InputError

SUCCESS = "_SUCCESS"
# Where Hadoop's committers keep what is not yet whole.
_HALF_WRITTEN = "_temporary"
# What stands between the values of a list in a CSV file, which has none.
LIST_SEPARATOR = ";"


def is_sharded(path: str | os.PathLike[str]) -> bool:
    """Returns whether an output of this name is a folder of shards, not one file."""
    return Path(path).suffix.lower() not in (".csv", ".parquet")


def part_name(number: int) -> str:
    """Returns the name of a shard, `part-00007.parquet`."""
    return f"part-{number:05d}.parquet"


def shard_files(
    folder: str | os.PathLike[str], suffixes: Sequence[str] = (".parquet",)
) -> list[Path]:
    """Returns the files of a sharded table in the order of their names.

    Files and folders whose names begin with `_` or `.` are no data, as everywhere in
    the Hadoop world. Folders within it (`day=2024-05-01`) are looked into.

    Raises:
        InputError: there is none, or somebody is still writing them.
    """
    place = Path(folder)
    if any(place.rglob(_HALF_WRITTEN)):
        raise InputError(
            f"holds {_HALF_WRITTEN}: it is being written, or was left half-written; "
            "wait, or write it again.",
            path=place,
        )
    found = [
        file
        for file in sorted(place.rglob("*"))
        if file.suffix.lower() in suffixes
        and file.is_file()
        and not any(
            part.startswith(("_", ".")) for part in file.relative_to(place).parts
        )
    ]
    if not found:
        raise InputError(f"holds no file in {', '.join(suffixes)}.", path=place)
    return found


def read_success(folder: str | os.PathLike[str], *, kind: str) -> dict[str, Any]:
    """Returns what `_SUCCESS` says of a folder that was written as this `kind`.

    Raises:
        InputError: it is not whole, or something else.
    """
    path = Path(folder) / SUCCESS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"is no {kind}, or not whole: {SUCCESS} is missing; write it again.",
            path=folder,
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}.", path=path) from error
    found = content.get("kind") if isinstance(content, dict) else None
    if found != kind:
        raise InputError(f"holds {found or 'nothing known'}, not: {kind}.", path=folder)
    return content


def publish(
    files: Iterable[Path],
    out: str | os.PathLike[str],
    *,
    kind: str,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Makes Parquet files, in their order, the table at `out`: whole, or not there.

    Args:
        files: stay where they are; into the folder `out` they are linked. Where `out`
            ends in .parquet or .csv, that one file gets their rows.
        out: a table that is there is replaced.
        kind: and `facts`: what `_SUCCESS` shall say.
    """
    if not is_sharded(out):
        _join(list(files), Path(out))
        return
    with whole_folder(out) as temporary:
        rows = 0
        for number, file in enumerate(files):
            rows += pq.read_metadata(file).num_rows
            link_or_copy(file, temporary / part_name(number))
        write_success(temporary, {"kind": kind, "rows": rows, **(facts or {})})


def link_or_copy(file: Path, target: Path) -> None:
    """Gives a file a second name; copies it where the file system has no links."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


def write_success(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes `_SUCCESS`, which comes last."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / SUCCESS).write_text(text + "\n", encoding="utf-8")


def _join(files: list[Path], out: Path) -> None:
    # DuckDB marks columns without a gap as such; one file is like another's.
    fields = [(field.name, field.type) for field in pq.read_schema(files[0])]
    schema = pa.schema(fields)
    with whole_file(out) as temporary:
        if out.suffix.lower() == ".csv":
            with pacsv.CSVWriter(temporary, _flat(schema.empty_table()).schema) as csv:
                for batch in _batches(files, schema):
                    csv.write_table(_flat(batch))
            return
        with pq.ParquetWriter(temporary, schema) as parquet:
            for batch in _batches(files, schema):
                parquet.write_table(batch)


def _batches(files: list[Path], schema: pa.Schema) -> Iterable[pa.Table]:
    for file in files:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(batch_size=1 << 16):
                if batch.num_rows:
                    table = pa.Table.from_batches([batch]).replace_schema_metadata()
                    yield table.cast(schema)


def _flat(table: pa.Table) -> pa.Table:
    """Joins lists of text, which CSV does not have."""
    for at, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            joined = pc.binary_join(table.column(at), LIST_SEPARATOR)
            table = table.set_column(at, field.name, joined)
    return table
