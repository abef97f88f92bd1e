"""What decides upon pairs beside the distance, read from a catalogue of any size.

Of each product a few texts: its title, brand, model and condition, by which conflicts
are told, and its category, by which thresholds may differ. A work unit reads them from
a piece of the catalogue; SQL then joins them to the products that each block has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_file
from simprod_tf.data.catalog import OWN_COLUMNS, Product
from simprod_tf.data.catalog_shards import (
    CatalogPiece,
    catalog_files,
    catalog_pieces,
    read_blocks,
)
from simprod_tf.data.tables import ReadTable, read_table
from simprod_tf.engine.base import Engine, Progress
from simprod_tf.engine.units import run_units
from simprod_tf.errors import SimprodError
from simprod_tf.matching.traits import BRAND_COLUMNS, CONDITION_COLUMNS, MODEL_COLUMNS

CATEGORY = "category"
TRAIT_COLUMNS = ("title", "brand", "model", "item_condition", CATEGORY)
_STATED = {
    "brand": BRAND_COLUMNS,
    "model": MODEL_COLUMNS,
    "item_condition": CONDITION_COLUMNS,
}
_SCHEMA = pa.schema(
    [("piece", pa.int64()), ("line", pa.int64()), ("id", pa.string())]
    + [(name, pa.string()) for name in TRAIT_COLUMNS]
)
_PIECE_ROWS = 200_000
_BLOCK_ROWS = 10_000

# Of a product that stands twice the first counts, as when it was embedded.
_PRODUCTS = """
SELECT id, title, brand, model, item_condition, category
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY piece, line) AS place
    FROM catalog_traits
) AS placed
WHERE place = 1
"""
_NEEDED = """
SELECT DISTINCT block, id
FROM (
    SELECT block, query_id AS id FROM nearest WHERE {is_query_needed}
    UNION ALL
    SELECT block, id FROM nearest WHERE {is_end_needed}
) AS named
"""
_MISSING = """
SELECT COUNT(DISTINCT needed.id) AS num_missing, MIN(needed.id) AS first_id
FROM needed LEFT JOIN products ON needed.id = products.id
WHERE products.id IS NULL
"""
# Sorted, so that the products of a block lie in few files.
_JOINED = """
SELECT needed.block, products.*
FROM needed JOIN products ON needed.id = products.id
ORDER BY needed.block
"""


@dataclass(frozen=True)
class Wanted:
    """What of the catalogue decides.

    Attributes:
        category: the column by which thresholds differ, or "".
        within: the distance up to which pairs are asked for conflicts; None for none.
    """

    category: str
    within: float | None


def traits_by_block(
    engine: Engine,
    catalog: str | os.PathLike[str],
    wanted: Wanted,
    *,
    folder: Path,
    progress: Progress | None = None,
) -> dict[int, tuple[str, ...]]:
    """Returns for each block of the table `nearest` the files of its products' traits.

    Args:
        engine: has the table `nearest`: `block`, `query_id`, `id`, `distance`.
        catalog: a file, or a folder of them.
        wanted: what decides.
        folder: of what the job has done.
        progress: called with (pieces of the catalogue read, pieces in all).

    Raises:
        InputError: the catalogue cannot be read.
        SimprodError: it lacks the column of the categories, or a product.
    """
    pieces = catalog_pieces(catalog_files(catalog), rows_per_piece=_PIECE_ROWS)
    read = folder / "catalog"
    read.mkdir(parents=True, exist_ok=True)
    records = run_units(
        engine,
        partial(read_traits, wanted.category, str(read)),
        pieces,
        folder=folder / "catalog-done",
        progress=progress,
    )
    _require_column(wanted.category, list(records.values()))
    engine.read("catalog_traits", [one["file"] for one in records.values()])
    engine.define("products", _PRODUCTS)
    engine.define("needed", _needed(wanted))
    missing = engine.query(_MISSING).to_pylist()[0]
    if missing["num_missing"]:
        raise SimprodError(
            f"the catalogue lacks {missing['num_missing']} products of the index, "
            f"{missing['first_id']!r} among them; give the one that was indexed."
        )
    files = engine.write(_JOINED, folder / "traits", partition_by="block")
    return files_by_block(files)


def files_by_block(files: Sequence[Path]) -> dict[int, tuple[str, ...]]:
    """Returns the files of `Engine.write(..., partition_by="block")` by the block."""
    found: dict[int, tuple[str, ...]] = {}
    for file in files:
        block = int(file.parent.name.removeprefix("block="))
        found[block] = (*found.get(block, ()), str(file))
    return found


def read_traits(category: str, folder: str, piece: CatalogPiece) -> dict[str, Any]:
    """Writes the traits of the products of one piece; rows without an id are left out.

    Args:
        category: the column by which thresholds differ, or "".
        folder: gets a file with `piece`, `line`, `id` and `TRAIT_COLUMNS`.
        piece: of the catalogue.
    """
    file = Path(folder) / f"{piece.name}.parquet"
    columns: list[str] = []
    if not piece.is_text:
        columns = pq.read_schema(piece.file).names
    with whole_file(file) as temporary, pq.ParquetWriter(temporary, _SCHEMA) as writer:
        for read in _tables(piece, category):
            columns = columns or read.table.column_names
            writer.write_table(_traits(read, category, number=piece.number))
    return {"file": str(file), "columns": columns}


def product_of(id: str, traits: Mapping[str, str]) -> Product:
    """Returns the product of which these traits were read."""
    stated = {
        names[0]: traits[column] for column, names in _STATED.items() if traits[column]
    }
    return Product(id, traits["title"], attributes=stated)


def _needed(wanted: Wanted) -> str:
    # A little more than the limit, so that nothing hangs on how SQL reads a number.
    near = (
        "1 = 0" if wanted.within is None else f"distance <= {wanted.within + 1e-5:.6f}"
    )
    return _NEEDED.format(
        is_query_needed="1 = 1" if wanted.category else near, is_end_needed=near
    )


def _require_column(category: str, records: Sequence[Mapping[str, Any]]) -> None:
    # Every catalogue has a column of groups, if an empty one.
    known = ["group", *(name for one in records for name in one["columns"])]
    if category and category not in known:
        raise SimprodError(
            f"thresholds go by {category!r}, and the catalogue has no column "
            f"{category!r}; the columns are: {', '.join(dict.fromkeys(known))}."
        )


def _tables(piece: CatalogPiece, category: str) -> Iterator[ReadTable]:
    if piece.is_text:
        yield read_table(piece.source)
        return
    names = pq.read_schema(piece.file).names
    stated = {name for several in _STATED.values() for name in several}
    wanted = {"id", "title", category}
    columns = [one for one in names if one in wanted or one.casefold() in stated]
    for block in read_blocks(piece, columns=columns, rows_per_block=_BLOCK_ROWS):
        yield ReadTable(Path(piece.source), block.table, block.rows, [])


def _traits(read: ReadTable, category: str, *, number: int) -> pa.Table:
    read.require(["id"])
    texts = {"title": read.strings("title")}
    texts |= {column: _first_of(read, names) for column, names in _STATED.items()}
    texts[CATEGORY] = read.strings(category) if category else [""] * len(read.rows)
    columns = {
        "piece": pa.array([number] * len(read.rows), pa.int64()),
        "line": pa.array(read.rows, pa.int64()),
        "id": pa.array(read.strings("id"), pa.string()),
        **{name: pa.array(texts[name], pa.string()) for name in TRAIT_COLUMNS},
    }
    table = pa.table(columns, schema=_SCHEMA)
    return table.filter(pc.not_equal(table["id"], ""))


def _first_of(read: ReadTable, names: Sequence[str]) -> list[str]:
    """Returns what the first of these columns says that says anything, in any case."""
    found = [""] * read.table.num_rows
    for name in names:
        found = [one or other for one, other in zip(found, _last_of(read, name))]
    return found


def _last_of(read: ReadTable, name: str) -> list[str]:
    """Returns a column by its name in lower case; of several the last that says any."""
    found = [""] * read.table.num_rows
    for field in read.table.schema:
        if field.name.casefold() == name and not pa.types.is_nested(field.type):
            if field.name not in OWN_COLUMNS:
                texts = read.strings(field.name)
                found = [other or one for one, other in zip(found, texts)]
    return found
