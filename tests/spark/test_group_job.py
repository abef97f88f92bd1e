"""Groups on Spark, against those of one machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.engine.spark import Spark
from simprod_tf.matching.components import connected_components
from simprod_tf.matching.grouping import extend_groups, group_matches
from simprod_tf.pipeline.group_job import (
    GroupFiles,
    GroupLimits,
    Joining,
    group_edges_job,
)
from simprod_tf.pipeline.match_settings import GroupSettings

pytestmark = pytest.mark.slow


def drawn_edges(seed: int) -> pa.Table:
    """Edges among each ten of 3,000 products, many of equal length."""
    generator = np.random.default_rng(seed)
    # Some products are called like a second group of that name.
    ids = np.array([f"p{i:04d}" if i % 7 else f"p{i + 1:04d}~2" for i in range(3000)])
    a = generator.integers(3000, size=6000)
    b = a // 10 * 10 + generator.integers(10, size=6000)
    distances = (generator.integers(0, 16, size=6000) / 10).astype(np.float32)
    return pa.table({"query_id": ids[a], "id": ids[b], "distance": distances})


def rows_of(files: list[Path]) -> list[dict]:
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def grouped(
    spark: Spark,
    folder: Path,
    edges: pa.Table,
    *,
    previous: pa.Table,
    joining: Joining | None = None,
) -> GroupFiles:
    pq.write_table(previous, folder / "previous.parquet")
    files = [folder / f"edges-{number}.parquet" for number in range(3)]
    for number, file in enumerate(files):
        pq.write_table(edges.slice(number * 2000, 2000), file)
    return group_edges_job(
        spark,
        files,
        settings=GroupSettings("average", 2),
        folder=folder / "work",
        previous=folder / "previous.parquet",
        joining=joining,
        limits=GroupLimits(pairs_per_unit=1000),
    )


def earlier_groups() -> pa.Table:
    edges = drawn_edges(1)
    return group_matches(edges, max_distance=0.7, max_size=6, mutual=False).table


def test_a_chain_of_200_is_one_component_on_spark(spark: Spark) -> None:
    nodes = np.random.default_rng(0).permutation(200)
    spark.load("edges", pa.table({"a": nodes[:-1], "b": nodes[1:]}))
    assert connected_components(spark, "edges", name="found") <= 8
    found = spark.query("SELECT node, component FROM found").to_pydict()
    assert sorted(found["node"]) == list(range(200))
    assert set(found["component"]) == {0}


def test_groups_on_spark_are_those_of_one_machine(spark: Spark, tmp_path: Path) -> None:
    edges, previous = drawn_edges(0), earlier_groups()
    found = grouped(spark, tmp_path, edges, previous=previous)
    expected = group_matches(
        edges, max_distance=1.0, max_size=2, mutual=False, previous=previous
    )
    assert rows_of(found.groups) == expected.table.to_pylist()
    bridges = [tuple(row.values()) for row in expected.bridges.to_pylist()]
    assert [tuple(row.values()) for row in rows_of(found.bridges)] == bridges
    assert (found.num_groups, found.num_products, found.num_bridges) == (
        expected.num_groups,
        len(expected.table),
        len(bridges),
    )
    assert found.num_split == expected.num_split > 0


def test_new_products_join_on_spark_as_on_one_machine(
    spark: Spark, tmp_path: Path
) -> None:
    edges, previous = drawn_edges(2), earlier_groups()
    queries = sorted(set(edges["query_id"].to_pylist()))[::20]
    edges = edges.filter(
        pa.array([id in queries for id in edges["query_id"].to_pylist()])
    )
    products = sorted({*edges["id"].to_pylist(), *previous["id"].to_pylist(), *queries})
    files = {"queries": queries, "products": products}
    for name, ids in files.items():
        pq.write_table(pa.table({"id": ids}), tmp_path / f"{name}.parquet")
    joining = Joining(*([tmp_path / f"{name}.parquet"] for name in files))
    found = grouped(spark, tmp_path, edges, previous=previous, joining=joining)
    held = [id not in queries for id in previous["id"].to_pylist()]
    expected = extend_groups(
        previous.filter(pa.array(held)), edges, max_distance=1.0, max_size=2
    )
    assert rows_of(found.groups) == expected.table.to_pylist()
    bridges = [tuple(row.values()) for row in expected.bridges.to_pylist()]
    assert [tuple(row.values()) for row in rows_of(found.bridges)] == bridges
