"""Catalogue -> embeddings on disk, a piece at a time, on one machine or on many."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from simprod_tf.atomic import whole_file, whole_folder
from simprod_tf.data.catalog_shards import (
    CatalogPiece,
    catalog_files,
    catalog_pieces,
    numbered,
    parquet_pieces,
)
from simprod_tf.data.embedding_shards import (
    CHANGED,
    DTYPES,
    KIND,
    SET_ASIDE,
    EmbeddingShards,
    is_embeddings,
)
from simprod_tf.engine.base import Engine
from simprod_tf.engine.units import file_facts, run_units, unfinished
from simprod_tf.errors import InputError, SimprodError
from simprod_tf.manifest import require_same_encoder
from simprod_tf.pipeline.encode_input import read_model, read_piece, read_previous
from simprod_tf.pipeline.encode_job import (
    SCHEMAS,
    EncodeJob,
    EncodeUnit,
    ModelFacts,
    PreviousPart,
)
from simprod_tf.pipeline.encode_plan import write_plan
from simprod_tf.pipeline.encode_unit import encode_piece
from simprod_tf.pipeline.progress import Progress, about, silent
from simprod_tf.shards import SUCCESS, is_sharded, part_name, write_success


@dataclass(frozen=True)
class EncodeSettings:
    """How a catalogue is embedded piece by piece.

    Attributes:
        dtype: of the embeddings on disk, "float32" or "float16".
        rows_per_unit: products that are embedded, and written, together.
        max_set_aside: the share of the products that may be set aside, at most.
    """

    dtype: str = "float32"
    rows_per_unit: int = 4096
    max_set_aside: float = 0.2

    def __post_init__(self) -> None:
        """Refuses what there is not."""
        if self.dtype not in DTYPES:
            raise ValueError(
                f"dtype is one of {', '.join(DTYPES)}, got {self.dtype!r}."
            )
        if not 0 <= self.max_set_aside <= 1:
            raise ValueError(
                f"max_set_aside is a share, from 0 to 1, got {self.max_set_aside}."
            )
        if self.rows_per_unit < 1:
            raise ValueError(
                f"rows_per_unit must be 1 or more, got {self.rows_per_unit}."
            )


@dataclass(frozen=True)
class EncodedCatalog:
    """What became of the products.

    Attributes:
        rows: how many have an embedding.
        num_set_aside: how many have none, as `set_aside.parquet` says.
        num_reused: of how many the embedding is that of an earlier run.
        num_units: how many units there were.
    """

    rows: int
    num_set_aside: int
    num_reused: int
    num_units: int


def encode_catalog(
    engine: Engine,
    catalog: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: EncodeSettings | None = None,
    previous: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
) -> EncodedCatalog:
    """Writes the embeddings of a catalogue; an interrupted run goes on when run again.

    Rows that cannot be used are set aside, with reasons; too many refuse the job.

    Args:
        engine: where it runs; all its machines see the same files.
        catalog: a CSV, JSONL or Parquet file, or a folder of such files.
        model: a SavedModel's folder, or a version's.
        out: the folder to write; embeddings that are there are replaced.
        settings: the defaults where None.
        previous: embeddings of an earlier run with the same encoder: what has not
            changed since is taken from there.
        progress: told how far the work is.

    Raises:
        InputError: a file of the catalogue cannot be read; `out` holds other things.
        ModelError: the model cannot be loaded, or cannot do this work.
        FingerprintError: `previous` is of another encoder.
        SimprodError: more products cannot be embedded than `max_set_aside` allows.
    """
    settings = settings or EncodeSettings()
    _require_place(out, catalog)
    files = catalog_files(catalog)
    before = None if previous is None else EmbeddingShards.open(previous)
    facts = engine.each(read_model, [os.path.abspath(model)])[0]
    if before is not None:
        _require_reusable(before, facts, settings)
    told = {
        "catalog": [file_facts(file) for file in files],
        "model": [facts.folder, facts.fingerprint],
        "settings": [settings.dtype, settings.rows_per_unit],
        "previous": None if before is None else file_facts(before.folder / SUCCESS),
    }
    with unfinished(out, told) as folder:
        job = EncodeJob(
            facts,
            settings.dtype,
            settings.rows_per_unit,
            folder,
            root=_root(catalog),
            with_content=before is not None,
        )
        units = _plan_units(engine, job, files, before=before, progress=progress)
        records = _run(
            engine,
            partial(encode_piece, job),
            units,
            kind="parts",
            job=job,
            progress=about(progress, "Embedding pieces"),
        )
        _require_most(job, records, Path(out), settings.max_set_aside)
        return _publish(job, units, records, Path(out))


def _plan_units(
    engine: Engine,
    job: EncodeJob,
    files: Sequence[Path],
    *,
    before: EmbeddingShards | None,
    progress: Progress,
) -> list[EncodeUnit]:
    """Returns the units of the catalogue, with what is known of their rows."""
    pieces = catalog_pieces(files, rows_per_piece=job.rows_per_unit)
    records = _run(
        engine,
        partial(read_piece, job),
        pieces,
        kind="keys",
        job=job,
        progress=about(progress, "Reading the catalogue"),
    )
    if not any(record["rows"] for record in records.values()):
        raise InputError("no product is in it.", path=job.root)
    parts: list[PreviousPart] = []
    if before is not None:
        parts = [PreviousPart(file.stem, str(file)) for file in before.files]
        _run(
            engine,
            partial(read_previous, job),
            parts,
            kind="previous",
            job=job,
            progress=about(progress, "Reading earlier embeddings"),
        )
    found, first_units = _embedded_pieces(job, pieces)
    plan = write_plan(
        engine,
        pieces,
        first_units,
        keys=[job.file("keys", one.name) for one in pieces],
        previous=[job.file("previous", one.name) for one in parts],
        folder=job.folder / "plan",
    )
    return [EncodeUnit(one.name, one, plan.get(one.number, ())) for one in found]


def _embedded_pieces(
    job: EncodeJob, pieces: Sequence[CatalogPiece]
) -> tuple[list[CatalogPiece], list[int]]:
    """Returns the pieces to embed, and with which of them each one read begins."""
    found: list[CatalogPiece] = []
    first_units = []
    for piece in pieces:
        first_units.append(len(found))
        if piece.is_text:
            found += parquet_pieces(
                job.file("rows", piece.name),
                source=piece.source,
                rows_per_piece=job.rows_per_unit,
            )
        else:
            found.append(piece)
    return numbered(found), first_units


def _run(
    engine: Engine,
    work: Any,
    units: Sequence[Any],
    *,
    kind: str,
    job: EncodeJob,
    progress: Any,
) -> dict[str, dict[str, Any]]:
    """Runs the units that are not done, and those whose file has gone since."""
    records = job.folder / f"{kind}-done"
    for unit in units:
        # A run that was killed while it published has moved some parts away.
        if not job.file(kind, unit.name).exists():
            (records / f"{unit.name}.json").unlink(missing_ok=True)
    return run_units(engine, work, units, folder=records, progress=progress)


def _publish(
    job: EncodeJob,
    units: Sequence[EncodeUnit],
    records: Mapping[str, Mapping[str, Any]],
    out: Path,
) -> EncodedCatalog:
    done = [records[unit.name] for unit in units]
    total = EncodedCatalog(
        rows=sum(one["rows"] for one in done),
        num_set_aside=sum(one["set_aside"] for one in done),
        num_reused=sum(one["reused"] for one in done),
        num_units=len(units),
    )
    with whole_folder(out) as temporary:
        # What takes room first: the parts are only moved.
        aside = [name for name, one in records.items() if one["set_aside"]]
        _join(job, "aside", sorted(aside), temporary / SET_ASIDE)
        if job.with_content:
            changed = [n for n, one in records.items() if one["rows"] > one["reused"]]
            _join(job, "changed", sorted(changed), temporary / CHANGED)
        for number, unit in enumerate(units):
            os.replace(job.file("parts", unit.name), temporary / part_name(number))
        content = {
            "kind": KIND,
            "rows": total.rows,
            "encoder_fingerprint": job.model.fingerprint,
            "dim": job.model.dim,
            "dtype": job.dtype,
            "decision": job.model.decision,
            "num_set_aside": total.num_set_aside,
            "num_reused": total.num_reused,
        }
        write_success(temporary, content)
    return total


def _require_most(
    job: EncodeJob, records: Mapping[str, Mapping[str, Any]], out: Path, share: float
) -> None:
    """Refuses a run that has lost more than its share: pictures that nobody mounted.

    Raises:
        SimprodError: says where the products are listed that were set aside.
    """
    rows = sum(one["rows"] for one in records.values())
    lost = sum(one["set_aside"] for one in records.values())
    if rows and lost <= share * (rows + lost):
        return
    listed = Path(f"{os.path.abspath(out)}.{SET_ASIDE}")
    names = sorted(name for name, one in records.items() if one["set_aside"])
    with whole_file(listed) as temporary:
        _join(job, "aside", names, temporary)
    reason = next(one["reason"] for one in records.values() if one["reason"])
    if not rows:
        raise SimprodError(
            f"none of the {lost} products can be embedded; the first one: {reason}. "
            f"{listed} lists them."
        )
    raise SimprodError(
        f"{lost} of {rows + lost} products cannot be embedded, more than "
        f"{share:.0%} of them; the first one: {reason}. {listed} lists them. Mend "
        "them, or do without them by a larger --max-set-aside of `simprod encode`."
    )


def _join(job: EncodeJob, kind: str, names: Sequence[str], out: Path) -> None:
    """Writes the rows of the units' files of one kind into one file."""
    with pq.ParquetWriter(out, SCHEMAS[kind]) as parquet:
        for name in names:
            file = job.file(kind, name)
            parquet.write_table(
                pq.read_table(file, schema=SCHEMAS[kind], partitioning=None)
            )


