"""A sharded index: several ordinary ones, each over a stretch of the catalogue.

manifest.json     kind, encoder fingerprint, the shards and where each begins, `extra`
shard-00000/ ...  an ordinary index each, as `Index.save` writes it
_SUCCESS          comes last, once all of them are there

A global row counts the products of all shards, in their order. An ordinary index opens
as a sharded one of one shard, a folder of versions as its current version.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simprod_tf import __version__
from simprod_tf.errors import ModelError
from simprod_tf.index.base import Index
from simprod_tf.index.build import load_index
from simprod_tf.index.folder import (
    EMBEDDINGS_NAME,
    IDS_NAME,
    SHARDED_KIND,
    read_index_manifest,
)
from simprod_tf.index.versions import resolved
from simprod_tf.manifest import (
    MANIFEST_NAME,
    file_sha256,
    read_manifest,
    write_manifest,
)
from simprod_tf.shards import SUCCESS, write_success

KIND = SHARDED_KIND
FORMAT = 1


@dataclass(frozen=True)
class ShardEntry:
    """What the manifest says of one shard.

    Attributes:
        name: of its folder.
        first_row: the global row of its first product.
        rows: how many products it holds.
        first_id: of its first product, "" where it holds none.
        digest: of its ids and embeddings, and of how it was built.
        manifest_sha256: of its own manifest, which vouches for its files.
        recall: share of the 10 nearest products that a search of it finds, measured;
            1 where it is exact.
    """

    name: str
    first_row: int
    rows: int
    first_id: str
    digest: str
    manifest_sha256: str
    recall: float


@dataclass(frozen=True)
class Shard:
    """A shard as a work unit needs it: small, and the same on every machine.

    Attributes:
        name: of the shard.
        folder: an index's, absolute.
        first_row: the global row of its first product.
        rows: how many products it holds.
        manifest_sha256: of the manifest in `folder`.
    """

    name: str
    folder: str
    first_row: int
    rows: int
    manifest_sha256: str

    @property
    def stop_row(self) -> int:
        """The global row behind its last product."""
        return self.first_row + self.rows


@dataclass(frozen=True, eq=False)
class ShardedIndex:
    """A sharded index, opened: its shards are loaded one by one, by `load_shard`.

    Attributes:
        folder: where it lies, absolute.
        shards: in the order of their rows.
        entries: of the manifest; none where it is an ordinary index.
        encoder_fingerprint: of the encoder that made its embeddings.
        dim: the length of an embedding.
        extra: what was kept beside the embeddings, such as the encoder's decision.
    """

    folder: Path
    shards: tuple[Shard, ...]
    entries: tuple[ShardEntry, ...]
    encoder_fingerprint: str
    dim: int
    extra: Mapping[str, Any]

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> ShardedIndex:
        """Returns the index in `folder`; loads no shard yet.

        Raises:
            ModelError: there is none, it is not whole, or its manifest is damaged.
        """
        if is_sharded_index(folder):
            return _opened(Path(os.path.abspath(folder)))
        place = Path(os.path.abspath(resolved(folder)))
        content = read_index_manifest(place)
        sha256 = file_sha256(place / MANIFEST_NAME)
        return cls(
            place,
            (Shard(shard_name(0), str(place), 0, content["n"], sha256),),
            (),
            content["encoder_fingerprint"],
            content["dim"],
            content["extra"],
        )

    def __len__(self) -> int:
        """The number of products."""
        return sum(one.rows for one in self.shards)

    def facts(self) -> list[str]:
        """Returns what tells it from another index, or from a changed one."""
        return [one.manifest_sha256 for one in self.shards]


def shard_name(number: int) -> str:
    """Returns the name of a shard's folder, `shard-00007`."""
    return f"shard-{number:05d}"


def is_sharded_index(folder: str | os.PathLike[str]) -> bool:
    """Returns whether a sharded index lies in `folder`, whole or not."""
    try:
        read_manifest(folder, kind=KIND)
    except ModelError:
        return False
    return True


