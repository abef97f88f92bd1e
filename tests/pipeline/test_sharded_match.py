"""Matching on shards gives the very tables of matching on one index.

The oracle is `match_run` on one exact index of the same products. Three products are
equal to a fourth, in other shards and other blocks, so that ties are broken, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.embedding_shards import KIND, write_embeddings
from simprod_tf.engine.embedded import Embedded
from simprod_tf.errors import (
    FingerprintError,
    InputError,
    ModelError,
    SimprodError,
)
from simprod_tf.index import ExactIndex
from simprod_tf.index.sharded import ShardedIndex
from simprod_tf.matching.calibration import Calibration
from simprod_tf.matching.decision import Decision
from simprod_tf.matching.decisions import Decisions
from simprod_tf.pipeline import shard_job
from simprod_tf.pipeline.index_shard import ShardSettings
from simprod_tf.pipeline.match import MatchInputs, match_run
from simprod_tf.pipeline.match_settings import (
    MatchOutputs,
    MatchSettings,
)
from simprod_tf.pipeline.shard_decide import decide_block
from simprod_tf.pipeline.sharded_index import index_embeddings
from simprod_tf.pipeline.sharded_match import (
    ShardedInputs,
    described_shards,
    match_shards,
)
from simprod_tf.shards import part_name, shard_files, write_success

NUM = 120
IDS = [f"p{row:03d}" for row in range(NUM)]
ONLY = [IDS[row] for row in (3, 40, 41, 119)]


def clustered(num: int, dim: int, *, num_centres: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = random.normal(size=(num_centres, dim))
    found = centres[random.integers(0, num_centres, num)]
    found = (found + 0.15 * random.normal(size=(num, dim))).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def with_ties() -> np.ndarray:
    found = clustered(NUM, 8, num_centres=30)
    found[[5, 60, 119]] = found[2]
    return found


VECTORS = with_ties()


def embeddings_in(folder: Path, ids: list[str], vectors: np.ndarray) -> Path:
    folder.mkdir()
    write_embeddings(folder / part_name(0), ids=ids, embeddings=vectors, content=ids)
    facts = {"encoder_fingerprint": "f", "dim": vectors.shape[1], "dtype": "float32"}
    write_success(folder, {"kind": KIND, "rows": len(ids), "decision": None, **facts})
    return folder


def decision(by_category: dict[str, float] | None = None) -> Decision:
    return Decision(
        max_distance=0.45,
        target_precision=0.9,
        precision=0.95,
        precision_lower_bound=0.9,
        recall=0.5,
        num_pairs=10,
        num_positives=5,
        num_accepted=5,
        labelled_prior=0.5,
        prior=0.5,
        prior_source="labelled",
        confidence=0.95,
        method="by hand",
        date="",
        encoder_fingerprint="f",
        calibration=Calibration(-1.0, 0.0),
        by_category=by_category or {},
    )


PLAIN = Decisions("f", {"both": decision()}, {})
BY_KIND = Decisions("f", {"both": decision({"a": 0.3, "b": 0.7})}, {}, category="kind")


@dataclass(frozen=True)
class Shop:
    """One index, the same in shards, and the catalogue as a file and in pieces."""

    folder: Path
    whole: ExactIndex
    sharded: ShardedIndex
    catalog: Path
    pieces: Path


def catalog_table() -> pa.Table:
    """Returns the products in another order, some with traits, and one more."""
    random = np.random.default_rng(3)
    ids = [*reversed(IDS), "unknown"]
    sizes, brands, kinds = (
        random.choice(values, len(ids)).tolist()
        for values in (["200 ml", "350 ml", ""], ["ACME", "Zeta", ""], ["a", "b", "c"])
    )
    titles = [f"mug {size}" for size in sizes]
    return pa.table({"id": ids, "title": titles, "Brand": brands, "kind": kinds})


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    embeddings = embeddings_in(folder / "emb", IDS, VECTORS)
    with Embedded() as engine:
        made = index_embeddings(
            engine,
            embeddings,
            folder / "index",
            num_shards=3,
            settings=ShardSettings("exact"),
        )
    table = catalog_table()
    pq.write_table(table, folder / "catalog.parquet")
    (folder / "pieces").mkdir()
    pq.write_table(
        table.slice(0, 50), folder / "pieces" / "1.parquet", row_group_size=20
    )
    pacsv.write_csv(table.slice(50), folder / "pieces" / "2.csv")
    # Of a product that stands twice the first row counts.
    again = table.slice(0, 9).set_column(1, "title", pa.array(["mug 5 l"] * 9))
    pq.write_table(again, folder / "pieces" / "3.parquet")
    pq.write_table(pa.table({"id": ONLY}), folder / "only.parquet")
    whole = ExactIndex.build(IDS, VECTORS, encoder_fingerprint="f")
    return Shop(
        folder, whole, made.index, folder / "catalog.parquet", folder / "pieces"
    )


@pytest.fixture(scope="module")
def engine() -> Iterator[Embedded]:
    with Embedded() as engine:
        yield engine


def outputs(folder: Path, name: str, *, grouped: bool = True) -> MatchOutputs:
    if not grouped:
        return MatchOutputs(folder / f"{name}-match.parquet")
    return MatchOutputs(
        *(folder / f"{name}-{kind}.parquet" for kind in ("match", "groups", "bridges"))
    )


def rows_of(out: MatchOutputs) -> list[list[dict[str, Any]]]:
    found = []
    for path in filter(None, (out.matches, out.groups, out.bridges)):
        files = shard_files(path) if path.is_dir() else [path]
        tables = [pq.read_table(file, partitioning=None) for file in files]
        found.append([row for table in tables for row in table.to_pylist()])
    return found


CASES: dict[str, tuple[Decisions | None, str, dict[str, Any]]] = {
    "plain": (PLAIN, "", {}),
    "all": (PLAIN, "", {"keep": "all", "k": 9}),
    "stated": (None, "", {"max_distance": 0.5}),
    "veto": (PLAIN, "catalog", {}),
    "brands": (PLAIN, "catalog", {"veto": ("brand",), "keep": "all"}),
    "pieces": (PLAIN, "pieces", {"veto": ("brand", "quantity"), "keep": "all"}),
    "categories": (BY_KIND, "pieces", {"veto": (), "keep": "all"}),
    "both": (BY_KIND, "catalog", {"keep": "all"}),
    "mutual": (PLAIN, "", {"mutual": True, "keep": "all", "k": 3}),
}


VETOED = {"veto", "brands", "pieces", "both", "mutual"}
GROUPED = {"plain", "both", "mutual"}


@pytest.mark.parametrize("case", CASES)
def test_the_tables_are_those_of_one_index(
    shop: Shop, engine: Embedded, tmp_path: Path, case: str
) -> None:
    decisions, catalog, options = CASES[case]
    settings = MatchSettings(**{"k": 5, **options})
    read = read_catalog(shop.catalog, check_pictures=False).catalog
    inputs = MatchInputs(shop.whole, decisions, read if catalog else None)
    to_one, to_many = (
        outputs(tmp_path, name, grouped=case in GROUPED) for name in ("one", "many")
    )
    one = match_run(inputs, to_one, settings)
    path = {"": None, "catalog": shop.catalog, "pieces": shop.pieces}[catalog]
    many = match_shards(
        engine,
        ShardedInputs(shop.sharded, decisions, path),
        to_many,
        settings,
        block_rows=25,
    )
    expected = rows_of(to_one)
    assert expected[0] and rows_of(to_many) == expected
    assert (many.counts, many.num_vetoed) == (one.counts, one.num_vetoed)
    schemas = [pq.read_schema(out.matches) for out in (to_one, to_many)]
    assert schemas[0].equals(schemas[1])
    # A case without its own effect would prove nothing.
    assert bool(one.num_vetoed) == (case in VETOED)
    assert described_shards(many)[0].startswith(f"{one.counts.num_similar} matches")


@pytest.mark.parametrize("mutual", [False, True])
def test_only_some_products_join_the_earlier_groups(
    shop: Shop, engine: Embedded, tmp_path: Path, mutual: bool
) -> None:
    read = read_catalog(shop.catalog, check_pictures=False).catalog
    settings = MatchSettings(k=3, mutual=mutual, keep="all")
    before = outputs(tmp_path, "before")
    match_run(MatchInputs(shop.whole, PLAIN), before, settings)
    assert before.groups is not None
    earlier = pq.read_table(before.groups)
    match_run(
        MatchInputs(shop.whole, PLAIN, read, queries=ONLY, previous=earlier),
        outputs(tmp_path, "one"),
        settings,
    )
    match_shards(
        engine,
        ShardedInputs(
            shop.sharded,
            PLAIN,
            shop.catalog,
            only=shop.folder / "only.parquet",
            previous=before.groups,
        ),
        outputs(tmp_path, "many"),
        settings,
        block_rows=25,
    )
    found = rows_of(outputs(tmp_path, "many"))
    assert found == rows_of(outputs(tmp_path, "one"))
    assert {row["query_id"] for row in found[0]} == set(ONLY)
    assert {str(row["reasons"]) for row in found[0]} >= (
        {"['both', 'veto:one-sided']"} if mutual else {"['both']"}
    )


def test_an_ordinary_index_is_matched_as_one_shard(
    shop: Shop, engine: Embedded, tmp_path: Path
) -> None:
    shop.whole.save(tmp_path / "index")
    settings = MatchSettings(k=4)
    match_run(MatchInputs(shop.whole, PLAIN), outputs(tmp_path, "one"), settings)
    # Under a name by which some readers would add a column `row`, or replace it.
    place = tmp_path / "row=5"
    out = MatchOutputs(*(place / name for name in ("match", "groups", "bridges")))
    match_shards(
        engine,
        ShardedInputs(ShardedIndex.open(tmp_path / "index"), PLAIN),
        out,
        settings,
        block_rows=50,
    )
    assert rows_of(out) == rows_of(outputs(tmp_path, "one"))
    parts = sorted(path.name for path in out.matches.iterdir())
    assert parts == ["_SUCCESS", *(part_name(number) for number in range(3))]
    assert not (place / "match.unfinished").exists()


def test_no_product_that_is_asked_for_gives_empty_tables(
    shop: Shop, engine: Embedded, tmp_path: Path
) -> None:
    none = tmp_path / "none.csv"
    none.write_text("id\n")
    out = MatchOutputs(tmp_path / "match.csv", tmp_path / "groups.parquet")
    inputs = ShardedInputs(shop.sharded, PLAIN, shop.catalog, only=none)
    for mutual in (False, True):
        match_shards(engine, inputs, out, MatchSettings(k=4, mutual=mutual))
        assert out.matches.read_text().splitlines() == [
            '"query_id","id","rank","distance","probability","decision","reasons"'
        ]
        assert pq.read_table(tmp_path / "groups.parquet").num_rows == 0


def test_an_interrupted_run_goes_on(
    shop: Shop, engine: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided: list[str] = []

    def failing_at(name: str) -> Any:
        def decide(plan: Any, folder: str, unit: Any) -> dict[str, Any]:
            if unit.name == name:
                raise OSError("the power is gone")
            decided.append(unit.name)
            return decide_block(plan, folder, unit)

        return decide

    def searched(*_: Any) -> dict[str, Any]:
        raise AssertionError("What is done is not done again.")

    inputs, settings = ShardedInputs(shop.sharded, PLAIN), MatchSettings(k=4)
    out = MatchOutputs(tmp_path / "many.parquet")
    monkeypatch.setattr(shard_job, "decide_block", failing_at("block-000001"))
    with pytest.raises(OSError, match="power"):
        match_shards(engine, inputs, out, settings, block_rows=20)
    assert decided == ["block-000000"] and not out.matches.exists()
    monkeypatch.setattr(shard_job, "decide_block", failing_at("none"))
    monkeypatch.setattr(shard_job, "search_shard", searched)
    match_shards(engine, inputs, out, settings, block_rows=20)
    assert decided == [f"block-{number:06d}" for number in range(6)]
    match_run(
        MatchInputs(shop.whole, PLAIN), MatchOutputs(tmp_path / "one.parquet"), settings
    )
    assert pq.read_table(out.matches).equals(pq.read_table(tmp_path / "one.parquet"))


def test_what_cannot_be_matched_is_refused(
    shop: Shop, engine: Embedded, tmp_path: Path
) -> None:
    def refused(
        error: type[Exception], message: str, *, out: str = "m.parquet", **more: Any
    ) -> None:
        inputs = {"index": shop.sharded, "decisions": PLAIN, **more.pop("inputs", {})}
        with pytest.raises(error, match=message):
            match_shards(
                engine,
                ShardedInputs(**inputs),
                MatchOutputs(tmp_path / out),
                MatchSettings(**more),
            )

    for option in ("union", "keys", "accept_keys"):
        name = f"--{option.replace('_', '-')}"
        refused(SimprodError, f"{name} needs all products in one mem", **{option: True})
    refused(SimprodError, "--tables needs all products in one memory", tables="shop")
    refused(InputError, "write to a .csv or .parquet file", out="m.txt")
    refused(SimprodError, "there is no threshold", inputs={"decisions": None})
    refused(SimprodError, "conflicts .brand. are read", veto=("brand",))
    by_kind = {"decisions": BY_KIND}
    refused(SimprodError, "thresholds go by 'kind', which is read", inputs=by_kind)
    other = Decisions("f", {"both": decision({"a": 0.1})}, {}, category="shelf")
    with_catalog = {"catalog": shop.catalog}
    refused(
        SimprodError,
        "no column 'shelf'; the columns are: group, id, title, Brand, kind",
        inputs={"decisions": other, **with_catalog},
    )
    foreign = Decisions("f", {"both": decision()}, {}, decider_fingerprint="")
    object.__setattr__(foreign.by_view["both"], "encoder_fingerprint", "g")
    refused(FingerprintError, "chosen for the encoder g", inputs={"decisions": foreign})


def test_products_that_are_not_there_are_named(
    shop: Shop, engine: Embedded, tmp_path: Path
) -> None:
    def refused(error: type[Exception], message: str, **inputs: Any) -> None:
        with pytest.raises(error, match=message):
            match_shards(
                engine,
                ShardedInputs(shop.sharded, PLAIN, **inputs),
                MatchOutputs(tmp_path / "m.parquet"),
                MatchSettings(k=3),
            )

    table = catalog_table()
    lacking = tmp_path / "lacking.parquet"
    pq.write_table(table.filter(pa.compute.not_equal(table["id"], "p005")), lacking)
    refused(SimprodError, "lacks 1 products of the index, 'p005'", catalog=lacking)
    only = tmp_path / "only.csv"
    only.write_text("id\np003\nstrange\n")
    refused(InputError, "only.csv, row 2: the index holds no product 'str", only=only)
    refused(InputError, "gone.csv: there is no such file", only=tmp_path / "gone.csv")


def test_a_shard_that_was_damaged_is_named(
    shop: Shop, engine: Embedded, tmp_path: Path
) -> None:
    shop.whole.save(tmp_path / "a")
    index = ShardedIndex.open(tmp_path / "a")
    file = tmp_path / "a" / "embeddings.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"a/embeddings.npy is not the file that was"):
        match_shards(
            engine,
            ShardedInputs(index, PLAIN),
            MatchOutputs(tmp_path / "m.parquet"),
            MatchSettings(k=3),
        )
    assert not (tmp_path / "m.parquet").exists()


@pytest.mark.slow
def test_trees_in_shards_find_what_one_exact_index_finds(
    engine: Embedded, tmp_path: Path
) -> None:
    pytest.importorskip("scann")
    # With fewer products of a cluster than neighbours asked for in each shard, a shard
    # would have to be searched for far ones, and be too thorough for a fair test.
    vectors = clustered(40_000, 64, num_centres=200)
    ids = [f"p{row}" for row in range(len(vectors))]
    made = index_embeddings(
        engine,
        embeddings_in(tmp_path / "emb", ids, vectors),
        tmp_path / "index",
        num_shards=2,
    )
    assert all(0.98 < one.recall <= 1 for one in made.index.entries)
    assert len(list(made.index.folder.glob("shard-*/scann"))) == 2
    out = MatchOutputs(tmp_path / "m.parquet")
    settings = MatchSettings(k=10, max_distance=2.0)
    match_shards(engine, ShardedInputs(made.index), out, settings)
    found = pq.read_table(out.matches)
    sample = np.random.default_rng(1).permutation(len(ids))[:2000]
    exact = ExactIndex.build(ids, vectors, encoder_fingerprint="f")
    nearest = exact.search_rows(vectors[sample], k=11)
    by_query = dict(zip(ids, np.array(found["id"].to_pylist()).reshape(-1, 10)))
    hits = [
        len({ids[row] for row in rows if row != own} & set(by_query[ids[own]]))
        for own, rows in zip(sample, nearest.rows)
    ]
    assert np.mean(hits) / 10 >= 0.99
