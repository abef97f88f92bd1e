"""The work units of `encode` that read what there is, before anything is embedded.

    read_model     what the SavedModel says of itself
    read_piece     a piece of the catalogue -> its ids; text is brought into Parquet
    read_previous  a part of earlier embeddings -> its ids and digests

They write whole files, and the same ones when they are run again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simprod_tf.data.catalog_row import (
    CatalogColumns,
    CatalogRow,
    catalog_rows,
    content_digest,
)
from simprod_tf.data.catalog_shards import (
    CatalogPiece,
    read_blocks,
    split_text,
)
from simprod_tf.errors import InputError, ModelError
from simprod_tf.pipeline.encode_job import (
    BLOCK_ROWS,
    NUM_READERS,
    EncodeJob,
    ModelFacts,
    PreviousPart,
    parquet_writer,
)

_KEYS = pa.schema(
    [
        ("piece", pa.int32()),
        ("block", pa.int32()),
        ("row", pa.int64()),
        ("id", pa.string()),
        ("content", pa.string()),
    ]
)
_PREVIOUS = pa.schema(
    [
        ("id", pa.string()),
        ("content", pa.string()),
        ("file", pa.string()),
        ("position", pa.int64()),
    ]
)


def read_model(folder: str) -> ModelFacts:
    """Returns what the newest version in `folder` says of itself.

    Raises:
        ModelError: there is none, or it cannot do this work.
    """
    from simprod_tf.export.encoder import KIND
    from simprod_tf.export.versions import latest_version
    from simprod_tf.manifest import read_manifest

    version = latest_version(folder)
    manifest = read_manifest(version, kind=KIND)
    if "valid" not in manifest["signatures"]["embed"]["outputs"]:
        raise ModelError(
            f"{version} was exported by an earlier version, and does not say which "
            "picture cannot be used; export it again with `simprod export`."
        )
    inputs = manifest["inputs"]
    for one in inputs["vectors"]:
        if not one["column"]:
            raise ModelError(
                f"{version} takes vectors {one['name']!r} from a file of their own; "
                "`simprod encode` takes those alone that stand in a column of the "
                "catalogue. Train with such a column, or use `simprod index "
                "--features`."
            )
    columns = CatalogColumns(
        title=inputs["text"] is not None,
        image=bool(manifest["towers"]),
        categories=tuple(one["column"] for one in inputs["categories"]),
        numbers=tuple(one["column"] for one in inputs["numbers"]),
        vectors=tuple((one["column"], int(one["dim"])) for one in inputs["vectors"]),
    )
    return ModelFacts(
        os.path.abspath(version),
        str(manifest["fingerprint"]),
        int(manifest["dim"]),
        columns,
        tuple(one["name"] for one in inputs["vectors"]),
        manifest.get("decision"),
    )


def read_piece(job: EncodeJob, piece: CatalogPiece) -> dict[str, Any]:
    """Writes the keys of a piece's rows, those without an id left out.

    Raises:
        InputError: the file cannot be read, or has no column `id`.
    """
    columns, read = job.model.columns, piece
    if piece.is_text:
        out = job.file("rows", piece.name)
        split_text(
            piece.source,
            out,
            columns=columns.names,
            rows_per_piece=job.rows_per_unit,
        )
        read = _whole_piece(piece, out)
    names = columns.names if job.with_content else ["id"]
    with parquet_writer(job.file("keys", piece.name), _KEYS) as keys:
        at = 0
        for block in read_blocks(read, columns=names, rows_per_block=BLOCK_ROWS):
            blocks = [(at + i) // job.rows_per_unit for i in range(len(block.rows))]
            at += len(block.rows)
            if job.with_content:
                rows = catalog_rows(block, columns, source=piece.source)
                ids = [one.product.id for one in rows]
                content = _digests(rows, columns)
            else:
                ids = _ids(block.table)
                content = [None] * len(ids)
            # A text file has become several pieces, any other is one.
            numbers = blocks if piece.is_text else [0] * len(ids)
            table = pa.table(
                [[piece.number] * len(ids), numbers, block.rows, ids, content],
                schema=_KEYS,
            )
            keys.write_table(table.filter(pc.not_equal(table["id"], "")))
    return {"rows": at}


def read_previous(job: EncodeJob, part: PreviousPart) -> dict[str, Any]:
    """Writes ids and digests of a part of earlier embeddings, and where they lie."""
    try:
        found = pq.read_table(part.file, columns=["id", "content"], partitioning=None)
    except pa.ArrowException as error:
        raise InputError(
            f"cannot be read as embeddings: {error}", path=part.file
        ) from error
    count = found.num_rows
    table = pa.table(
        [found["id"], found["content"], [part.file] * count, range(count)],
        schema=_PREVIOUS,
    )
    with parquet_writer(job.file("previous", part.name), _PREVIOUS) as out:
        out.write_table(table)
    return {"rows": count}


def _whole_piece(piece: CatalogPiece, file: Path) -> CatalogPiece:
    """Returns the piece that is all of a text file, brought into Parquet as `file`."""
    metadata = pq.read_metadata(file)
    return CatalogPiece(
        piece.name,
        piece.number,
        piece.source,
        str(file),
        (0, metadata.num_row_groups),
        rows=metadata.num_rows,
    )


def _digests(rows: Sequence[CatalogRow], columns: CatalogColumns) -> list[str | None]:
    def digest(one: CatalogRow) -> str | None:
        # Rows that cannot be used have no digest, and so no earlier embedding.
        return None if one.fault else content_digest(one, columns)

    with ThreadPoolExecutor(NUM_READERS) as pool:
        return list(pool.map(digest, rows))


def _ids(table: pa.Table) -> list[str]:
    values = table.column("id").to_pylist()
    return ["" if value is None else str(value).strip() for value in values]
