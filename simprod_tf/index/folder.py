"""An index on disk: ids, embeddings and a manifest that vouches for every file.

manifest.json     kind, type, encoder fingerprint, SHA-256 of each file, recall, `extra`
ids.parquet       in row order: `id`, and `changed`: it came after the training
attributes.parquet  what `where` asks about, in row order, if there is any
embeddings.npy    [N, D] float32, memory-mapped when loaded
scann/            ScaNN's own files, for an index of that type
views/<name>/     a whole index each, of the products by one modality alone
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simprod_tf import __version__
from simprod_tf.errors import ModelError
from simprod_tf.index.vectors import checked_ids
from simprod_tf.manifest import file_sha256, read_manifest, write_manifest

IDS_NAME = "ids.parquet"
EMBEDDINGS_NAME = "embeddings.npy"
VIEWS_NAME = "views"
ATTRIBUTES_NAME = "attributes.parquet"
FORMAT = 2
SHARDED_KIND = "sharded index"
_FIELDS = {
    "format": int,
    "type": str,
    "encoder_fingerprint": str,
    "n": int,
    "dim": int,
    "files": dict,
    "search": dict,
    "views": list,
    "extra": dict,
}


@dataclass(frozen=True, eq=False)
class Stored:
    """What every index keeps, whatever it searches with; checked by whoever made it.

    Attributes:
        ids: N product ids in row order.
        embeddings: [N, D] float32, unit length.
        encoder_fingerprint: of the encoder that made the embeddings.
        extra: what the caller keeps beside them, as JSON can hold it.
        attributes: N rows, or None.
        changed: [N] bool, which rows came after the searcher was trained, or None.
        search: what the type of index keeps about its search, as JSON can hold it.
    """

    ids: tuple[str, ...]
    embeddings: np.ndarray
    encoder_fingerprint: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    attributes: pa.Table | None = None
    changed: np.ndarray | None = None
    search: Mapping[str, Any] = field(default_factory=dict)


def write_stored(folder: Path, stored: Stored) -> None:
    """Writes ids, embeddings and attributes into `folder`."""
    changed = stored.changed
    if changed is None:
        changed = np.zeros(len(stored.ids), bool)
    columns = {"id": pa.array(stored.ids, pa.string()), "changed": pa.array(changed)}
    pq.write_table(pa.table(columns), folder / IDS_NAME)
    np.save(folder / EMBEDDINGS_NAME, stored.embeddings, allow_pickle=False)
    if stored.attributes is not None:
        pq.write_table(stored.attributes, folder / ATTRIBUTES_NAME)


def seal(folder: Path, stored: Stored, *, kind: str, views: Sequence[str]) -> None:
    """Writes the manifest over all the files that `folder` holds by now."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    content = {
        "kind": "index",
        "format": FORMAT,
        "type": kind,
        "encoder_fingerprint": stored.encoder_fingerprint,
        "n": len(stored.ids),
        "dim": int(stored.embeddings.shape[1]),
        "simprod_tf_version": __version__,
        "search": dict(stored.search),
        "views": list(views),
        "files": {p.relative_to(folder).as_posix(): file_sha256(p) for p in paths},
        "extra": dict(stored.extra),
    }
    write_manifest(folder, content)


def read_index_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the manifest of a saved index, with every field in place.

    Raises:
        ModelError: there is none, a field is missing, or its format is a newer one; or
            it is a sharded one, which only `simprod match` searches.
    """
    _require_in_one_piece(folder)
    content = read_manifest(folder, kind="index")
    for name, type_ in _FIELDS.items():
        if not isinstance(content.get(name), type_):
            raise ModelError(
                f"The manifest of the index in {folder} lacks {name!r} "
                f"({type_.__name__}); build the index again."
            )
    if content["format"] != FORMAT:
        raise ModelError(
            f"The index in {folder} has format {content['format']}, "
            f"this simprod_tf reads {FORMAT}; build the index again."
        )
    return content


def _require_in_one_piece(folder: str | os.PathLike[str]) -> None:
    try:
        read_manifest(folder, kind=SHARDED_KIND)
    except ModelError:
        return
    raise ModelError(
        f"{folder} holds a sharded index, which `simprod match` alone can use; for all "
        "else build an index without --shards, or name one of its shards."
    )


def read_stored(folder: str | os.PathLike[str], manifest: dict[str, Any]) -> Stored:
    """Returns what `folder` keeps, every file of it compared with the manifest.

    Raises:
        ModelError: a file is missing, altered or cut short; names it.
    """
    place = Path(folder)
    for name in sorted({IDS_NAME, EMBEDDINGS_NAME, *manifest["files"]}):
        _verify(place, name, manifest["files"].get(name))
    n, dim = manifest["n"], manifest["dim"]
    # An empty array cannot be mapped.
    mode: Literal["r"] | None = "r" if n else None
    embeddings = np.asarray(
        np.load(place / EMBEDDINGS_NAME, mmap_mode=mode, allow_pickle=False)
    )
    table = pq.read_table(place / IDS_NAME, partitioning=None)
    ids = checked_ids(table["id"].to_pylist())
    attributes = None
    if ATTRIBUTES_NAME in manifest["files"]:
        attributes = pq.read_table(place / ATTRIBUTES_NAME, partitioning=None)
    lengths = {len(ids), *([] if attributes is None else [attributes.num_rows])}
    if lengths != {n} or embeddings.shape != (n, dim):
        raise ModelError(
            f"The index in {folder} states {n} products in {dim} dimensions, but holds "
            f"{len(ids)} ids and embeddings of shape {list(embeddings.shape)}."
        )
    return Stored(
        ids,
        embeddings,
        manifest["encoder_fingerprint"],
        manifest["extra"],
        attributes,
        # A copy: Arrow's is read-only, and this one is written to.
        table["changed"].to_numpy().copy(),
        manifest["search"],
    )


def _verify(folder: Path, name: str, sha256: str | None) -> None:
    path = folder / name
    if not path.is_file():
        raise ModelError(f"{path} is missing; build the index again.")
    if file_sha256(path) != sha256:
        raise ModelError(
            f"{path} is not the file that was saved (its SHA-256 differs); "
            "build the index again."
        )
