"""Vectors computed elsewhere (by CLIP, by a text model, ...), by product id."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_file
from simprod_tf.data.catalog import Catalog
from simprod_tf.errors import InputError

_BLOCK_ROWS = 65_536


class Rows(Protocol):
    """[N, F] floats: an array, or what gathers its rows when asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, F)."""

    @property
    def dtype(self) -> np.dtype:
        """Of the numbers."""

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Returns [n, F]."""


@dataclass(frozen=True, eq=False)
class VectorTable:
    """Vectors by product id.

    Attributes:
        name: Lower-case letters, digits and underscores: what the encoder calls them.
        ids: The product of each row.
        vectors: [N, F] floats, in memory or in a file; a row of zeros is none.
        column: The catalogue's column that they come from, or "".
    """

    name: str
    ids: Sequence[str]
    vectors: np.ndarray
    column: str = ""

    def __post_init__(self) -> None:
        """Checks names, shapes and that every number is finite."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(
                "the name of vectors is lower-case letters, digits and underscores, "
                f"got {self.name!r}."
            )
        if self.vectors.ndim != 2 or len(self.ids) != len(self.vectors):
            raise ValueError(
                f"expected one vector an id, got {len(self.ids)} ids and vectors of "
                f"shape {self.vectors.shape}."
            )
        rows = {id: row for row, id in enumerate(self.ids)}
        if len(rows) < len(self.ids):
            twice = next(id for row, id in enumerate(self.ids) if rows[id] != row)
            raise ValueError(f"id {twice!r} stands there twice.")
        object.__setattr__(self, "_rows", rows)
        for start in range(0, len(self.vectors), _BLOCK_ROWS):
            block = self.vectors[start : start + _BLOCK_ROWS]
            bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
            if len(bad):
                raise ValueError(
                    f"the vector of {self.ids[start + bad[0]]!r} holds NaN or infinity."
                )

    @property
    def dim(self) -> int:
        """The length of each vector."""
        return self.vectors.shape[1]

    def of(self, ids: Sequence[str]) -> RowsOf:
        """Returns the vectors of these products, zeros where there is none."""
        known: dict[str, int] = self._rows  # type: ignore[attr-defined]
        rows = np.array([known.get(id, -1) for id in ids], np.int64)
        return RowsOf(self.vectors, rows)


@dataclass(frozen=True, eq=False)
class RowsOf:
    """Some rows of an array as an array of their own, gathered when asked for.

    Attributes:
        array: [N, F], in memory or in a file.
        rows: [P] int64, -1 for a row of zeros.
    """

    array: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """(P, F)."""
        return len(self.rows), self.array.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """float32, whatever the array's own."""
        return np.dtype(np.float32)

    def __getitem__(self, positions: np.ndarray | slice) -> np.ndarray:
        """Returns [n, F] float32."""
        rows = self.rows[positions]
        found = np.zeros((len(rows), self.array.shape[1]), np.float32)
        there = rows >= 0
        found[there] = self.array[rows[there]]
        return found

    def present(self) -> np.ndarray:
        """Returns [P] bool: where a row stands that is not all zeros."""
        found = np.zeros(len(self), bool)
        for start in range(0, len(self), _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            found[part] = np.any(self[part] != 0, axis=1)
        return found


def read_vectors(path: str | os.PathLike[str], *, name: str = "") -> VectorTable:
    """Reads vectors with their ids; the file's name names them unless `name` does.

    Formats: `clip.npy` [N, F] beside `clip.ids.txt`, an id a line (memory-mapped, as
    `simprod embed --out` writes); `.npz` with `ids` and `vectors`; `.parquet` with `id`
    and one column of lists.

    Raises:
        InputError: says what is wrong with the file.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError("there is no such file.", path=file)
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        known = ", ".join(_READERS)
        raise InputError(f"unknown kind of vectors; use one of {known}.", path=file)
    try:
        ids, vectors = reader(file)
        if not np.issubdtype(vectors.dtype, np.floating):
            raise ValueError(f"vectors must be floats, got {vectors.dtype}.")
        return VectorTable(name or input_name(file.stem), ids, vectors)
    except (
        OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, pa.ArrowInvalid
    ) as error:  # fmt: skip
        raise InputError(f"cannot be used as vectors: {error}", path=file) from error


def column_vectors(catalog: Catalog, column: str) -> VectorTable:
    """Returns a catalogue's own column of lists of numbers as vectors.

    Raises:
        ValueError: there is no such column, or it does not hold lists of one length.
    """
    if column not in catalog.attributes.column_names:
        known = ", ".join(catalog.attributes.column_names) or "none"
        raise ValueError(f"no column {column!r}; the further columns are: {known}.")
    vectors = _matrix(catalog.attributes.column(column), column)
    return VectorTable(input_name(column), list(catalog.ids), vectors, column)


def require_npy_suffix(path: str | os.PathLike[str]) -> None:
    """Refuses a path that `write_vectors` cannot write; call it before long work."""
    if Path(path).suffix != ".npy":
        raise InputError("write vectors to a .npy file.", path=path)


def write_vectors(
    path: str | os.PathLike[str], ids: Sequence[str], vectors: Rows
) -> Path:
    """Writes `.npy` and, beside it, `.ids.txt`; returns the path of the ids."""
    file = Path(path)
    require_npy_suffix(file)
    bad = [id for id in ids if "\n" in id or "\r" in id]
    if bad:
        raise InputError(f"id {bad[0]!r} has a line break in it.", path=file)
    with whole_file(file) as temporary:
        out = np.lib.format.open_memmap(
            temporary, "w+", dtype=vectors.dtype, shape=vectors.shape
        )
        for start in range(0, len(ids), 4096):
            out[start : start + 4096] = vectors[start : start + 4096]
        out.flush()
    names = file.with_suffix(".ids.txt")
    with whole_file(names) as temporary:
        temporary.write_text("".join(f"{id}\n" for id in ids), encoding="utf-8")
    return names


def input_name(name: str) -> str:
    """Returns a name as the inputs of a Keras model may have it."""
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return slug if slug[:1].isalpha() else f"vectors_{slug}".rstrip("_")


def _read_npy(path: Path) -> tuple[list[str], np.ndarray]:
    names = path.with_suffix(".ids.txt")
    if not names.is_file():
        raise InputError(
            f"its ids are missing: write them, one a line, into {names.name}.",
            path=path,
        )
    vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    # Not splitlines: an id may hold what Unicode takes for a line break.
    return names.read_text(encoding="utf-8").rstrip("\n").split("\n"), vectors


def _read_npz(path: Path) -> tuple[list[str], np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        missing = {"ids", "vectors"} - set(arrays.files)
        if missing:
            raise ValueError(f"it has no {min(missing)!r}; it needs ids and vectors.")
        return [str(id) for id in arrays["ids"]], arrays["vectors"]


def _read_parquet(path: Path) -> tuple[list[str], np.ndarray]:
    table = pq.read_table(path)
    lists = [f.name for f in table.schema if pa.types.is_nested(f.type)]
    if "id" not in table.column_names or len(lists) != 1:
        raise ValueError(
            "it needs a column `id` and one column of lists; its columns are: "
            f"{', '.join(table.column_names)}."
        )
    ids = [str(id) for id in table.column("id").to_pylist()]
    return ids, _matrix(table.column(lists[0]), lists[0])


def _matrix(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """Returns lists of one length as [N, F] float32; a missing list is zeros."""
    lists = column.combine_chunks()
    kind = lists.type
    if not pa.types.is_nested(kind) or not pa.types.is_floating(
        getattr(kind, "value_type", pa.string())
    ):
        raise ValueError(f"column {name!r} must hold lists of floats, got {kind}.")
    lengths = {len(one) for one in lists if one.is_valid}
    if len(lengths) != 1:
        raise ValueError(
            f"the lists of column {name!r} differ in length: {sorted(lengths)[:5]}."
        )
    found = np.zeros((len(lists), lengths.pop()), np.float32)
    there = lists.is_valid().to_numpy(zero_copy_only=False)
    values = lists.drop_null().flatten().to_numpy(zero_copy_only=False)
    found[there] = values.reshape(-1, found.shape[1])
    return found


_READERS: dict[str, Callable[[Path], tuple[list[str], np.ndarray]]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".parquet": _read_parquet,
}
