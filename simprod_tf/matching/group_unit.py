"""The work unit of grouping: whole components, linked as on one machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_file
from simprod_tf.matching.grouping import link_products
from simprod_tf.matching.linkage import LinkageRule

# Numbers of products, in the order of their ids.
MEMBERS = pa.schema([("leader", pa.int64()), ("node", pa.int64())])
APART = pa.schema([("a", pa.int64()), ("b", pa.int64()), ("distance", pa.float32())])


@dataclass(frozen=True)
class GroupUnit:
    """Some of the components: as many small ones as fit, or one large one.

    Attributes:
        name: of the unit.
        pairs: Parquet files of `a`, `b` (int64, a below b) and `distance` (float32):
            every pair within a component once.
        held: Parquet files of `node` and `head` (int64): those that are in an earlier
            group, and its first one. None where groups are made from nothing.
        members: Parquet file to write, of `leader` and `node`: each cluster of two and
            more, by its first product.
        apart: Parquet file to write, of the pairs within the limit whose ends are in
            different clusters, as `pairs` has them.
    """

    name: str
    pairs: tuple[str, ...]
    held: tuple[str, ...]
    members: str
    apart: str


def link_group_unit(rule: LinkageRule, unit: GroupUnit) -> dict[str, Any]:
    """Writes the unit's clusters; returns how many products they hold, and splits."""
    pairs, held = _read(unit.pairs, APART), _read(unit.held, _HELD)
    a, b, distances = (pairs[name].to_numpy() for name in APART.names)
    order = np.lexsort((b, a))
    a, b, distances = a[order], b[order], distances[order]
    nodes = np.unique(np.concatenate([a, b, held["node"].to_numpy()]))
    heads = np.full(len(nodes), -1)
    heads[np.searchsorted(nodes, held["node"].to_numpy())] = held["head"].to_numpy()
    starts, ends = np.searchsorted(nodes, a), np.searchsorted(nodes, b)
    clusters = link_products(
        starts, ends, distances=distances.astype(np.float64), held=heads, rule=rule
    )
    labels = clusters.labels
    members = _members(nodes, labels)
    _write(members, unit.members)
    apart = (labels[starts] != labels[ends]) & (distances <= rule.max_distance)
    columns = (a[apart], b[apart], distances[apart])
    _write(pa.Table.from_arrays(list(map(pa.array, columns)), schema=APART), unit.apart)
    return {"num_products": members.num_rows, "num_split": clusters.num_split}


_HELD = pa.schema([("node", pa.int64()), ("head", pa.int64())])


def _members(nodes: np.ndarray, labels: np.ndarray) -> pa.Table:
    """Returns each product of a cluster of two and more, with the cluster's first."""
    _, first, numbers, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    listed = sizes[numbers] > 1
    leaders = nodes[first][numbers]
    arrays = [pa.array(leaders[listed]), pa.array(nodes[listed])]
    return pa.Table.from_arrays(arrays, schema=MEMBERS)


def _read(files: Sequence[str], schema: pa.Schema) -> pa.Table:
    # One by one: the folders' names (`unit=7`) are no column.
    tables = [pq.ParquetFile(file).read(columns=schema.names) for file in files]
    tables = [table.select(schema.names).cast(schema) for table in tables]
    return pa.concat_tables([schema.empty_table(), *tables])


def _write(table: pa.Table, path: str | os.PathLike[str]) -> None:
    with whole_file(Path(path)) as temporary:
        pq.write_table(table, temporary)
