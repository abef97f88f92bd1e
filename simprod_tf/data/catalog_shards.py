"""A catalogue in pieces: files, or a folder of them, read some thousand rows at a time.

A Parquet file is read where it lies, a range of its rows a piece. CSV and JSONL cannot
be entered in the middle: such a file is brought into Parquet first, by `split_text`,
with the rows that cannot be read and the reasons in their places.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_file
from simprod_tf.data.picture_file import PICTURE_SUFFIXES
from simprod_tf.data.tables import read_table
from simprod_tf.errors import InputError
from simprod_tf.shards import shard_files

SUFFIXES = (".csv", ".jsonl", ".parquet")
# Columns of what `split_text` writes; no catalogue's own are called so.
_ROW, _FAULT = "simprod:row", "simprod:fault"
# To begin within a row group is to read what stands before. Writers make one group of
# a million short rows; with pictures in them that would be read over and over.
_SPLIT_BYTES = 256 << 20
T = TypeVar("T")


@dataclass(frozen=True)
class CatalogPiece:
    """Rows of one file that follow one another.

    Attributes:
        name: a file's name, its own within the catalogue; in the rows' order.
        number: its place in the catalogue, from 0.
        source: the catalogue's file.
        file: the Parquet file that is read; "" where the source is text.
        groups: row groups to read, from and up to.
        skip: how many rows of these belong to the pieces before.
        rows: how many rows follow then; of text it is not known yet, 0.
        first_row: the number in the source of the first row, from 1.
    """

    name: str
    number: int
    source: str
    file: str = ""
    groups: tuple[int, int] = (0, 0)
    skip: int = 0
    rows: int = 0
    first_row: int = 1

    @property
    def is_text(self) -> bool:
        """Whether it is a whole file that must be brought into Parquet first."""
        return not self.file


@dataclass(frozen=True, eq=False)
class Block:
    """Rows as they stand in the catalogue.

    Attributes:
        table: [N] rows of the wanted columns that the file has.
        rows: their numbers in the catalogue's file, from 1.
        faults: why a row cannot be read, or "".
    """

    table: pa.Table
    rows: list[int]
    faults: list[str]


def catalog_files(catalog: str | os.PathLike[str]) -> list[Path]:
    """Returns the absolute paths of a catalogue's files, in the order of their rows.

    Raises:
        InputError: there is no such file or folder, or no catalogue's file in it.
    """
    place = Path(os.path.abspath(catalog))
    if place.is_dir():
        _require_known(place)
        return shard_files(place, SUFFIXES)
    if not place.is_file():
        raise InputError("there is no such file or folder.", path=catalog)
    if place.suffix.lower() not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise InputError(f"unknown kind of file; use one of {known}.", path=catalog)
    return [place]


def _require_known(folder: Path) -> None:
    """Refuses files that are neither catalogue nor picture, such as catalog.csv.gz.

    Raises:
        InputError: names one; nobody would miss its products before they are gone.
    """
    known = {*SUFFIXES, *PICTURE_SUFFIXES}
    there = {file.suffix.lower() for file in folder.rglob("*") if file.is_file()}
    if not there & set(SUFFIXES):
        return
    for file in shard_files(folder, sorted(there)):
        if file.suffix.lower() not in known:
            raise InputError(
                f"holds {file.relative_to(folder)}, which is no catalogue; those end "
                f"in {', '.join(SUFFIXES)}. Move it elsewhere.",
                path=folder,
            )


def catalog_pieces(files: Sequence[Path], *, rows_per_piece: int) -> list[CatalogPiece]:
    """Returns the pieces of a catalogue: text files whole, others in ranges of rows.

    Args:
        files: the catalogue's, absolute.
        rows_per_piece: a piece has no more, but for a row group above 256 MB, which
            stays whole.

    Raises:
        InputError: a Parquet file cannot be read.
    """
    found: list[CatalogPiece] = []
    for file in files:
        if file.suffix.lower() == ".parquet":
            found += parquet_pieces(
                file, source=str(file), rows_per_piece=rows_per_piece
            )
        else:
            found.append(CatalogPiece("", 0, str(file)))
    return numbered(found)


def numbered(pieces: Sequence[CatalogPiece]) -> list[CatalogPiece]:
    """Returns pieces with numbers, and names that sort as they do."""
    return [
        replace(piece, name=f"{number:06d}", number=number)
        for number, piece in enumerate(pieces)
    ]


def parquet_pieces(
    file: Path, *, source: str, rows_per_piece: int
) -> list[CatalogPiece]:
    """Returns the pieces of one Parquet file, without names yet.

    Raises:
        InputError: it cannot be read.
    """
    metadata = reading(file, lambda: pq.read_metadata(file))
    found: list[CatalogPiece] = []
    start, first, rows = 0, 1, 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if rows and rows + group.num_rows > rows_per_piece:
            found.append(_piece(file, source, (start, number), rows=rows, first=first))
            start, first, rows = number, first + rows, 0
        if group.num_rows > rows_per_piece and group.total_byte_size <= _SPLIT_BYTES:
            for skip in range(0, group.num_rows, rows_per_piece):
                part = min(rows_per_piece, group.num_rows - skip)
                one = _piece(
                    file, source, (number, number + 1), rows=part, first=first + skip
                )
                found.append(replace(one, skip=skip))
            start, first = number + 1, first + group.num_rows
        else:
            rows += group.num_rows
    if rows:
        groups = start, metadata.num_row_groups
        found.append(_piece(file, source, groups, rows=rows, first=first))
    return found


def split_text(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    columns: Sequence[str],
    rows_per_piece: int,
) -> None:
    """Brings a CSV or JSONL file into Parquet, a row group a piece.

    Args:
        source: a catalogue's file.
        out: the Parquet file to write.
        columns: those to keep, of which some may not be there; `id` must be.
        rows_per_piece: the rows of a row group.

    Raises:
        InputError: the file cannot be read, or has no column `id`.
    """
    read = read_table(source)
    read.require(["id"])
    names = [name for name in read.table.column_names if name in columns]
    good = read.table.select(names)
    good = good.append_column(_ROW, pa.array(read.rows, pa.int64()))
    good = good.append_column(_FAULT, pa.array([""] * len(read.rows), pa.string()))
    bad = pa.table(
        {
            _ROW: pa.array([one.row for one in read.bad], pa.int64()),
            _FAULT: pa.array([one.reason for one in read.bad], pa.string()),
        }
    )
    table = pa.concat_tables([good, bad], promote_options="default").sort_by(_ROW)
    with whole_file(out) as temporary:
        pq.write_table(table, temporary, row_group_size=rows_per_piece)


def read_blocks(
    piece: CatalogPiece, *, columns: Sequence[str], rows_per_block: int
) -> Iterator[Block]:
    """Yields the rows of a piece of a Parquet file, a block at a time.

    Args:
        piece: not text.
        columns: those wanted; what the file lacks, the block's table lacks.
        rows_per_block: how many rows are in memory at once.

    Raises:
        InputError: the file cannot be read, or has no column `id`.
    """
    place = Path(piece.source)
    with reading(place, lambda: pq.ParquetFile(piece.file)) as parquet:
        there = parquet.schema_arrow.names
        if "id" not in there:
            raise InputError(
                f"column 'id' is missing; the columns are: {', '.join(there)}.",
                path=piece.source,
            )
        wanted = [name for name in (*columns, _ROW, _FAULT) if name in there]
        batches = parquet.iter_batches(
            rows_per_block, row_groups=list(range(*piece.groups)), columns=wanted
        )
        skip, left, row = piece.skip, piece.rows, piece.first_row
        while left > 0:
            batch = reading(place, lambda: next(batches, None))
            if batch is None:
                break
            part = batch.slice(skip, left)
            skip = max(0, skip - batch.num_rows)
            if part.num_rows:
                yield _block(pa.Table.from_batches([part]), first_row=row)
                left, row = left - part.num_rows, row + part.num_rows


def reading(file: Path, read: Callable[[], T]) -> T:
    """Returns what `read` returns; damage to the file is an InputError.

    A disk or network that fails stays an OSError: trying again may help.
    """
    try:
        return read()
    except FileNotFoundError as error:
        raise InputError("there is no such file.", path=file) from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(
            f"the file cannot be read as PARQUET: {error}", path=file
        ) from error


def _piece(
    file: Path, source: str, groups: tuple[int, int], *, rows: int, first: int
) -> CatalogPiece:
    return CatalogPiece("", 0, source, str(file), groups, rows=rows, first_row=first)


def _block(table: pa.Table, *, first_row: int) -> Block:
    if _ROW not in table.column_names:
        rows = np.arange(first_row, first_row + table.num_rows).tolist()
        return Block(table, rows, [""] * table.num_rows)
    rows, faults = table.column(_ROW).to_pylist(), table.column(_FAULT).to_pylist()
    return Block(table.drop_columns([_ROW, _FAULT]), rows, faults)
