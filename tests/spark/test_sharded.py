"""A sharded index, its matches and groups: on Spark what they are on one machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.embedding_shards import KIND, write_embeddings
from simprod_tf.data.tables import read_table
from simprod_tf.engine.embedded import Embedded
from simprod_tf.engine.spark import Spark
from simprod_tf.pipeline.index_shard import ShardSettings
from simprod_tf.pipeline.match_settings import MatchOutputs, MatchSettings
from simprod_tf.pipeline.sharded_index import index_embeddings
from simprod_tf.pipeline.sharded_match import ShardedInputs, match_shards
from simprod_tf.shards import part_name, write_success

NUM = 300
IDS = [f"p{row:03d}" for row in range(NUM)]


def products(folder: Path) -> tuple[Path, Path, Path]:
    """Writes embeddings with ties, a catalogue with sizes, and some ids."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(60, 8))[random.integers(0, 60, NUM)]
    vectors = (vectors + 0.15 * random.normal(size=(NUM, 8))).astype(np.float32)
    vectors[[5, 150, 299]] = vectors[2]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    (folder / "emb").mkdir()
    for number, rows in enumerate(np.split(np.arange(NUM), [100, 170])):
        write_embeddings(
            folder / "emb" / part_name(number),
            ids=[IDS[row] for row in rows],
            embeddings=vectors[rows],
            content=["c"] * len(rows),
        )
    facts = {"encoder_fingerprint": "f", "dim": 8, "dtype": "float32"}
    content = {"kind": KIND, "rows": NUM, "decision": None, **facts}
    write_success(folder / "emb", content)
    titles = [f"mug {size}" for size in random.choice(["200 ml", "350 ml", ""], NUM)]
    catalog = folder / "catalog.parquet"
    pq.write_table(pa.table({"id": IDS[::-1], "title": titles}), catalog)
    only = folder / "only.parquet"
    pq.write_table(pa.table({"id": ["p007", "p100", "p299"]}), only)
    return folder / "emb", catalog, only


@pytest.mark.slow
def test_spark_gives_what_the_embedded_engine_gives(
    spark: Spark, embedded: Embedded, tmp_path: Path
) -> None:
    embeddings, catalog, only = products(tmp_path)
    settings = MatchSettings(k=5, max_distance=0.5, mutual=True, keep="all")
    found = {}
    for engine in (embedded, spark):
        folder = tmp_path / engine.name
        made = index_embeddings(
            engine,
            embeddings,
            folder / "index",
            num_shards=2,
            settings=ShardSettings("exact"),
        )
        out = MatchOutputs(folder / "match", folder / "groups", folder / "b.csv")
        inputs = ShardedInputs(made.index, None, catalog)
        matched = match_shards(engine, inputs, out, settings, block_rows=100)
        assert out.groups is not None
        new = MatchOutputs(folder / "new.parquet", folder / "new_groups.parquet")
        match_shards(
            engine,
            ShardedInputs(made.index, None, catalog, only, previous=out.groups),
            new,
            settings,
        )
        digests = [one.digest for one in made.index.entries]
        paths = (out.matches, out.groups, out.bridges, new.matches, new.groups)
        tables = [read_table(path).table.to_pylist() for path in paths if path]
        counts = matched.counts, matched.num_vetoed
        found[engine.name] = digests, counts, tables
        assert all(tables) and matched.num_vetoed
    assert found["spark"] == found["embedded"]
