"""What decides beside the distance, read from a catalogue in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.catalog_shards import catalog_files, catalog_pieces
from simprod_tf.engine.embedded import Embedded
from simprod_tf.matching.traits import product_traits
from simprod_tf.pipeline.catalog_traits import (
    TRAIT_COLUMNS,
    Wanted,
    product_of,
    read_traits,
    traits_by_block,
)

CSV = """id,title,BRAND,manufacturer,mpn,Condition,kind
a, blue mug 350 ml ,,Acme,DSC-W120,used,mugs
b,pan,Zeta,Acme,,,pans
,no id,,,,,
c,,,,,,
"""


@pytest.fixture
def engine() -> Iterator[Embedded]:
    with Embedded() as engine:
        yield engine


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.csv"
    path.write_text(CSV)
    return path


def test_of_each_product_a_few_texts_are_read(catalog: Path, tmp_path: Path) -> None:
    (piece,) = catalog_pieces(catalog_files(catalog), rows_per_piece=10)
    record = read_traits("kind", str(tmp_path), piece)
    assert "manufacturer" in record["columns"]
    rows = pq.read_table(record["file"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        (0, 1, "a", "blue mug 350 ml", "Acme", "DSC-W120", "used", "mugs"),
        (0, 2, "b", "pan", "Zeta", "", "", "pans"),
        (0, 4, "c", "", "", "", "", ""),
    ]
    # A product states what it states in the whole catalogue.
    whole = read_catalog(catalog, skip_bad=True, check_pictures=False).catalog
    for row in rows[:2]:
        made = product_of(row["id"], row)
        assert product_traits(made) == product_traits(whole[row["id"]])


def test_a_block_gets_the_traits_of_its_own_products(
    engine: Embedded, catalog: Path, tmp_path: Path
) -> None:
    nearest = pa.table(
        {
            "block": [0, 0, 1],
            "query_id": ["a", "a", "b"],
            "id": ["b", "c", "c"],
            "distance": pa.array([0.1, 0.9, 0.2], pa.float32()),
        }
    )
    engine.load("nearest", nearest)

    def found(wanted: Wanted, name: str) -> dict[int, set[str]]:
        files = traits_by_block(engine, catalog, wanted, folder=tmp_path / name)
        tables = {block: pq.read_table(list(paths)) for block, paths in files.items()}
        for table in tables.values():
            assert set(TRAIT_COLUMNS) < set(table.column_names)
        return {block: set(one["id"].to_pylist()) for block, one in tables.items()}

    # Of a pair beyond the limit nobody asks; of a query's category always.
    assert found(Wanted("", 0.15), "near") == {0: {"a", "b"}}
    assert found(Wanted("kind", None), "kind") == {0: {"a"}, 1: {"b"}}
    assert found(Wanted("kind", 0.2), "both") == {0: {"a", "b"}, 1: {"b", "c"}}
