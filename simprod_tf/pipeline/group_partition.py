"""Edges -> files of whole components, each file a piece of work for one machine.

Products that no accepted edges connect can come into no common group, whatever the
linkage: only the edges within a component are handed on, the longer ones among them,
too, as they count in the mean.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_file, write_json
from simprod_tf.engine.base import Engine
from simprod_tf.errors import InputError
from simprod_tf.pipeline.group_components import bounded_components, sql_limit

_EDGES = pa.schema(
    [("query_id", pa.string()), ("id", pa.string()), ("distance", pa.float32())]
)
_WRONG = """
SELECT COUNT(*) AS number
FROM grouping_edges
WHERE query_id IS NULL OR id IS NULL OR distance IS NULL OR isnan(distance)
    OR distance < 0
"""
_NEAR_IDS = """
SELECT query_id AS id FROM grouping_edges WHERE query_id <> id AND distance <= {limit}
UNION
SELECT id FROM grouping_edges WHERE query_id <> id AND distance <= {limit}
"""
# Earlier groups that nothing new is near to stay as they are.
_TOUCHED = """
SELECT id
FROM grouping_earlier
WHERE name IN (
    SELECT e.name FROM grouping_earlier e JOIN grouping_near n ON n.id = e.id
)
"""
_HELD = """
SELECT n.node, MIN(n.node) OVER (PARTITION BY e.name) AS head
FROM grouping_earlier e
JOIN grouping_nodes n ON n.id = e.id
"""
_PAIRS = """
SELECT a, b, MIN(distance) AS distance
FROM (
    SELECT
        least(q.node, o.node) AS a,
        greatest(q.node, o.node) AS b,
        e.distance,
        CASE WHEN q.node < o.node THEN 1 ELSE 0 END AS forwards
    FROM grouping_edges e
    JOIN grouping_nodes q ON q.id = e.query_id
    JOIN grouping_nodes o ON o.id = e.id
    WHERE q.node <> o.node
) directed
GROUP BY a, b
"""
_IN_BOTH_DIRECTIONS = "HAVING MIN(forwards) < MAX(forwards)"
_INNER = """
SELECT one.component, p.a, p.b, p.distance
FROM grouping_pairs p
JOIN grouping_components one ON one.node = p.a
JOIN grouping_components other ON other.node = p.b
WHERE one.component = other.component
"""
_SIZES = "SELECT component, COUNT(*) AS pairs FROM grouping_inner GROUP BY component"
_LARGE = """
SELECT component, {first} + ROW_NUMBER() OVER (ORDER BY component) - 1 AS unit
FROM grouping_sizes
WHERE pairs > {max_pairs}
"""
# Spark brings a unit's rows together by the hint; elsewhere it is a comment.
_BY_UNIT = """
SELECT /*+ REPARTITION(unit) */ unit, {columns}
FROM (
    SELECT coalesce(large.unit, t.component % {first}) AS unit, {columns}
    FROM {table} t
    LEFT JOIN grouping_large large ON large.component = t.component
) placed
"""


@dataclass(frozen=True)
class GroupLimits:
    """What one work unit holds.

    Attributes:
        max_component: products of a component; a larger one is cut at a lower limit.
        pairs_per_unit: about as many pairs of small components make a unit.
    """

    max_component: int = 1_000_000
    pairs_per_unit: int = 200_000

    def __post_init__(self) -> None:
        """Refuses limits below 1."""
        for name, value in asdict(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")


@dataclass(frozen=True)
class Partition:
    """How the work was split; its files lie in the folder.

    Attributes:
        rounds: of joins, until the components were found.
        num_components: how many there are.
        largest: how many products the largest one has.
        num_set_aside: accepted pairs that were cut, as a component was too large.
    """

    rounds: int
    num_components: int
    largest: int
    num_set_aside: int


def partition_edges(
    engine: Engine,
    edge_files: Sequence[Path],
    *,
    max_distance: float,
    mutual: bool,
    keep_earlier: bool,
    limits: GroupLimits,
    folder: Path,
) -> Partition:
    """Writes the components of edges into files by unit, or finds them written.

    In `folder` come to lie `nodes/*.parquet` (`id`, `node`: the products' numbers, in
    the order of the ids), `pairs/unit=*/` and `held/unit=*/` as a `GroupUnit` reads
    them, and `set_aside/` with the pairs that were cut.

    Args:
        engine: where it runs; it has the table `grouping_earlier`.
        edge_files: Parquet files of `query_id`, `id`, `distance`.
        max_distance: up to which an edge is accepted.
        mutual: use an edge only if it stands there in both directions.
        keep_earlier: keep the products of an earlier group together.
        limits: what a unit holds.
        folder: where the files shall be.

    Raises:
        InputError: the edges are none.
    """
    record = folder / "partition.json"
    if record.exists():
        return Partition(**json.loads(record.read_text(encoding="utf-8")))
    _read_edges(engine, edge_files)
    _number_products(
        engine, folder, max_distance=max_distance, keep_earlier=keep_earlier
    )
    pairs = f"{_PAIRS} {_IN_BOTH_DIRECTIONS}" if mutual else _PAIRS
    engine.define("grouping_pairs", pairs)
    rounds = bounded_components(
        engine, max_distance=max_distance, max_component=limits.max_component
    )
    files = engine.write("SELECT * FROM grouping_set_aside", folder / "set_aside")
    _write_units(engine, folder, limits.pairs_per_unit)
    num_components, largest = _counted(engine)
    num_set_aside = sum(pq.read_metadata(file).num_rows for file in files)
    found = Partition(rounds, num_components, largest, num_set_aside)
    write_json(record, asdict(found))
    return found


def read_nodes(engine: Engine, folder: Path) -> None:
    """Makes the table `grouping_nodes`: `id`, and `node`, its place among the ids."""
    engine.read("grouping_nodes", sorted((folder / "nodes").glob("*.parquet")))


def _read_edges(engine: Engine, edge_files: Sequence[Path]) -> None:
    for file in edge_files:
        found = pq.read_schema(file)
        for field in _EDGES:
            if field.name not in found.names or found.field(field.name) != field:
                raise InputError(
                    f"edges must have a column {field.name!r} of {field.type}, got "
                    f"{', '.join(found.names)}; match again.",
                    path=file,
                )
    engine.read("grouping_edges", edge_files)
    number = engine.query(_WRONG)["number"][0].as_py()
    if number:
        raise InputError(
            f"edges must have two ids and a distance of 0 and more, got {number} rows "
            "without; match again.",
            path=Path(edge_files[0]).parent,
        )


@dataclass(frozen=True)
class _NumberUnit:
    source: str
    first: int
    out: str


def _number_products(
    engine: Engine, folder: Path, *, max_distance: float, keep_earlier: bool
) -> None:
    """Numbers the products in the order of their ids, a file at a time.

    A ROW_NUMBER over all would bring them all to one task.
    """
    engine.view("grouping_near", _NEAR_IDS.format(limit=sql_limit(max_distance)))
    ids = "SELECT id FROM grouping_near"
    if keep_earlier:
        ids = f"{ids} UNION {_TOUCHED}"
    sources = engine.write(f"SELECT id FROM ({ids}) ids ORDER BY id", folder / "ids")
    shutil.rmtree(folder / "nodes", ignore_errors=True)
    units: list[_NumberUnit] = []
    first = 0
    for source in sources:
        out = folder / "nodes" / f"part-{len(units):05d}.parquet"
        units.append(_NumberUnit(os.fspath(source), first, os.fspath(out)))
        first += pq.read_metadata(source).num_rows
    engine.each(_number, units)
    read_nodes(engine, folder)
    if keep_earlier:
        engine.define("grouping_held", _HELD)
    else:
        engine.view("grouping_held", f"{_HELD} WHERE 1 = 0")


def _number(unit: _NumberUnit) -> None:
    schema = pa.schema([("id", pa.string()), ("node", pa.int64())])
    place = unit.first
    with (
        whole_file(unit.out) as temporary,
        pq.ParquetWriter(temporary, schema) as writer,
        pq.ParquetFile(unit.source) as ids,
    ):
        for batch in ids.iter_batches(columns=["id"]):
            nodes = pa.array(range(place, place + len(batch)), pa.int64())
            writer.write_batch(pa.record_batch([batch["id"], nodes], schema=schema))
            place += len(batch)


def _write_units(engine: Engine, folder: Path, pairs_per_unit: int) -> None:
    engine.define("grouping_inner", _INNER)
    engine.define("grouping_sizes", _SIZES)
    small = engine.query(
        "SELECT CAST(SUM(pairs) AS BIGINT) AS number FROM grouping_sizes "
        f"WHERE pairs <= {pairs_per_unit}"
    )["number"][0].as_py()
    first = max(1, -(-(small or 0) // pairs_per_unit))
    engine.define(
        "grouping_large", _LARGE.format(first=first, max_pairs=pairs_per_unit)
    )
    engine.view(
        "grouping_held_inner",
        "SELECT c.component, h.node, h.head FROM grouping_held h "
        "JOIN grouping_components c ON c.node = h.node",
    )
    for name, table, columns in (
        ("pairs", "grouping_inner", "a, b, distance"),
        ("held", "grouping_held_inner", "node, head"),
    ):
        sql = _BY_UNIT.format(table=table, columns=columns, first=first)
        engine.write(sql, folder / name, partition_by="unit")


def _counted(engine: Engine) -> tuple[int, int]:
    found = engine.query(
        "SELECT COUNT(*) AS number, MAX(products) AS largest FROM ("
        "SELECT COUNT(*) AS products FROM grouping_components GROUP BY component) sizes"
    ).to_pylist()[0]
    return found["number"], found["largest"] or 0