def _root(catalog: str | os.PathLike[str]) -> Path:
    place = Path(os.path.abspath(catalog))
    return place if place.is_dir() else place.parent


def _require_place(
    out: str | os.PathLike[str], catalog: str | os.PathLike[str]
) -> None:
    """Refuses to write over, or among, what is not ours.

    Raises:
        InputError: `out` cannot be the folder.
    """
    place, source = Path(os.path.abspath(out)), Path(os.path.abspath(catalog))
    if not is_sharded(place) or place.is_file():
        raise InputError(
            "embeddings are a folder of Parquet files; name a folder.", path=out
        )
    if source.is_dir() and (place == source or source in place.parents):
        raise InputError(
            f"lies in the catalogue's folder {catalog}, of which it would become a "
            "part; name a folder outside.",
            path=out,
        )
    if place.is_dir() and any(place.iterdir()) and not is_embeddings(place):
        raise InputError(
            "holds files that are no embeddings and would be lost; name a new or "
            "empty folder.",
            path=out,
        )


def _require_reusable(
    before: EmbeddingShards, model: ModelFacts, settings: EncodeSettings
) -> None:
    """Refuses earlier embeddings that are not what this run would have made.

    Raises:
        FingerprintError: another encoder made them.
        InputError: they are less exact than what is asked for.
    """
    require_same_encoder(
        model.fingerprint, before.encoder_fingerprint, what=str(before.folder)
    )
    if before.dtype == "float16" and settings.dtype == "float32":
        raise InputError(
            "holds float16, of which no float32 can be made; give --dtype float16, or "
            "encode without --previous.",
            path=before.folder,
        )
