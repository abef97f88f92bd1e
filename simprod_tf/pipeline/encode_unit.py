"""The work unit of `encode` that embeds: a piece of the catalogue -> a part.

It writes whole files, and the same ones when it is run again.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simprod_tf.data.catalog_row import (
    CatalogColumns,
    CatalogRow,
    catalog_rows,
    content_digest,
    row_picture,
)
from simprod_tf.data.catalog_shards import CatalogPiece, read_blocks
from simprod_tf.data.embedding_shards import read_stored, write_embeddings
from simprod_tf.errors import InputError
from simprod_tf.manifest import require_same_encoder
from simprod_tf.pipeline.encode_job import (
    BLOCK_ROWS,
    NUM_READERS,
    SCHEMAS,
    EncodeJob,
    EncodeUnit,
    ModelFacts,
    parquet_writer,
)

if TYPE_CHECKING:
    from simprod_tf.data.vectors import VectorTable
    from simprod_tf.export import SavedEncoder

log = logging.getLogger(__name__)

UNKNOWN = "it has no picture and no word that the encoder knows"
# Of one step, as `SavedEncoder.encode` has it.
_BATCH = 64


@dataclass
class _Part:
    """What becomes of a unit's rows, in their order."""

    ids: list[str] = field(default_factory=list)
    embeddings: list[np.ndarray] = field(default_factory=list)
    content: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    aside: list[dict[str, Any]] = field(default_factory=list)


def encode_piece(job: EncodeJob, unit: EncodeUnit) -> dict[str, Any]:
    """Writes the embeddings of a piece, and the rows that have none, with reasons.

    Raises:
        InputError: the file cannot be read.
        FingerprintError: another encoder lies now where the job's encoder lay.
    """
    columns, piece = job.model.columns, unit.piece
    plan = {one["row"]: one for file in unit.plan for one in _rows_of(file)}
    part = _Part()
    reused = _reused(job, plan)
    for block in read_blocks(piece, columns=columns.names, rows_per_block=BLOCK_ROWS):
        rows = catalog_rows(block, columns, source=piece.source)
        _encode_block(job, piece, rows, plan=plan, part=part, reused=reused)
    embeddings = [np.zeros((0, job.model.dim), job.dtype), *part.embeddings]
    write_embeddings(
        job.file("parts", unit.name),
        ids=part.ids,
        embeddings=np.concatenate(embeddings),
        content=part.content,
    )
    changed = [{"id": id} for id in part.changed]
    for kind, told in (("aside", part.aside), ("changed", changed)):
        if told:
            with parquet_writer(job.file(kind, unit.name), SCHEMAS[kind]) as out:
                out.write_table(pa.Table.from_pylist(told, SCHEMAS[kind]))
    return {
        "rows": len(part.ids),
        "set_aside": len(part.aside),
        "reused": len(part.ids) - len(part.changed),
        "reason": part.aside[0]["reason"] if part.aside else "",
    }


def _encode_block(
    job: EncodeJob,
    piece: CatalogPiece,
    rows: Sequence[CatalogRow],
    *,
    plan: dict[int, dict[str, Any]],
    part: _Part,
    reused: dict[int, np.ndarray],
) -> None:
    """Adds to the part what becomes of these rows."""
    faults = {one.row: one.fault for one in rows if one.fault}
    found: dict[int, tuple[np.ndarray, str]] = {}
    fresh = []
    for one in rows:
        known = plan.get(one.row)
        if one.fault:
            continue
        if known is None:
            fresh.append(one)
        elif one.row in reused:
            found[one.row] = reused[one.row], known["content"]
        else:
            faults[one.row] = _twice(job, piece, one, known)
    part.changed += _encode_rows(job, fresh, found=found, faults=faults)
    for one in rows:
        if one.row in found:
            embedding, content = found[one.row]
            part.ids.append(one.product.id)
            part.embeddings.append(embedding[np.newaxis])
            part.content.append(content)
        else:
            part.aside.append(
                {
                    "file": job.source(piece),
                    "row": one.row,
                    "id": one.product.id,
                    "reason": faults[one.row],
                }
            )


