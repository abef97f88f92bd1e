"""The catalogue: every product once, checked when it is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

import numpy as np
import pyarrow as pa

from simprod_tf.data.picture_file import picture_fault
from simprod_tf.data.tables import BadRow, ReadTable, read_table, sorted_bad
from simprod_tf.errors import InputError

OWN_COLUMNS = ("id", "title", "image", "group")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Product:
    """One product: `title` and `image` (a path) are "" where there is none.

    `attributes` holds the values of further columns as text, those that there are.
    """

    id: str
    title: str = ""
    image: str = ""
    group: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Catalog:
    """Products by id, as parallel [P] arrays of str; other columns as `attributes`.

    `titles`, `images` (absolute paths) and `groups` hold "" where there is none.
    """

    ids: np.ndarray
    titles: np.ndarray
    images: np.ndarray
    groups: np.ndarray
    attributes: pa.Table

    def __post_init__(self) -> None:
        """Checks lengths and that ids are unique."""
        lengths = {len(self.ids), len(self.titles), len(self.images), len(self.groups)}
        if self.attributes.num_columns:
            lengths.add(self.attributes.num_rows)
        if len(lengths) != 1:
            raise ValueError(f"columns differ in length: {sorted(lengths)}.")
        rows = {id: row for row, id in enumerate(self.ids)}
        if len(rows) != len(self.ids):
            raise ValueError("ids are not unique.")
        object.__setattr__(self, "_rows", rows)
        object.__setattr__(self, "_columns", {})

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, id: object) -> bool:
        return id in self._rows  # type: ignore[attr-defined]

    def __getitem__(self, id: str) -> Product:
        """Returns the product with this id; KeyError if there is none."""
        return self.product(self.rows_of([id])[0])

    def __iter__(self) -> Iterator[Product]:
        return (self.product(row) for row in range(len(self)))

    def __repr__(self) -> str:
        pictures = int(np.count_nonzero(self.images != ""))
        titles = int(np.count_nonzero(self.titles != ""))
        groups = len(set(self.groups) - {""})
        return (
            f"Catalog({len(self)} products, {pictures} with a picture, "
            f"{titles} with a title, {groups} groups)"
        )

    def product(self, row: int) -> Product:
        """Returns the product in this row."""
        attributes = {name: self.column(name)[row] for name in self._text_columns()}
        return Product(
            self.ids[row],
            self.titles[row],
            self.images[row],
            self.groups[row],
            {name: value for name, value in attributes.items() if value},
        )

    def rows_of(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Returns the [N] int64 rows of these ids; KeyError names an unknown one."""
        known: dict[str, int] = self._rows  # type: ignore[attr-defined]
        return np.array([known[id] for id in ids], np.int64)

    def rows_or_none(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Returns the [N] int64 rows of these ids, -1 for unknown ones."""
        known: dict[str, int] = self._rows  # type: ignore[attr-defined]
        return np.fromiter(map(known.get, ids, repeat(-1)), np.int64, len(ids))

    def take(self, rows: np.ndarray) -> Catalog:
        """Returns the products in these rows, in that order."""
        return Catalog(
            self.ids[rows],
            self.titles[rows],
            self.images[rows],
            self.groups[rows],
            self.attributes.take(pa.array(rows, pa.int64())),
        )

    def column(self, name: str) -> np.ndarray:
        """Returns `group` or an attribute as [P] str; "" where it is missing.

        Raises:
            KeyError: there is no such column; the message names those there are.
        """
        if name == "group":
            return self.groups
        if name not in self.attributes.column_names:
            known = ", ".join(["group", *self.attributes.column_names])
            raise KeyError(f"no column {name!r}; the columns are: {known}.")
        known_columns: dict[str, np.ndarray] = self._columns  # type: ignore[attr-defined]
        if name not in known_columns:
            values = self.attributes.column(name).to_pylist()
            known_columns[name] = text_array(
                "" if value is None else str(value).strip() for value in values
            )
        return known_columns[name]

    def _text_columns(self) -> list[str]:
        """Returns the attributes that a product shows: those that are no lists."""
        fields = self.attributes.schema
        return [one.name for one in fields if not pa.types.is_nested(one.type)]


@dataclass(frozen=True)
class CatalogFile:
    """A catalogue as read, and the rows that were set aside."""

    catalog: Catalog
    bad: tuple[BadRow, ...]


def read_catalog(
    path: str | os.PathLike[str],
    *,
    skip_bad: bool = False,
    need_content: bool = True,
    check_pictures: bool = True,
    progress: Progress | None = None,
) -> CatalogFile:
    """Reads and checks a catalogue: CSV, JSONL or Parquet with `id` and more.

    Optional columns: `title`, `image` (a path, relative to the file or absolute),
    `group` (products known to be the same); all others are kept as attributes.

    Args:
        path: The file.
        skip_bad: Set bad rows aside instead of refusing the file.
        need_content: A product without title and picture is a bad row; False where
            attributes or precomputed vectors tell of it.
        check_pictures: A picture that cannot be decoded makes a bad row; False where
            pictures are read later, and may be missing then.
        progress: Called with (pictures checked, pictures in all).

    Raises:
        InputError: names the file and the first bad row, or what the file lacks.
    """
    read = read_table(path)
    read.require(["id"])
    bad = {one.row: one for one in read.bad}
    images = _absolute(read.strings("image"), read.path)
    for one in _bad_fields(read, images, need_content):
        bad.setdefault(one.row, one)
    if check_pictures:
        for one in _bad_pictures(read, images, skip=set(bad), progress=progress):
            bad[one.row] = one
    if bad and not skip_bad:
        _refuse(read, sorted_bad(bad.values()))
    keep = [i for i, row in enumerate(read.rows) if row not in bad]
    if not keep:
        raise InputError("no usable product is in it.", path=path)
    return CatalogFile(_catalog(read, images, keep), tuple(sorted_bad(bad.values())))


def text_array(texts: Iterator[str] | Sequence[str]) -> np.ndarray:
    """Returns texts as a [N] array of Python str, whatever their lengths."""
    items = list(texts)
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _catalog(read: ReadTable, images: list[str], keep: list[int]) -> Catalog:
    def kept(values: list[str]) -> np.ndarray:
        return text_array([values[i] for i in keep])

    names = [name for name in read.table.column_names if name not in OWN_COLUMNS]
    return Catalog(
        ids=kept(read.strings("id")),
        titles=kept(read.strings("title")),
        images=kept(images),
        groups=kept(read.strings("group")),
        attributes=read.table.select(names).take(pa.array(keep, pa.int64())),
    )


def _refuse(read: ReadTable, bad: list[BadRow]) -> None:
    more = f" (and {len(bad) - 1} more bad rows)" if len(bad) > 1 else ""
    raise InputError(
        f"{bad[0].reason}{more}. Mend the file, or give --skip-bad to set bad rows "
        "aside.",
        path=read.path,
        row=bad[0].row,
    )


def _absolute(images: list[str], path: Path) -> list[str]:
    folder = path.absolute().parent
    return [str(folder / image) if image else "" for image in images]


def _bad_fields(
    read: ReadTable, images: list[str], need_content: bool
) -> Iterator[BadRow]:
    first: dict[str, int] = {}
    columns = zip(read.rows, read.strings("id"), read.strings("title"), images)
    for row, id, title, image in columns:
        if not id:
            yield BadRow(row, "the id is empty")
        elif id in first:
            yield BadRow(row, f"id {id!r} stands already in row {first[id]}")
        elif need_content and not title and not image:
            yield BadRow(row, f"product {id!r} has neither title nor image")
        first.setdefault(id, row)


def _bad_pictures(
    read: ReadTable, images: list[str], *, skip: set[int], progress: Progress | None
) -> Iterator[BadRow]:
    wanted = [(r, i) for r, i in zip(read.rows, images) if i and r not in skip]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        reasons = pool.map(picture_fault, (image for _, image in wanted))
        for done, ((row, _), reason) in enumerate(zip(wanted, reasons), start=1):
            if progress:
                progress(done, len(wanted))
            if reason:
                yield BadRow(row, reason)
