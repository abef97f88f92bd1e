"""The embeddings of a catalogue as a folder of Parquet files, in the catalogue's order.

Each part has the columns `id` (string), `embedding` (a list of D halffloat or float)
and `content` (string: a digest of what was embedded, by which a later run tells what
has changed). Products without an embedding are listed in `set_aside.parquet`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_file
from simprod_tf.errors import InputError
from simprod_tf.shards import SUCCESS, read_success, shard_files

KIND = "embeddings"
SET_ASIDE = "set_aside.parquet"
CHANGED = "changed.parquet"
DTYPES = ("float16", "float32")
# A float32 row as unit as this is kept bit for bit, as an index keeps it.
_RESCALE_FROM = 1e-6
# What rounding to float16 does to a length is well below this.
_UNIT_TOLERANCE = 1e-2


@dataclass(frozen=True, eq=False)
class EmbeddingShards:
    """A folder of embeddings that is whole.

    Attributes:
        folder: where it lies, absolute.
        files: its parts, in the catalogue's order.
        rows: how many products each part holds.
        encoder_fingerprint: of the encoder that made them.
        dim: the length of an embedding.
        dtype: "float16" or "float32", as they are stored.
        decision: the encoder's decision, as its manifest holds it, or None.
    """

    folder: Path
    files: tuple[Path, ...]
    rows: tuple[int, ...]
    encoder_fingerprint: str
    dim: int
    dtype: str
    decision: Any

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> EmbeddingShards:
        """Returns the embeddings in `folder`; reads no embedding yet.

        Raises:
            InputError: there are none, they are not whole, or a part is damaged.
        """
        place = Path(os.path.abspath(folder))
        facts = read_success(place, kind=KIND)
        found = [one for one in shard_files(place) if one.name.startswith("part-")]
        try:
            fingerprint, dtype = str(facts["encoder_fingerprint"]), str(facts["dtype"])
            dim, total = int(facts["dim"]), int(facts["rows"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"does not say what the embeddings are ({error}); make them again with "
                "`simprod encode`.",
                path=place / SUCCESS,
            ) from error
        rows = tuple(_num_rows(file) for file in found)
        if sum(rows) != total:
            raise InputError(
                f"holds {sum(rows)} embeddings, but was written with {total}: files "
                "are missing or foreign; make them again with `simprod encode`.",
                path=place,
            )
        decision = facts.get("decision")
        return cls(place, tuple(found), rows, fingerprint, dim, dtype, decision)

    def __len__(self) -> int:
        return sum(self.rows)

    def read(self, file: str | os.PathLike[str]) -> tuple[list[str], np.ndarray]:
        """Returns one part's ids and its [N, D] float32 embeddings, unit length."""
        return read_embeddings(file, dim=self.dim)


def is_embeddings(path: str | os.PathLike[str]) -> bool:
    """Returns whether `path` is a folder of embeddings, whole ones."""
    try:
        read_success(path, kind=KIND)
    except InputError:
        return False
    return True


def read_embeddings(
    file: str | os.PathLike[str], *, dim: int
) -> tuple[list[str], np.ndarray]:
    """Returns one part's ids and its [N, dim] float32 embeddings, unit length.

    Embeddings in float16 are brought back to unit length; those in float32 come as
    they were stored.

    Raises:
        InputError: names the file, and the row whose embedding is none.
    """
    ids, stored = read_stored(file, dim=dim)
    vectors = stored.astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    # NaN compares as False, so it is found here as well.
    wrong = np.flatnonzero(~(np.abs(lengths - 1) < _UNIT_TOLERANCE))
    if len(wrong):
        raise InputError(
            f"the embedding of {ids[wrong[0]]!r} has length {lengths[wrong[0]]:.4g}, "
            "expected 1; make the embeddings again with `simprod encode`.",
            path=file,
            row=int(wrong[0]) + 1,
        )
    off = np.flatnonzero(np.abs(lengths - 1) > _RESCALE_FROM)
    vectors[off] = (vectors[off] / lengths[off, None]).astype(np.float32)
    return ids, vectors


def read_stored(
    file: str | os.PathLike[str], *, dim: int
) -> tuple[list[str], np.ndarray]:
    """Returns one part's ids and its [N, dim] embeddings, bit for bit as stored.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        table = pq.read_table(file, columns=["id", "embedding"], partitioning=None)
        column = table.column("embedding").combine_chunks()
        values = column.flatten().to_numpy(zero_copy_only=False)
        return table.column("id").to_pylist(), values.reshape(table.num_rows, dim)
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise InputError(f"cannot be read as embeddings: {error}", path=file) from error


def write_embeddings(
    file: str | os.PathLike[str],
    *,
    ids: Sequence[str],
    embeddings: np.ndarray,
    content: Sequence[str],
) -> None:
    """Writes one part, whole or not at all.

    Args:
        file: the part.
        ids: of N products.
        embeddings: [N, D] float16 or float32, unit length.
        content: the digest of what was embedded of each product.
    """
    flat = pa.array(np.ascontiguousarray(embeddings).reshape(-1))
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1]),
            "content": pa.array(content, pa.string()),
        }
    )
    with whole_file(file) as temporary:
        # A dictionary of what never repeats costs time and saves nothing.
        pq.write_table(table, temporary, use_dictionary=False)


def _num_rows(file: Path) -> int:
    try:
        return int(pq.read_metadata(file).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read: {error}", path=file) from error
