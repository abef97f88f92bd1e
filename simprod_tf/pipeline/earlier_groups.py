"""The groups of the run before, as a table on an engine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from simprod_tf.data.tables import read_table
from simprod_tf.engine.base import Engine
from simprod_tf.errors import InputError
from simprod_tf.shards import shard_files

_COLUMNS = ("id", "group")
_NOBODY = pa.schema([(name, pa.string()) for name in _COLUMNS])
# `group` must follow a dot: alone it is a word of SQL's.
_EARLIER = """
SELECT CAST(p.id AS STRING) AS id, CAST(p.group AS STRING) AS name
FROM grouping_previous p
"""
_STAYING = """
SELECT e.id, e.name
FROM grouping_earlier e
WHERE EXISTS (SELECT 1 FROM grouping_products p WHERE CAST(p.id AS STRING) = e.id)
    AND NOT EXISTS (SELECT 1 FROM grouping_queries q WHERE CAST(q.id AS STRING) = e.id)
"""
_TWICE = """
SELECT id FROM grouping_earlier GROUP BY id HAVING COUNT(*) > 1 ORDER BY id LIMIT 1
"""


@dataclass(frozen=True)
class Joining:
    """That new products join the earlier groups, which do not change else.

    Attributes:
        queries: Parquet files with a column `id`: the new or changed products.
        products: Parquet files with a column `id`: all products that there are.
    """

    queries: Sequence[Path]
    products: Sequence[Path]


def read_earlier(
    engine: Engine, previous: Path | None, *, joining: Joining | None
) -> None:
    """Makes the table `grouping_earlier` of `id` and `name`, the group's.

    Args:
        engine: where the table shall be.
        previous: `id` and `group`: a file, or a folder of Parquet files; or None.
        joining: leaves only the products that there are, and that are not new.

    Raises:
        InputError: the table lacks a column or a value, or has a product twice.
    """
    _read(engine, previous)
    engine.define("grouping_earlier", _EARLIER)
    if previous is not None:
        _check(engine, previous)
    if joining is not None:
        engine.read("grouping_products", joining.products)
        engine.read("grouping_queries", joining.queries)
        engine.define("grouping_earlier", _STAYING)


def require_groups(previous: Path) -> None:
    """Refuses a table of groups that cannot be read.

    Raises:
        InputError: a file is damaged, or lacks a column; names it.
    """
    if not previous.is_dir():
        read_table(previous).require(_COLUMNS)
        return
    files = shard_files(previous)
    names = _columns(files)
    for name in _COLUMNS:
        if name not in names:
            raise InputError(
                f"column {name!r} is missing; the columns are: {', '.join(names)}.",
                path=os.fspath(files[0]),
            )


def _read(engine: Engine, previous: Path | None) -> None:
    if previous is None:
        engine.load("grouping_previous", _NOBODY.empty_table())
        return
    require_groups(previous)
    if previous.is_dir():
        engine.read("grouping_previous", shard_files(previous))
    else:
        table = read_table(previous).table.select(_COLUMNS)
        engine.load("grouping_previous", table)


def _columns(files: Sequence[Path]) -> list[str]:
    """Returns the columns of the first file, once all files could be opened."""
    for file in files:
        try:
            pq.read_metadata(file)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(
                f"cannot be read as Parquet ({error}); group again.", path=file
            ) from error
    return list(pq.read_schema(files[0]).names)


def _check(engine: Engine, previous: Path) -> None:
    empty = "SELECT COUNT(*) AS number FROM grouping_earlier WHERE id IS NULL "
    number = engine.query(f"{empty} OR name IS NULL")["number"][0].as_py()
    if number:
        raise InputError(
            f"each row must have an id and a group, got {number} rows without; group "
            "again.",
            path=previous,
        )
    twice = engine.query(_TWICE)["id"].to_pylist()
    if twice:
        raise InputError(
            f"each product must be listed once, got {twice[0]!r} twice; group again.",
            path=previous,
        )