def _encode_rows(
    job: EncodeJob,
    rows: Sequence[CatalogRow],
    *,
    found: dict[int, tuple[np.ndarray, str]],
    faults: dict[int, str],
) -> list[str]:
    """Embeds rows, or finds their faults; returns the ids of those embedded."""
    if not rows:
        return []
    encoder = _encoder(job.model.folder, job.model.fingerprint)
    ids = []
    for batch, contents, pictures in _read_batches(rows, job.model.columns, faults):
        encoded = encoder.encode_pictures(
            [one.product for one in batch],
            pictures,
            tables=_tables(batch, job.model),
        )
        for line, one in enumerate(batch):
            embedding = encoded.embeddings[line]
            if encoded.faults[line]:
                faults[one.row] = _undecodable(one, encoded.faults[line])
            elif np.linalg.norm(embedding) <= 0.5:
                faults[one.row] = UNKNOWN
            else:
                found[one.row] = embedding.astype(job.dtype), contents[line]
                ids.append(one.product.id)
    return ids


def _read_batches(
    rows: Sequence[CatalogRow], columns: CatalogColumns, faults: dict[int, str]
) -> Iterator[tuple[list[CatalogRow], list[str], list[bytes]]]:
    """Yields rows whose pictures can be read, their digests and pictures."""

    def read(one: CatalogRow) -> tuple[str, bytes | None]:
        # The digest first: a picture that changes meanwhile is embedded again later.
        content = content_digest(one, columns)
        try:
            return content, row_picture(one) if columns.image else b""
        except InputError as error:
            faults[one.row] = str(error)
            return content, None

    with ThreadPoolExecutor(NUM_READERS) as pool:
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            batch, contents, pictures = [], [], []
            for one, (content, picture) in zip(part, pool.map(read, part)):
                if picture is not None:
                    batch.append(one)
                    contents.append(content)
                    pictures.append(picture)
            if batch:
                yield batch, contents, pictures


def _reused(job: EncodeJob, plan: dict[int, dict[str, Any]]) -> dict[int, np.ndarray]:
    """Returns by row the [D] embeddings of an earlier run, in the job's dtype."""
    files: dict[str, list[tuple[int, int]]] = {}
    for row, known in plan.items():
        if known["previous_file"] is not None:
            files.setdefault(known["previous_file"], []).append(
                (row, known["position"])
            )
    found = {}
    for file, places in files.items():
        _, stored = read_stored(file, dim=job.model.dim)
        for row, position in places:
            found[row] = stored[position].astype(job.dtype)
    return found


@functools.lru_cache(maxsize=1)
def _encoder(folder: str, fingerprint: str) -> SavedEncoder:
    """Returns the encoder, loaded once in a process.

    Raises:
        FingerprintError: this machine sees another encoder there.
    """
    from simprod_tf.export import SavedEncoder

    encoder = SavedEncoder(folder)
    require_same_encoder(fingerprint, encoder.fingerprint, what=f"{folder}")
    log.info("loaded %s in process %d", folder, os.getpid())
    return encoder


def _tables(batch: Sequence[CatalogRow], model: ModelFacts) -> dict[str, VectorTable]:
    from simprod_tf.data.vectors import VectorTable

    ids = [one.product.id for one in batch]
    return {
        name: VectorTable(name, ids, np.stack([one.vectors[column] for one in batch]))
        for name, (column, _) in zip(model.vectors, model.columns.vectors)
    }


def _rows_of(file: str) -> list[dict[str, Any]]:
    # `unit=3` in the path is no column of it.
    return pq.read_table(file, partitioning=None).to_pylist()


def _twice(
    job: EncodeJob, piece: CatalogPiece, one: CatalogRow, known: dict[str, Any]
) -> str:
    same = known["first_file"] == piece.source
    where = "" if same else f"{os.path.relpath(known['first_file'], job.root)}, "
    return f"id {one.product.id!r} stands already in {where}row {known['first_row']}"


def _undecodable(one: CatalogRow, fault: str) -> str:
    where = one.product.image or f"product {one.product.id!r}"
    return f"{where}: the picture cannot be decoded: {fault}"
