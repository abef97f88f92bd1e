"""The table of matches, against a slow oracle on 40 products; writing it whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from simprod_tf.errors import InputError
from simprod_tf.index import ExactIndex, Index
from simprod_tf.matching.calibration import Calibration
from simprod_tf.matching.candidates import candidate_blocks
from simprod_tf.matching.keys import KeyGroups
from simprod_tf.matching.matcher import (
    SCHEMA,
    find_matches,
    match_blocks,
    write_matches,
)
from simprod_tf.matching.rule import MatchRule
from simprod_tf.matching.views import Views

N = 40


def index_of(n: int, *, dim: int = 3) -> Index:
    vectors = np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)
    # Three equal products: a product need not be the first of its own neighbours.
    vectors[[5, 6]] = vectors[4]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"p{row}" for row in range(n)]
    return ExactIndex.build(ids, vectors, encoder_fingerprint="f")


@pytest.fixture(scope="module")
def index() -> Index:
    return index_of(N)


@pytest.fixture(scope="module")
def views(index: Index) -> Views:
    return Views({"both": index})


def oracle(index: Index, k: int, max_distance: float) -> dict[tuple[str, str], int]:
    """Returns the rank of each match, found one by one."""
    ranks = {}
    for row, vector in enumerate(index.embeddings):
        gaps = np.linalg.norm(index.embeddings - vector, axis=1)
        order = [other for other in np.argsort(gaps, kind="stable") if other != row]
        for rank, other in enumerate(order[:k], start=1):
            if gaps[other] <= max_distance:
                ranks[f"p{row}", f"p{other}"] = rank
    return ranks


def ranks_of(table: pa.Table) -> dict[tuple[str, str], int]:
    found = {(m["query_id"], m["id"]): m["rank"] for m in table.to_pylist()}
    assert len(found) == len(table)
    return found


@pytest.mark.parametrize(("k", "max_distance"), [(1, 2), (3, 0.4), (39, 0.7), (99, 2)])
def test_matches_agree_with_the_oracle(
    index: Index, k: int, max_distance: float
) -> None:
    table = find_matches(index, k=k, max_distance=max_distance)
    assert ranks_of(table) == oracle(index, k, max_distance)


def test_the_columns_of_find_matches_are_the_plain_ones(index: Index) -> None:
    table = find_matches(index, k=3, max_distance=0.5)
    assert str(table.schema) == (
        "query_id: string\nid: string\nrank: int32\ndistance: float\nprobability: float"
    )
    assert table["probability"].null_count == len(table) > 0
    assert max(table["distance"].to_pylist()) <= 0.5


def test_a_calibration_gives_probabilities(index: Index) -> None:
    curve = Calibration(slope=-3.0, intercept=1.0)
    table = find_matches(index, k=3, max_distance=0.5, decision=curve)
    expected = 1 / (1 + np.exp(3 * table["distance"].to_numpy() - 1))
    np.testing.assert_allclose(table["probability"].to_numpy(), expected, rtol=1e-5)


def test_a_product_does_not_match_itself_but_its_doubles(index: Index) -> None:
    table = find_matches(index, k=5, max_distance=0, queries=["p6", "p4", "p6"])
    found = [(m["query_id"], m["id"], m["rank"]) for m in table.to_pylist()]
    assert found == [("p6", "p4", 1), ("p6", "p5", 2), ("p4", "p5", 1), ("p4", "p6", 2)]


@pytest.mark.parametrize("queries", [None, [f"p{row}" for row in range(0, N, 3)]])
def test_mutual_keeps_what_stands_in_both_directions(
    index: Index, queries: list[str] | None
) -> None:
    every = oracle(index, 3, 0.8)
    expected = {
        pair: rank
        for pair, rank in every.items()
        if pair[::-1] in every and (queries is None or pair[0] in queries)
    }
    table = find_matches(index, k=3, max_distance=0.8, mutual=True, queries=queries)
    assert ranks_of(table) == expected
    assert 0 < len(expected) < len(every)


def test_progress_counts_the_queries(index: Index) -> None:
    seen: list[tuple[int, int]] = []
    find_matches(
        index, k=1, max_distance=1, progress=lambda done, all: seen.append((done, all))
    )
    assert seen == [(40, 40)]


@pytest.mark.parametrize("mutual", [False, True])
def test_no_products_give_an_empty_table(mutual: bool) -> None:
    empty = ExactIndex.build([], np.empty((0, 3), np.float32), encoder_fingerprint="f")
    table = find_matches(empty, k=3, max_distance=1, mutual=mutual)
    assert table.num_rows == 0
    assert table.column_names == ["query_id", "id", "rank", "distance", "probability"]


def test_find_matches_refuses(index: Index) -> None:
    with pytest.raises(ValueError, match="got 0 and 1"):
        find_matches(index, k=0, max_distance=1)
    with pytest.raises(ValueError, match="got 3 and nan"):
        find_matches(index, k=3, max_distance=float("nan"))
    with pytest.raises(KeyError, match="holds no product 'x'"):
        find_matches(index, k=3, max_distance=1, queries=["x"])


def blocks_of(
    views: Views, *, k: int, max_distance: float, block: int = 16, keep: str = "similar"
) -> Iterator[pa.Table]:
    rule = MatchRule({"both": max_distance})
    found = candidate_blocks(views, k=k, block=block)
    return match_blocks(found, rule, ids=views.ids, keep=keep)


def test_each_block_of_queries_gives_one_table(views: Views, index: Index) -> None:
    tables = list(blocks_of(views, k=3, max_distance=0.6))
    assert [table.schema for table in tables] == [SCHEMA] * 3
    for table, first in zip(tables, (0, 16, 32)):
        rows = {int(id[1:]) for id in table["query_id"].to_pylist()}
        assert rows <= set(range(first, first + 16)) and rows
    assert ranks_of(pa.concat_tables(tables)) == oracle(index, 3, 0.6)


def test_all_keeps_the_different_ones_too(views: Views, index: Index) -> None:
    table = pa.concat_tables(blocks_of(views, k=3, max_distance=0.4, keep="all"))
    assert ranks_of(table) == oracle(index, 3, 2)
    found = {
        (row["distance"] <= 0.4, row["decision"], *row["reasons"])
        for row in table.to_pylist()
    }
    assert found == {(True, "similar", "both"), (False, "different")}


def test_reasons_name_the_key_that_let_a_far_pair_pass(views: Views) -> None:
    models = ["A-100" if row in (3, 30) else None for row in range(N)]
    keys = KeyGroups.of_columns(pa.table({"mpn": models}), {"mpn": "model"})
    tables = match_blocks(
        candidate_blocks(views, k=1, keys=keys),
        MatchRule({"both": 0.0}, accept_keys=True),
        ids=views.ids,
        decision=Calibration(slope=-1.0, intercept=0.0),
    )
    rows = [row for row in pa.concat_tables(tables).to_pylist() if row["distance"] > 0]
    assert [(row["query_id"], row["id"]) for row in rows] == [
        ("p3", "p30"),
        ("p30", "p3"),
    ]
    assert {(row["rank"], row["decision"], *row["reasons"]) for row in rows} == {
        (2, "similar", "key:model")
    }
    expected = 1 / (1 + np.exp(rows[0]["distance"]))
    assert rows[0]["probability"] == pytest.approx(expected, rel=1e-5)


def test_keep_is_one_of_two(views: Views) -> None:
    with pytest.raises(ValueError, match="one of similar, all, got 'none'"):
        match_blocks([], MatchRule({"both": 1}), ids=views.ids, keep="none")


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_what_is_written_is_what_was_found(
    views: Views, index: Index, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"matches.{suffix}"
    expected = pa.concat_tables(blocks_of(views, k=3, max_distance=0.5, keep="all"))
    counts = write_matches(blocks_of(views, k=3, max_distance=0.5, keep="all"), path)
    if suffix == "parquet":
        assert pq.read_table(path).equals(expected)
    else:
        found = pacsv.read_csv(path).to_pylist()
        assert list(found[0]) == SCHEMA.names
        names = ("query_id", "id", "rank", "decision")
        assert [[row[name] for name in names] for row in found] == [
            [row[name] for name in names] for row in expected.to_pylist()
        ]
        assert {(row["decision"], row["reasons"]) for row in found} == {
            ("similar", "both"),
            ("different", ""),
        }
    near = oracle(index, 3, 0.5)
    assert counts.num_rows == 3 * N
    assert counts.num_similar == len(near) < 3 * N
    assert counts.num_queries == len({query for query, _ in near}) < N
    assert counts.by_reason == {"both": len(near)}


def test_several_reasons_stand_in_one_csv_cell(tmp_path: Path) -> None:
    row = {"query_id": "a", "id": "b", "rank": 1, "distance": 0.5, "probability": None}
    row |= {"decision": "different", "reasons": ["both", "veto:brand"]}
    counts = write_matches(
        [pa.Table.from_pylist([row], schema=SCHEMA)], tmp_path / "m.csv"
    )
    lines = (tmp_path / "m.csv").read_text().splitlines()
    assert lines[1] == '"a","b",1,0.5,,"different","both;veto:brand"'
    assert (counts.num_similar, counts.num_queries) == (0, 0)
    assert counts.by_reason == {"both": 1, "veto:brand": 1}


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_no_matches_are_a_table_without_rows(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m.{suffix}"
    counts = write_matches([SCHEMA.empty_table()], path)
    assert (counts.num_rows, counts.by_reason) == (0, {})
    read = pq.read_table(path) if suffix == "parquet" else pacsv.read_csv(path)
    assert read.column_names == SCHEMA.names and read.num_rows == 0


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_block_that_fails_leaves_what_was_there(
    views: Views, tmp_path: Path, suffix: str
) -> None:
    def broken() -> Iterator[pa.Table]:
        yield next(blocks_of(views, k=3, max_distance=1))
        raise KeyboardInterrupt

    path = tmp_path / f"m.{suffix}"
    with pytest.raises(KeyboardInterrupt):
        write_matches(broken(), path)
    assert list(tmp_path.iterdir()) == []
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        write_matches(broken(), path)
    assert path.read_text() == "before" and len(list(tmp_path.iterdir())) == 1


def test_an_unknown_suffix_is_refused_before_the_first_block(tmp_path: Path) -> None:
    def never() -> Iterator[pa.Table]:
        raise AssertionError
        yield

    with pytest.raises(InputError, match=".csv or .parquet"):
        write_matches(never(), tmp_path / "m.txt")


def test_memory_does_not_grow_with_the_number_of_blocks(tmp_path: Path) -> None:
    views = Views({"both": index_of(1200, dim=8)})
    held: list[int] = []

    def watched(block: int) -> Iterator[pa.Table]:
        before = pa.total_allocated_bytes()
        for table in blocks_of(views, k=20, max_distance=2, block=block):
            held.append(pa.total_allocated_bytes() - before)
            yield table
            del table

    write_matches(watched(1200), tmp_path / "whole.parquet")
    whole = held.pop()
    write_matches(watched(50), tmp_path / "blocks.parquet")
    assert len(held) == 24
    # A block, the one before it and what the writer keeps; not the sum of all.
    assert max(held) < whole / 4
    assert max(held[12:]) < 1.5 * max(held[:12])
    first = pq.read_table(tmp_path / "whole.parquet")
    assert first.equals(pq.read_table(tmp_path / "blocks.parquet"))
