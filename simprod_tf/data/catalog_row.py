"""A catalogue's rows as products, each with the reason why it cannot be used."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from simprod_tf.data.catalog import OWN_COLUMNS, Product
from simprod_tf.data.catalog_shards import Block
from simprod_tf.data.picture_file import read_picture, readable_picture
from simprod_tf.data.tables import ReadTable
from simprod_tf.errors import InputError


@dataclass(frozen=True)
class CatalogColumns:
    """What an encoder takes of a catalogue.

    Attributes:
        title: whether it takes titles.
        image: whether it takes pictures; where not, none is looked at.
        categories: columns of text.
        numbers: columns of numbers.
        vectors: columns of lists, with the length of each.
    """

    title: bool = True
    image: bool = True
    categories: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    vectors: tuple[tuple[str, int], ...] = ()

    @property
    def names(self) -> list[str]:
        """The columns to read: those taken, and what checks a row."""
        more = (*self.categories, *self.numbers, *(name for name, _ in self.vectors))
        return list(dict.fromkeys(["id", "title", "image", *more]))

    @property
    def need_content(self) -> bool:
        """Whether a product is bad that has neither title nor image."""
        return not (self.categories or self.numbers or self.vectors)


@dataclass(frozen=True, eq=False)
class CatalogRow:
    """One row.

    Attributes:
        row: its number in the file, from 1.
        product: of it; `image` is an absolute path, or "".
        written_image: the path as it stands in the catalogue, or "".
        picture: the bytes of the picture, where the catalogue holds them.
        vectors: [D] float32 by column; a missing one is zeros.
        fault: why it cannot be used, or "".
    """

    row: int
    product: Product
    written_image: str = ""
    picture: bytes | None = None
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    fault: str = ""


def catalog_rows(
    block: Block, columns: CatalogColumns, *, source: str
) -> list[CatalogRow]:
    """Returns the rows of a block, checked but for their pictures.

    Args:
        block: of the catalogue.
        columns: what is wanted of it.
        source: the catalogue's file, to whose folder pictures' paths are relative.

    Raises:
        InputError: a column cannot hold what it should in any row.
    """
    read = ReadTable(Path(source), block.table, block.rows, [])
    ids, titles = read.strings("id"), read.strings("title")
    images, pictures = _images(read)
    attributes = {name: read.strings(name) for name in _attributes(read, columns)}
    vectors = {name: _lists(read, name) for name, _ in columns.vectors}
    folder = Path(source).parent
    rows = []
    for i, (row, fault) in enumerate(zip(block.rows, block.faults)):
        values = {name: texts[i] for name, texts in attributes.items() if texts[i]}
        image = str(folder / images[i]) if images[i] else ""
        product = Product(ids[i], titles[i], image, "", values)
        lists = {name: found[i] for name, found in vectors.items()}
        has_content = bool(titles[i] or images[i] or pictures[i] is not None)
        fault = (
            fault
            or _fault(product, columns, has_content=has_content)
            or _vector_fault(product, lists, columns)
        )
        arrays = {} if fault else _arrays(lists, columns)
        rows.append(CatalogRow(row, product, images[i], pictures[i], arrays, fault))
    return rows


def row_picture(row: CatalogRow) -> bytes:
    """Returns the picture of a row, converted if need be; b"" where it has none.

    Raises:
        InputError: it cannot be used.
        OSError: the disk or the network failed, not the picture.
    """
    if row.picture is not None:
        return readable_picture(row.picture, path=f"product {row.product.id!r}")
    if not row.product.image:
        return b""
    if "\0" in row.product.image:
        raise InputError("the picture cannot be read: NUL in its path.", path="image")
    try:
        return read_picture(row.product.image)
    except InputError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and not isinstance(cause, _NO_FILE):
            if cause.errno is not None:
                raise cause from None
        raise


def content_digest(row: CatalogRow, columns: CatalogColumns) -> str:
    """Returns 32 hex digits: of all that an encoder takes of the product.

    A picture's file counts by the path as it is written, its size and its time of
    change: to read it would take as long as to embed it.
    """
    product = row.product
    parts = [product.title.encode() if columns.title else b""]
    parts += [
        product.attributes.get(name, "").encode()
        for name in (*columns.categories, *columns.numbers)
    ]
    parts += [row.vectors[name].tobytes() for name, _ in columns.vectors]
    parts.append(_picture_identity(row) if columns.image else b"")
    return _digest(parts)


# What is wrong with the path; all else is wrong with the disk.
_NO_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        # Lengths first: otherwise ("ab", "c") and ("a", "bc") would be the same.
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _picture_identity(row: CatalogRow) -> bytes:
    if row.picture is not None:
        return hashlib.blake2b(row.picture, digest_size=16).digest()
    if not row.product.image:
        return b""
    try:
        status = os.stat(row.product.image)
    except (OSError, ValueError):
        return b"missing"
    return f"{row.written_image}:{status.st_size}:{status.st_mtime_ns}".encode()


def _images(read: ReadTable) -> tuple[list[str], list[bytes | None]]:
    """Returns the paths and the bytes of the pictures; a row has one or none."""
    count = read.table.num_rows
    if "image" not in read.table.column_names:
        return [""] * count, [None] * count
    column = read.table.column("image")
    kind = column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return [""] * count, column.to_pylist()
    if pa.types.is_nested(kind):
        raise InputError(
            f"column 'image' must hold paths or the pictures' bytes, got {kind}.",
            path=read.path,
        )
    return read.strings("image"), [None] * count


def _attributes(read: ReadTable, columns: CatalogColumns) -> list[str]:
    """Returns the columns that a product's attributes come from, as in `Catalog`."""
    schema = read.table.schema
    return [
        name
        for name in dict.fromkeys((*columns.categories, *columns.numbers))
        if name in schema.names
        and name not in OWN_COLUMNS
        and not pa.types.is_nested(schema.field(name).type)
    ]


def _lists(read: ReadTable, column: str) -> list[list[float] | None]:
    read.require([column])
    values = read.table.column(column)
    kind = getattr(values.type, "value_type", None)
    if pa.types.is_null(values.type):
        return [None] * len(values)
    if kind is None or not (pa.types.is_floating(kind) or pa.types.is_null(kind)):
        raise InputError(
            f"column {column!r} must hold lists of floats, got {values.type}.",
            path=read.path,
        )
    return values.to_pylist()


def _fault(product: Product, columns: CatalogColumns, *, has_content: bool) -> str:
    if not product.id:
        return "the id is empty"
    if columns.need_content and not has_content:
        return f"product {product.id!r} has neither title nor image"
    for name in columns.numbers:
        text = product.attributes.get(name, "")
        if text and not _is_number(text):
            return f"product {product.id!r}: {name} must be a number, got {text!r}"
    return ""


def _vector_fault(
    product: Product, lists: dict[str, list[float] | None], columns: CatalogColumns
) -> str:
    for name, dim in columns.vectors:
        values = lists[name]
        if values is not None and len(values) != dim:
            return (
                f"product {product.id!r}: the list of column {name!r} has length "
                f"{len(values)}, expected {dim}"
            )
        if values is not None and not np.isfinite(np.array(values, np.float32)).all():
            return f"the vector of {product.id!r} holds NaN or infinity"
    return ""


def _arrays(
    lists: dict[str, list[float] | None], columns: CatalogColumns
) -> dict[str, np.ndarray]:
    return {
        name: np.zeros(dim, np.float32)
        if lists[name] is None
        else np.array(lists[name], np.float32)
        for name, dim in columns.vectors
    }


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
