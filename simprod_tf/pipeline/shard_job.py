"""The stages of matching on shards: look up, search, merge, compare, decide.

Each runs work units that write files, and hands the files to the next. What is done
stays done: a job that was interrupted goes on with the units that it lacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_file
from simprod_tf.data.tables import ReadTable, read_table
from simprod_tf.engine.base import Engine
from simprod_tf.engine.units import run_units
from simprod_tf.index.sharded import ShardedIndex
from simprod_tf.pipeline.catalog_traits import Wanted, files_by_block, traits_by_block
from simprod_tf.pipeline.progress import Progress, about
from simprod_tf.pipeline.shard_decide import DecidePlan, DecideUnit, decide_block
from simprod_tf.pipeline.shard_search import (
    MergeUnit,
    QueryBlock,
    RowsUnit,
    SearchUnit,
    find_rows,
    merge_block,
    query_blocks,
    search_shard,
)

# Of the pairs of the products that were asked for; others are there to be compared.
_MUTUAL = """
SELECT one.block, one.query_row, one.row
FROM nearest AS one
JOIN nearest AS other ON one.query_row = other.row AND one.row = other.query_row
WHERE one.block < {num_blocks}
ORDER BY one.block
"""
_UNASKED = """
SELECT DISTINCT nearest.id
FROM nearest
LEFT JOIN (SELECT DISTINCT query_row FROM nearest) AS asked
    ON nearest.row = asked.query_row
WHERE asked.query_row IS NULL
"""


@dataclass(frozen=True)
class ShardJob:
    """One run of matching, on some engine.

    Attributes:
        engine: where it runs.
        index: what is searched.
        k: neighbours of a query.
        folder: of what is done, this run's alone.
        progress: told how far it is.
    """

    engine: Engine
    index: ShardedIndex
    k: int
    folder: Path
    progress: Progress

    def asked(self, only: Path | None) -> list[tuple[str, int]] | None:
        """Returns of each shard a file of the rows asked for; None for all."""
        if only is None:
            return None
        read = read_table(only)
        read.require(["id"])
        ids = list(dict.fromkeys(read.strings("id")))
        file = self._place("only") / "ids.parquet"
        with whole_file(file) as temporary:
            pq.write_table(pa.table({"id": pa.array(ids, pa.string())}), temporary)
        found = self._rows_of("only", [str(file)])
        if sum(rows for _, rows in found) < len(ids):
            _refuse_unknown(read, found)
        return found

    def nearest(
        self, blocks: Sequence[QueryBlock], *, what: str = "Searching shards"
    ) -> list[Path]:
        """Returns of each block the file of its nearest products."""
        # One shard after the other, so that a process loads each of them once.
        units = [
            SearchUnit(block, shard) for shard in self.index.shards for block in blocks
        ]
        found = self._run(search_shard, self.k, units, "found", what)
        merges = [
            MergeUnit(
                block,
                tuple(
                    found[SearchUnit(block, shard).name]["file"]
                    for shard in self.index.shards
                ),
            )
            for block in blocks
        ]
        merged = self._run(merge_block, self.k, merges, "nearest", "Merging neighbours")
        return [Path(merged[one.name]["file"]) for one in merges]

    def mutual(
        self, blocks: Sequence[QueryBlock], nearest: Sequence[Path], *, block_rows: int
    ) -> dict[int, tuple[str, ...]]:
        """Returns of each block the files of its pairs that are mutual."""
        self.engine.read("nearest", nearest)
        unasked = self.engine.write(_UNASKED, self.folder / "unasked")
        files = list(nearest)
        if any(pq.read_metadata(file).num_rows for file in unasked):
            # Of products that were not asked for, the neighbours are needed, too.
            ends = self._rows_of("ends", [str(file) for file in unasked])
            more = query_blocks(
                self.index.shards,
                rows_files=ends,
                block_rows=block_rows,
                first=len(blocks),
            )
            files += self.nearest(more, what="Searching back")
            self.engine.read("nearest", files)
        sql = _MUTUAL.format(num_blocks=len(blocks))
        return files_by_block(
            self.engine.write(sql, self.folder / "mutual", partition_by="block")
        )

    def traits(
        self, catalog: Path | None, wanted: Wanted, nearest: Sequence[Path]
    ) -> dict[int, tuple[str, ...]]:
        """Returns of each block the files of its products' traits."""
        is_wanted = bool(wanted.category) or wanted.within is not None
        if catalog is None or not is_wanted:
            return {}
        self.engine.read("nearest", nearest)
        return traits_by_block(
            self.engine,
            catalog,
            wanted,
            folder=self.folder,
            progress=about(self.progress, "Reading the catalogue"),
        )

    def decided(
        self,
        plan: DecidePlan,
        blocks: Sequence[QueryBlock],
        nearest: Sequence[Path],
        mutual: Mapping[int, tuple[str, ...]],
        traits: Mapping[int, tuple[str, ...]],
    ) -> list[dict[str, Any]]:
        """Returns the records of `decide_block`, block by block."""
        units = [
            DecideUnit(
                block.name,
                str(file),
                mutual.get(block.number, ()),
                traits.get(block.number, ()),
            )
            for block, file in zip(blocks, nearest)
        ]
        records = self._run(decide_block, plan, units, "decided", "Matching products")
        return list(records.values())

    def _rows_of(self, name: str, files: Sequence[str]) -> list[tuple[str, int]]:
        """Returns of each shard a file of the rows with these ids, and their number."""
        units = [RowsUnit(shard) for shard in self.index.shards]
        found = self._run(
            find_rows, tuple(files), units, name, "Looking up products"
        ).values()
        return [(one["file"], one["rows"]) for one in found]

    def _run(
        self, work: Any, setting: Any, units: Sequence[Any], name: str, what: str
    ) -> dict[str, dict[str, Any]]:
        """Runs units that write into a folder of this name."""
        return run_units(
            self.engine,
            partial(work, setting, str(self._place(name))),
            units,
            folder=self.folder / f"{name}-done",
            progress=about(self.progress, what),
        )

    def _place(self, name: str) -> Path:
        place = self.folder / name
        place.mkdir(parents=True, exist_ok=True)
        return place


def _refuse_unknown(read: ReadTable, found: Sequence[tuple[str, int]]) -> None:
    """Names the first id that no shard holds."""
    known = {
        id
        for file, _ in found
        for id in pq.read_table(file, columns=["id"], partitioning=None)[
            "id"
        ].to_pylist()
    }
    for row, id in zip(read.rows, read.strings("id")):
        if id not in known:
            raise read.error(
                f"the index holds no product {id!r}; `simprod encode` and `simprod "
                "index` take it in.",
                row,
            )
