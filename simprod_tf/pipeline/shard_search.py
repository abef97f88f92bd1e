"""Work units that find the nearest products of a block of queries, shard by shard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_file
from simprod_tf.index.sharded import Shard, load_shard, shard_embeddings, shard_ids
from simprod_tf.matching.views import nearest_but_own, row_distances

# Queries of one unit, and of those that are searched at once.
BLOCK_ROWS = 65_536
_PIECE_ROWS = 8192
_FOUND = pa.schema(
    [
        ("query_row", pa.int64()),
        ("row", pa.int64()),
        ("id", pa.string()),
        ("distance", pa.float32()),
    ]
)
NEAREST = pa.schema(
    [
        ("block", pa.int64()),
        ("query_row", pa.int64()),
        ("row", pa.int64()),
        ("query_id", pa.string()),
        ("id", pa.string()),
        ("distance", pa.float32()),
    ]
)


@dataclass(frozen=True)
class QueryBlock:
    """Queries of one shard that are worked on together.

    Attributes:
        name: its own within the job.
        number: its place in the job, from 0.
        shard: which holds the queries.
        start: the first of them: a row of the shard, or a line of `rows_file`.
        stop: the one behind the last.
        rows_file: Parquet with the column `row`, rising: rows of the shard; "" where
            all of them are queries.
    """

    name: str
    number: int
    shard: Shard
    start: int
    stop: int
    rows_file: str = ""

    def rows(self) -> np.ndarray:
        """Returns the [B] int64 rows within the shard."""
        if not self.rows_file:
            return np.arange(self.start, self.stop)
        rows = pq.read_table(self.rows_file, columns=["row"], partitioning=None)[
            "row"
        ].to_numpy()
        return rows[self.start : self.stop]


@dataclass(frozen=True)
class RowsUnit:
    """A shard in which products are looked up by their ids."""

    shard: Shard

    @property
    def name(self) -> str:
        """Names the unit."""
        return self.shard.name


@dataclass(frozen=True)
class SearchUnit:
    """A block of queries, and a shard in which their nearest products are found."""

    block: QueryBlock
    target: Shard

    @property
    def name(self) -> str:
        """Names the unit, and its file."""
        return f"{self.block.name}-{self.target.name}"


@dataclass(frozen=True)
class MergeUnit:
    """A block of queries, and the files of what was found in each shard."""

    block: QueryBlock
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """Names the unit, and its file."""
        return self.block.name


def query_blocks(
    shards: Sequence[Shard],
    *,
    rows_files: Sequence[tuple[str, int]] | None = None,
    block_rows: int = BLOCK_ROWS,
    first: int = 0,
) -> list[QueryBlock]:
    """Returns the blocks of all products, or of those in files of rows; at least one.

    Args:
        shards: in the order of their rows.
        rows_files: of each shard a file, and how many rows are in it.
        block_rows: queries of a block, at most.
        first: the first block's number.
    """
    blocks: list[QueryBlock] = []
    for at, shard in enumerate(shards):
        file, rows = ("", shard.rows) if rows_files is None else rows_files[at]
        for start in range(0, rows, block_rows):
            number = first + len(blocks)
            stop = min(start + block_rows, rows)
            name = f"block-{number:06d}"
            blocks.append(QueryBlock(name, number, shard, start, stop, file))
    if not blocks:
        # An empty table is one, too.
        file = "" if rows_files is None else rows_files[0][0]
        blocks.append(QueryBlock(f"block-{first:06d}", first, shards[0], 0, 0, file))
    return blocks


def find_rows(ids_files: Sequence[str], folder: str, unit: RowsUnit) -> dict[str, Any]:
    """Writes which rows of a shard have one of the ids; returns how many.

    Args:
        ids_files: Parquet with the column `id`.
        folder: gets a file with `row`, rising, and `id`.
        unit: the shard.
    """
    wanted = pa.chunked_array(
        [chunk for file in ids_files for chunk in _ids(file).chunks], pa.string()
    )
    ids = shard_ids(unit.shard)
    rows = np.flatnonzero(pc.is_in(ids, value_set=wanted).to_numpy(False))
    table = pa.table({"row": pa.array(rows, pa.int64()), "id": ids.take(rows)})
    file = Path(folder) / f"{unit.name}.parquet"
    with whole_file(file) as temporary:
        pq.write_table(table, temporary)
    return {"file": str(file), "rows": len(rows)}


def search_shard(k: int, folder: str, unit: SearchUnit) -> dict[str, Any]:
    """Writes the k products of a shard that are nearest to each query of a block.

    Distances are those of the embeddings, by whatever way they were found.

    Args:
        k: how many; a query itself does not count.
        folder: gets a file with `query_row`, `row`, `id` and `distance`; rows are
            global.
        unit: the queries and the shard.
    """
    block, target = unit.block, unit.target
    index = load_shard(target)
    queries, rows = shard_embeddings(block.shard), block.rows()
    is_own = block.shard.first_row == target.first_row
    names = pa.array(index.ids, pa.string())
    file = Path(folder) / f"{unit.name}.parquet"
    num_found = 0
    with whole_file(file) as temporary, pq.ParquetWriter(temporary, _FOUND) as writer:
        for start in range(0, len(rows), _PIECE_ROWS):
            piece = rows[start : start + _PIECE_ROWS]
            own = piece if is_own else np.full(len(piece), -1)
            nearest = nearest_but_own(index, queries[piece], own, k=k)
            lines, columns = np.nonzero(nearest >= 0)
            ends = nearest[lines, columns]
            distances = row_distances(queries, piece[lines], index.embeddings, ends)
            table = pa.table(
                [
                    pa.array(piece[lines] + block.shard.first_row),
                    pa.array(ends + target.first_row),
                    names.take(pa.array(ends)),
                    pa.array(distances),
                ],
                schema=_FOUND,
            )
            writer.write_table(table)
            num_found += table.num_rows
    return {"file": str(file), "rows": num_found}


def merge_block(k: int, folder: str, unit: MergeUnit) -> dict[str, Any]:
    """Writes the k nearest products of each query of a block, of all shards.

    They stand in the order of the queries, then by (distance, row).

    Args:
        k: how many.
        folder: gets a file with the columns of `NEAREST`.
        unit: the block, and what was found for it.
    """
    best = _FOUND.empty_table()
    # One shard after the other: all at once they are as many times as large.
    for name in unit.files:
        best = _nearest(
            pa.concat_tables([best, pq.read_table(name, partitioning=None)]), k
        )
    block = unit.block
    starts = best["query_row"].to_numpy()
    query_ids = shard_ids(block.shard).take(pa.array(starts - block.shard.first_row))
    columns = [
        pa.array(np.full(len(starts), block.number)),
        best["query_row"],
        best["row"],
        query_ids,
        best["id"],
        best["distance"],
    ]
    file = Path(folder) / f"{unit.name}.parquet"
    with whole_file(file) as temporary:
        pq.write_table(pa.table(columns, schema=NEAREST), temporary)
    return {"file": str(file), "rows": best.num_rows}


def _nearest(found: pa.Table, k: int) -> pa.Table:
    """Returns the first k of each query by (distance, row), in the queries' order."""
    starts, rows = found["query_row"].to_numpy(), found["row"].to_numpy()
    order = np.lexsort((rows, found["distance"].to_numpy(), starts))
    starts = starts[order]
    places = np.arange(len(starts)) - np.searchsorted(starts, starts)
    return found.take(pa.array(order[places < k])).combine_chunks()


def _ids(file: str) -> pa.ChunkedArray:
    return pq.read_table(file, columns=["id"], partitioning=None)["id"].cast(
        pa.string()
    )
