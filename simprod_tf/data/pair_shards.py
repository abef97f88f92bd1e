"""Mined pairs in a folder of Parquet shards, too many for memory: read piece by piece.

The columns are those of a file of pairs: `anchor_id`, `other_id`, `label` and, where it
is there, `weight`. All of them count as mined.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simprod_tf.data.catalog import Catalog
from simprod_tf.engine.units import file_facts
from simprod_tf.errors import InputError
from simprod_tf.shards import shard_files

# Pairs that are decoded at once, of one row group.
CHUNK = 1 << 16
_IDS = ("anchor_id", "other_id")


@dataclass(frozen=True)
class Piece:
    """A row group of a shard: what can be read by itself.

    Attributes:
        file: The shard.
        group: Number of the row group in it.
        first_row: Of the row group in the file, from 0.
        num_rows: Its pairs.
    """

    file: Path
    group: int
    first_row: int
    num_rows: int


@dataclass(frozen=True, eq=False)
class RowChunk:
    """Some pairs as rows of a catalogue.

    Attributes:
        rows: [N, 2] int64, the lower row first; -1 for ids that it has not.
        labels: [N] float32, 1 = similar, 0 = not.
        weights: [N] float32, above 0.
    """

    rows: np.ndarray
    labels: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, mask: np.ndarray | slice) -> RowChunk:
        """Returns the pairs that a [N] bool mask, places or a slice selects."""
        return RowChunk(self.rows[mask], self.labels[mask], self.weights[mask])


@dataclass(frozen=True, eq=False)
class PairShards:
    """Pairs that stay on disk.

    Attributes:
        folder: Where the shards lie.
        pieces: In the order of the files' names, none of them empty.
    """

    folder: Path
    pieces: tuple[Piece, ...]

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> PairShards:
        """Returns the pairs of a folder, of which no row is read yet.

        Raises:
            InputError: there is no shard, or one that is no Parquet file, lacks a
                column, or has one of another type; or there is no row in any.
        """
        found = [piece for file in shard_files(folder) for piece in _pieces(file)]
        if not found:
            raise InputError("no pair is in its shards.", path=folder)
        return cls(Path(folder), tuple(found))

    def __len__(self) -> int:
        return sum(piece.num_rows for piece in self.pieces)

    def facts(self) -> list[Any]:
        """Returns what tells these shards from changed ones, as JSON can hold it."""
        return [file_facts(file) for file in dict.fromkeys(p.file for p in self.pieces)]


def read_chunks(
    piece: Piece, catalog: Catalog, *, share: tuple[int, int] = (0, 1)
) -> Iterator[RowChunk]:
    """Yields a piece's pairs, `CHUNK` at most at a time.

    Args:
        piece: Of `PairShards.pieces`.
        catalog: Whose rows the ids become.
        share: (index, count): every count-th row of the file alone, from `index` on.

    Raises:
        InputError: the file cannot be read, an id is empty, a label is not 0 or 1, or
            a weight is not above 0; names the row, from 1.
    """
    index, count = share
    row = piece.first_row
    try:
        with pq.ParquetFile(piece.file, buffer_size=1 << 20) as parquet:
            columns = [name for name in parquet.schema_arrow.names if name in _COLUMNS]
            # Arrow's own threads would be aborted where a process ends meanwhile.
            for batch in parquet.iter_batches(
                CHUNK, row_groups=[piece.group], columns=columns, use_threads=False
            ):
                places = np.arange((index - row) % count, batch.num_rows, count)
                some = batch if count == 1 else batch.take(pa.array(places))
                yield _chunk(some, catalog, piece.file, row + places)
                row += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"cannot be read as Parquet: {error}.", path=piece.file) from (
            error
        )


def _chunk(
    batch: pa.RecordBatch, catalog: Catalog, file: Path, places: np.ndarray
) -> RowChunk:
    ends = [_rows(batch.column(name), catalog, file, places) for name in _IDS]
    labels = _numbers(batch.column("label"))
    _require(np.isin(labels, (0, 1)), "label must be 1 (similar) or 0 (not)", labels,
             file, places)  # fmt: skip
    weights = np.ones(len(labels), np.float32)
    if "weight" in batch.schema.names:
        weights = _numbers(batch.column("weight"))
        good = (weights > 0) & (weights < np.inf)
        _require(good, "weight must be above 0", weights, file, places)
    return RowChunk(np.sort(np.stack(ends, axis=1), axis=1), labels, weights)


def _rows(
    column: pa.Array, catalog: Catalog, file: Path, places: np.ndarray
) -> np.ndarray:
    """Returns [N] int64 rows of the catalogue, -1 for ids that it has not."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    texts = pc.utf8_trim_whitespace(column.cast(pa.large_string()))
    empty = pc.fill_null(pc.equal(pc.utf8_length(texts), 0), True)
    for place in np.flatnonzero(empty)[:1]:
        raise InputError("an id is empty.", path=file, row=int(places[place]) + 1)
    # Each different id is looked up once.
    coded = texts.dictionary_encode()
    rows = catalog.rows_or_none(coded.dictionary.to_numpy(zero_copy_only=False))
    return rows[coded.indices.to_numpy()]


def _numbers(column: pa.Array) -> np.ndarray:
    """Returns [N] float32; missing ones are NaN, which no check lets pass."""
    return column.cast(pa.float32()).to_numpy(zero_copy_only=False)


def _require(
    good: np.ndarray, what: str, values: np.ndarray, file: Path, places: np.ndarray
) -> None:
    for place in np.flatnonzero(~good)[:1]:
        raise InputError(
            f"{what}, got {values[place]:g}.", path=file, row=int(places[place]) + 1
        )


def _pieces(file: Path) -> list[Piece]:
    try:
        with pq.ParquetFile(file) as parquet:
            _check_columns(parquet.schema_arrow, file)
            groups = parquet.metadata
            sizes = [
                groups.row_group(group).num_rows
                for group in range(groups.num_row_groups)
            ]
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"cannot be read as Parquet: {error}.", path=file) from error
    firsts = np.cumsum([0, *sizes]).tolist()
    path = Path(os.path.abspath(file))
    return [
        Piece(path, group, first, size)
        for group, (first, size) in enumerate(zip(firsts, sizes))
        if size
    ]


def _check_columns(schema: pa.Schema, file: Path) -> None:
    found = ", ".join(schema.names)
    for name, (fits, what) in _COLUMNS.items():
        if name not in schema.names:
            if name == "weight":
                continue
            raise InputError(
                f"column {name!r} is missing; the columns are: {found}.", path=file
            )
        kind = schema.field(name).type
        if not fits(kind):
            raise InputError(
                f"column {name!r} must hold {what}, got {kind}.", path=file
            )


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_id(kind: pa.DataType) -> bool:
    return _is_text(kind) or bool(pa.types.is_integer(kind))


def _is_number(kind: pa.DataType) -> bool:
    return any(
        is_one(kind)
        for is_one in (
            pa.types.is_integer,
            pa.types.is_floating,
            pa.types.is_boolean,
            pa.types.is_decimal,
        )
    )


_COLUMNS = {
    **dict.fromkeys(_IDS, (_is_id, "ids")),
    **dict.fromkeys(("label", "weight"), (_is_number, "numbers")),
}
