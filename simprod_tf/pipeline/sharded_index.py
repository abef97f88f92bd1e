"""Embeddings -> a sharded index: each shard is a work unit, the index comes whole."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_folder
from simprod_tf.data.catalog_shards import catalog_files
from simprod_tf.data.embedding_shards import (
    SET_ASIDE,
    EmbeddingShards,
    is_embeddings,
)
from simprod_tf.engine.base import Engine
from simprod_tf.engine.units import file_facts, run_units, unfinished
from simprod_tf.errors import InputError, SimprodError
from simprod_tf.index.sharded import (
    KIND,
    ShardedIndex,
    ShardEntry,
    is_sharded_index,
    shard_name,
    write_sharded,
)
from simprod_tf.manifest import MANIFEST_NAME, require_same_encoder
from simprod_tf.pipeline.index_shard import (
    Piece,
    ShardPlan,
    ShardSettings,
    ShardUnit,
    build_shard,
    link_tree,
)
from simprod_tf.pipeline.out_folder import require_replaceable
from simprod_tf.pipeline.progress import Progress, about, silent
from simprod_tf.shards import SUCCESS

ROWS_PER_SHARD = 1_000_000
# A shard of an earlier index may grow by so much before it is divided.
_GROWN = 1.5


@dataclass(frozen=True, eq=False)
class IndexedShards:
    """What was made.

    Attributes:
        index: opened.
        num_reused: how many of its shards were taken over from an earlier index.
        num_set_aside: products of a catalogue that have no embedding.
    """

    index: ShardedIndex
    num_reused: int
    num_set_aside: int = 0


def index_embeddings(
    engine: Engine,
    embeddings: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    num_shards: int | None = None,
    settings: ShardSettings | None = None,
    previous: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
) -> IndexedShards:
    """Builds the sharded index of a folder of embeddings.

    A run that was interrupted goes on with the shards that it lacks.

    Args:
        engine: where the shards are built.
        embeddings: a folder of `simprod encode`.
        out: the index's folder; an earlier index there is replaced.
        num_shards: stretches of nearly as many products each; by default those of
            `previous`, else one for each million products.
        settings: how each shard is built.
        previous: an earlier sharded index. Its shards begin where they began; those
            whose products and embeddings are still the same are taken over.
        progress: told how many shards there are, and how many are done.

    Raises:
        InputError: the embeddings are not whole, or `out` holds something else.
        FingerprintError: another encoder made the earlier index.
        SimprodError: there are no embeddings, or fewer than shards.
        RecallError: a shard misses its recall; names it.
    """
    require_index_place(out)
    found = EmbeddingShards.open(embeddings)
    earlier = None if previous is None else _earlier(previous, found)
    starts = _starts(found, num_shards, earlier)
    settings = settings or ShardSettings()
    extra = {"decision": found.decision}
    facts = {
        "job": "index",
        "embeddings": [file_facts(found.folder / SUCCESS)]
        + [file_facts(file) for file in found.files],
        "starts": starts,
        "settings": settings.facts(),
        "previous": None if earlier is None else earlier.facts(),
    }
    with unfinished(out, facts) as folder:
        shards = folder / "shards"
        plan = ShardPlan(
            str(shards),
            found.dim,
            found.encoder_fingerprint,
            extra,
            settings,
            {} if earlier is None else _by_digest(earlier),
        )
        records = run_units(
            engine,
            partial(build_shard, plan),
            _units(found, starts),
            folder=folder / "done",
            progress=about(progress, "Building shards"),
        )
        _publish(shards, Path(out), records, found)
    reused = sum(not one["is_new"] for one in records.values())
    return IndexedShards(ShardedIndex.open(out), reused)


def index_catalog_shards(
    engine: Engine,
    catalog: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str],
    num_shards: int | None = None,
    settings: ShardSettings | None = None,
    previous: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
) -> IndexedShards:
    """Embeds a catalogue, then builds the sharded index of it; goes on as both do.

    Args:
        engine: where it runs.
        catalog: a file, or a folder of them.
        out: the index's folder; the embeddings go when it is whole.
        model: a SavedModel.
        num_shards, settings, previous, progress: as of `index_embeddings`.

    Raises:
        SimprodError: as of `encode_catalog` and `index_embeddings`.
    """
    from simprod_tf.pipeline.encode import encode_catalog

    require_index_place(out)
    facts = {
        "job": "embed and index",
        "catalog": [file_facts(file) for file in catalog_files(catalog)],
        "model": [os.path.abspath(model)]
        + [file_facts(file) for file in sorted(Path(model).rglob(MANIFEST_NAME))],
    }
    with unfinished(out, facts) as folder:
        embeddings = folder / "embeddings"
        if not is_embeddings(embeddings):
            encode_catalog(
                engine, catalog, model=model, out=embeddings, progress=progress
            )
        set_aside = embeddings / SET_ASIDE
        left_out = pq.read_metadata(set_aside).num_rows if set_aside.exists() else 0
        made = index_embeddings(
            engine,
            embeddings,
            out,
            num_shards=num_shards,
            settings=settings,
            previous=previous,
            progress=progress,
        )
    return replace(made, num_set_aside=left_out)


def require_index_place(out: str | os.PathLike[str]) -> None:
    """Refuses a place that holds anything but an index, sharded or not."""
    place = Path(out)
    require_replaceable(place, KIND if is_sharded_index(place) else "index")


def _earlier(
    previous: str | os.PathLike[str], embeddings: EmbeddingShards
) -> ShardedIndex:
    if not is_sharded_index(previous):
        raise InputError(
            "is no sharded index; give one that was made with --shards.", path=previous
        )
    earlier = ShardedIndex.open(previous)
    require_same_encoder(
        embeddings.encoder_fingerprint,
        earlier.encoder_fingerprint,
        what=f"The index in {earlier.folder}",
    )
    return earlier


def _by_digest(earlier: ShardedIndex) -> dict[str, str]:
    return {
        entry.digest: shard.folder
        for entry, shard in zip(earlier.entries, earlier.shards)
    }


def _starts(
    embeddings: EmbeddingShards, num_shards: int | None, earlier: ShardedIndex | None
) -> list[int]:
    """Returns the global rows at which shards begin, rising from 0."""
    total = len(embeddings)
    if not total:
        raise SimprodError(
            f"{embeddings.folder} holds no embedding; the encoder knows nothing of any "
            "product in the catalogue."
        )
    if earlier is not None and num_shards in (None, len(earlier.shards)):
        return _earlier_starts(embeddings, earlier)
    if num_shards is None:
        num_shards = math.ceil(total / ROWS_PER_SHARD)
    if not 1 <= num_shards <= total:
        raise SimprodError(
            f"--shards lies between 1 and the number of products ({total}), got "
            f"{num_shards}."
        )
    return [total * number // num_shards for number in range(num_shards)]


def _earlier_starts(embeddings: EmbeddingShards, earlier: ShardedIndex) -> list[int]:
    """Returns where the earlier shards' first products stand now.

    So a product that came or went in the middle changes one shard, not all behind it.
    """
    # The first shard begins with the catalogue, whatever came before its products.
    firsts = pa.array([one.first_id for one in earlier.entries[1:]], pa.string())
    found, row = {0}, 0
    for file, rows in zip(embeddings.files, embeddings.rows):
        ids = pq.read_table(file, columns=["id"], partitioning=None)["id"]
        is_first = pc.is_in(ids, value_set=firsts).to_numpy()
        found |= {row + int(at) for at in np.flatnonzero(is_first)}
        row += rows
    usual = max(one.rows for one in earlier.entries)
    return _divided(sorted(found), total=len(embeddings), usual=usual)


def _divided(starts: Sequence[int], *, total: int, usual: int) -> list[int]:
    """Divides stretches that have grown far above the usual number of rows."""
    found = []
    for start, stop in zip(starts, [*starts[1:], total]):
        rows = stop - start
        parts = 1 if rows <= _GROWN * usual else math.ceil(rows / usual)
        found += [start + rows * part // parts for part in range(parts)]
    return found


def _units(embeddings: EmbeddingShards, starts: Sequence[int]) -> list[ShardUnit]:
    stops = [*starts[1:], len(embeddings)]
    return [
        ShardUnit(shard_name(number), start, _pieces(embeddings, start, stop))
        for number, (start, stop) in enumerate(zip(starts, stops))
    ]


def _pieces(embeddings: EmbeddingShards, start: int, stop: int) -> tuple[Piece, ...]:
    """Returns which rows of which files are the global rows `start` to `stop`."""
    pieces, first = [], 0
    for file, rows in zip(embeddings.files, embeddings.rows):
        low, high = max(start - first, 0), min(stop - first, rows)
        if low < high:
            pieces.append(Piece(str(file), low, high))
        first += rows
    return tuple(pieces)


def _publish(
    shards: Path,
    out: Path,
    records: dict[str, dict[str, Any]],
    embeddings: EmbeddingShards,
) -> None:
    """Makes the shards the index at `out`.

    They are linked, not moved: a job that is killed here finds them when it goes on.
    """
    entries = [
        ShardEntry(**{name: value for name, value in one.items() if name != "is_new"})
        for one in records.values()
    ]
    with whole_folder(out) as temporary:
        for entry in entries:
            link_tree(shards / entry.name, temporary / entry.name)
        write_sharded(
            temporary,
            entries,
            encoder_fingerprint=embeddings.encoder_fingerprint,
            dim=embeddings.dim,
            extra={"decision": embeddings.decision},
        )
