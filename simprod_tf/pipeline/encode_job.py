"""What the work units of `encode` share, and what they are."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_file
from simprod_tf.data.catalog_row import CatalogColumns
from simprod_tf.data.catalog_shards import CatalogPiece

# Rows in memory at once: their pictures' bytes may be in the table.
BLOCK_ROWS = 1024
# A network's disk answers several at once.
NUM_READERS = 8

# Of what the units write beside their parts.
SCHEMAS = {
    "aside": pa.schema(
        [
            ("file", pa.string()),
            ("row", pa.int64()),
            ("id", pa.string()),
            ("reason", pa.string()),
        ]
    ),
    "changed": pa.schema([("id", pa.string())]),
}


@dataclass(frozen=True)
class ModelFacts:
    """What a SavedModel says of itself.

    Attributes:
        folder: the version's, absolute.
        fingerprint: of the encoder.
        dim: the length of its embeddings.
        columns: what it takes of a catalogue.
        vectors: the names that it gives its precomputed vectors, as in `columns`.
        decision: its decision as JSON holds it, or None.
    """

    folder: str
    fingerprint: str
    dim: int
    columns: CatalogColumns
    vectors: tuple[str, ...]
    decision: Any


@dataclass(frozen=True)
class EncodeJob:
    """What all units of a job share; every path is absolute.

    Attributes:
        model: the encoder.
        dtype: "float16" or "float32".
        rows_per_unit: of a catalogue's text file.
        folder: of what the units write.
        root: the folder to which the names of the catalogue's files are relative.
        with_content: whether digests are wanted before anything is embedded.
    """

    model: ModelFacts
    dtype: str
    rows_per_unit: int
    folder: Path
    root: Path
    with_content: bool

    def file(self, kind: str, name: str) -> Path:
        """Returns where a unit writes its file of this kind."""
        return self.folder / kind / f"{name}.parquet"

    def source(self, piece: CatalogPiece) -> str:
        """Returns what reasons call the catalogue's file."""
        return os.path.relpath(piece.source, self.root)


@dataclass(frozen=True)
class PreviousPart:
    """One part of the embeddings of an earlier run."""

    name: str
    file: str


@dataclass(frozen=True)
class EncodeUnit:
    """A piece of the catalogue, and the files that say what is known of its rows."""

    name: str
    piece: CatalogPiece
    plan: tuple[str, ...] = ()


@contextlib.contextmanager
def parquet_writer(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Yields the writer of a whole file."""
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, schema) as out:
        yield out