def write_sharded(
    folder: Path,
    entries: Sequence[ShardEntry],
    *,
    encoder_fingerprint: str,
    dim: int,
    extra: Mapping[str, Any],
) -> None:
    """Writes manifest and `_SUCCESS` into a folder that holds the shards already."""
    content = {
        "kind": KIND,
        "format": FORMAT,
        "encoder_fingerprint": encoder_fingerprint,
        "n": sum(one.rows for one in entries),
        "dim": dim,
        "simprod_tf_version": __version__,
        "shards": [asdict(one) for one in entries],
        "extra": dict(extra),
    }
    write_manifest(folder, content)
    write_success(folder, {"kind": KIND, "rows": content["n"]})


@lru_cache(maxsize=2)
def load_shard(shard: Shard) -> Index:
    """Returns the index of a shard, every file of it verified.

    The last two are kept in memory: work units come in the order of the shards that
    they search. `load_shard.cache_clear()` lets go of them.

    Raises:
        ModelError: a file is missing, altered or cut short; names it.
        MissingLibraryError: it needs ScaNN, which cannot be imported.
    """
    place = Path(shard.folder)
    manifest = place / MANIFEST_NAME
    if not manifest.is_file():
        raise ModelError(f"{manifest} is missing; build the index again.")
    if file_sha256(manifest) != shard.manifest_sha256:
        raise ModelError(
            f"{manifest} is not the file that the sharded index was made with (its "
            "SHA-256 differs); build the index again."
        )
    return load_index(place)


def shard_ids(shard: Shard) -> pa.Array:
    """Returns the [rows] ids of a shard, as strings in row order.

    Raises:
        ModelError: the file that holds them cannot be read.
    """
    path = Path(shard.folder) / IDS_NAME
    try:
        return pq.read_table(path, columns=["id"], partitioning=None)[
            "id"
        ].combine_chunks()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ModelError(
            f"{path} cannot be read ({error}); build the index again."
        ) from error


def shard_embeddings(shard: Shard) -> np.ndarray:
    """Returns the [rows, D] float32 embeddings of a shard, mapped, not loaded.

    Raises:
        ModelError: the file that holds them cannot be read.
    """
    path = Path(shard.folder) / EMBEDDINGS_NAME
    try:
        return np.load(path, mmap_mode="r" if shard.rows else None, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read ({error}); build the index again."
        ) from error


def _opened(place: Path) -> ShardedIndex:
    content = read_manifest(place, kind=KIND)
    if not (place / SUCCESS).is_file():
        raise ModelError(
            f"The sharded index in {place} is not whole: {SUCCESS} is missing; build "
            "the index again."
        )
    if content.get("format") != FORMAT:
        raise ModelError(
            f"The sharded index in {place} has format {content.get('format')}, this "
            f"simprod_tf reads {FORMAT}; build the index again."
        )
    try:
        entries = tuple(_entry(one) for one in content["shards"])
        fingerprint, dim = str(content["encoder_fingerprint"]), int(content["dim"])
        extra = dict(content["extra"])
        _require_stretches(entries)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"The manifest of the sharded index in {place} is damaged ({error}); build "
            "the index again."
        ) from error
    shards = tuple(
        Shard(
            one.name,
            str(place / one.name),
            one.first_row,
            one.rows,
            one.manifest_sha256,
        )
        for one in entries
    )
    return ShardedIndex(place, shards, entries, fingerprint, dim, extra)


def _entry(content: Mapping[str, Any]) -> ShardEntry:
    wanted = {field.name for field in fields(ShardEntry)}
    return ShardEntry(**{name: content[name] for name in wanted})


def _require_stretches(entries: Sequence[ShardEntry]) -> None:
    """Refuses shards whose rows do not follow on each other, by a ValueError."""
    row = 0
    for one in entries:
        if one.first_row != row:
            raise ValueError(f"{one.name} begins at row {one.first_row}, not {row}")
        row += one.rows
