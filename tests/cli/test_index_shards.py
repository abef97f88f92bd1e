"""`simprod index --shards` and `simprod match` on what it made, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

from simprod_tf.cli import app
from simprod_tf.data.embedding_shards import CHANGED, KIND, write_embeddings
from simprod_tf.data.tables import read_table
from simprod_tf.errors import InputError, ModelError, SimprodError
from simprod_tf.index import ExactIndex
from simprod_tf.matching.threshold import choose_threshold
from simprod_tf.shards import part_name, write_success

Run = Callable[..., Result]
# Degrees: products 1 or 2 apart are alike, others are 6 and more apart.
FIRST = {
    f"{letter}{two}": 6.0 * two + (letter == "b") for two in range(9) for letter in "ab"
}
# a3 is now b5's neighbour, c0 and c8 are new, b1 is gone.
SECOND = {**FIRST, "a3": 32.0, "c0": 0.5, "c8": 50.0}
del SECOND["b1"]


def points(angles: dict[str, float]) -> np.ndarray:
    turns = np.radians(np.array(list(angles.values()), np.float64))
    found = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def trained() -> dict[str, object]:
    chosen = choose_threshold(
        np.repeat([0.04, 0.9], 50), np.repeat([1, 0], 50), fingerprint="f"
    )
    return chosen.to_json()


def write_products(folder: Path, angles: dict[str, float]) -> None:
    """Writes embeddings, and an ordinary index of the same products."""
    place = folder / "emb"
    place.mkdir(parents=True)
    ids = list(angles)
    write_embeddings(
        place / part_name(0), ids=ids, embeddings=points(angles), content=ids
    )
    facts = {"encoder_fingerprint": "f", "dim": 2, "dtype": "float32"}
    content = {"kind": KIND, "rows": len(ids), "decision": trained(), **facts}
    write_success(place, content)
    ExactIndex.build(
        ids,
        points(angles),
        encoder_fingerprint="f",
        extra={"decision": trained()},
    ).save(folder / "one")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with products of two days, and what changed between them."""
    folder = tmp_path_factory.mktemp("shop")
    write_products(folder / "first", FIRST)
    write_products(folder / "second", SECOND)
    changed = pa.table({"id": ["a3", "c0", "c8"]})
    pq.write_table(changed, folder / "second" / "emb" / CHANGED)
    return folder


@pytest.fixture
def run(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in the shop's folder; "OUT" is the test's own."""
    monkeypatch.chdir(shop)

    def invoke(*arguments: object) -> Result:
        command = [str(one).replace("OUT", str(tmp_path)) for one in arguments]
        done = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return invoke


def told_by(done: Result) -> str:
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


EXACT = ("--kind", "exact")
INDEX = ("index", "first/emb", "--out", "OUT/index", "--shards", 3, *EXACT)


def test_an_index_is_made_of_embeddings_and_matched(run: Run, tmp_path: Path) -> None:
    told = told_by(run(*INDEX))
    assert "Index of 18 products in 3 shards" in told
    assert "shard-00002: 6 products, exact" in told
    assert f"Written to {tmp_path}/index" in told
    tables = "--groups", "OUT/groups", "--bridges", "OUT/bridges.csv"
    told = told_by(run("match", "OUT/index", "--out", "OUT/similar.csv", *tables))
    assert "18 matches; 18 products have one; reasons: both 18" in told
    assert "9 groups with 18 products" in told
    told_by(run("match", "first/one", "--out", "OUT/one.csv"))
    assert (tmp_path / "similar.csv").read_text() == (tmp_path / "one.csv").read_text()
    groups = read_table(tmp_path / "groups").table.to_pylist()
    assert {row["id"]: row["group"] for row in groups} == {
        id: f"a{id[1:]}" for id in FIRST
    }


def test_a_folder_as_output_needs_no_sharded_index(run: Run, tmp_path: Path) -> None:
    told_by(run("match", "first/one", "--out", "OUT/similar"))
    told_by(run("match", "first/one", "--out", "OUT/similar.parquet"))
    one, other = (
        read_table(tmp_path / f"similar{end}").table for end in ("", ".parquet")
    )
    assert one.num_rows == 18 and one.to_pylist() == other.to_pylist()


def test_the_next_day_only_what_changed_is_matched(run: Run, tmp_path: Path) -> None:
    told_by(run(*INDEX))
    told_by(run("match", "OUT/index", "--out", "OUT/m.parquet", "--groups", "OUT/g"))
    told_by(
        run("match", "first/one", "--out", "OUT/m.csv", "--groups", "OUT/one.parquet")
    )
    told = told_by(
        run(
            "index",
            "second/emb",
            "--out",
            "OUT/next",
            "--previous",
            "OUT/index",
            *EXACT,
        )
    )
    # a3 and b1 lie in the first and second shard, the new ones at the end.
    assert "Index of 19 products in 3 shards" in told
    only = ("--only", f"second/emb/{CHANGED}")
    told = told_by(
        run(
            *("match", "OUT/next", *only, "--out", "OUT/new.parquet"),
            *("--previous", "OUT/g", "--groups", "OUT/g", "--bridges", "OUT/b.csv"),
        )
    )
    told_by(
        run(
            *("match", "second/one", *only, "--out", "OUT/new_one.parquet"),
            *("--previous", "OUT/one.parquet", "--groups", "OUT/one.parquet"),
            *("--bridges", "OUT/b_one.csv"),
        )
    )
    for one, other in (
        ("new.parquet", "new_one.parquet"),
        ("g", "one.parquet"),
        ("b.csv", "b_one.csv"),
    ):
        tables = [read_table(tmp_path / name).table for name in (one, other)]
        assert tables[0].to_pylist() == tables[1].to_pylist()
    groups = read_table(tmp_path / "g").table.to_pylist()
    group_of = {row["id"]: row["group"] for row in groups}
    assert (group_of["a3"], group_of["c0"], group_of["c8"]) == ("a5", "a0", "a8")
    assert "b1" not in group_of and "b3" not in group_of


def test_what_goes_with_no_shards_is_refused(run: Run, tmp_path: Path) -> None:
    told_by(run(*INDEX))
    for option, value in (
        ("--view", "image"),
        ("--attribute", "price"),
        ("--features", "f.npy"),
    ):
        with pytest.raises(SimprodError, match=f"{option} does not go with a sharded"):
            run(*INDEX, option, value)
    with pytest.raises(SimprodError, match="--publish does not go with a sharded"):
        run("index", "first/emb", "--publish", "OUT/versions")
    assert (
        "holds embeddings already: leave out --model"
        in run(*INDEX, "--model", "m").output
    )
    assert (
        "give --model" in run("index", "c.csv", "--out", "OUT/i", "--shards", 2).output
    )
    assert "give --model" in run("index", "c.csv", "--out", "OUT/i").output
    match = ("match", "OUT/index", "--out", "OUT/m.parquet")
    for option in ("--decider", "--pairs"):
        with pytest.raises(SimprodError, match=f"{option} needs all products in one"):
            run(*match, option, "somewhere")
    with pytest.raises(SimprodError, match="--keys needs all products in one memory"):
        run(*match, "--keys")
    with pytest.raises(InputError, match="no suffix, not .txt"):
        run(*match[:3], "OUT/m.txt")
    with pytest.raises(ModelError, match="sharded index, which `simprod match` alone"):
        run("search", "OUT/index", "--id", "a0")
    assert (
        "--master and --spark-conf go with --engine spark"
        in run(*match, "--master", "local[2]").output
    )
    assert not (tmp_path / "m.parquet").exists()
