"""The command line as a user meets it: help, the whole chain, clear errors."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from simprod_tf.cli import app

COMMANDS = [
    command.callback.__name__.replace("_", "-") for command in app.registered_commands
]


@pytest.fixture(scope="module")
def work(simprod, tmp_path_factory):
    """A folder in which each step of the chain has run, on a tiny shop."""
    folder = tmp_path_factory.mktemp("work")
    for step in (
        "shop shop --products 240 --seed 3",
        "mine shop/events.parquet --out mined.parquet",
        "train shop/catalog.csv --hand-pairs shop/hand_pairs.csv --mined-pairs "
        "mined.parquet --epochs 2 --precision 0.5 --out runs/both",
        "export runs/both --out saved_models/shop",
        "index shop/catalog.csv --model saved_models/shop --out index",
    ):
        done = simprod(*step.split(), cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "tensorflow" not in done.stderr.lower(), done.stderr
        assert "Warning" not in done.stderr, done.stderr
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(simprod, command):
    done = simprod(command, "--help")
    assert done.returncode == 0
    assert f"simprod {command}" in done.stdout.split("Example:")[1]


def test_search_by_id_leaves_the_product_itself_out(simprod, rows_of, work):
    rows = rows_of(simprod("search", "index", "--id", "p000001", "-k", 5, cwd=work))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert "p000001" not in {row["id"] for row in rows}
    distances = [float(row["distance"]) for row in rows]
    assert distances == sorted(distances)


def test_search_by_title_and_picture_finds_the_product_itself(simprod, rows_of, work):
    with open(work / "shop" / "catalog.csv", encoding="utf-8") as file:
        product = next(r for r in csv.DictReader(file) if r["title"] and r["image"])
    rows = rows_of(
        simprod(
            "search", "index", "--model", "saved_models/shop", "--catalog",
            "shop/catalog.csv", "--title", product["title"], "--image",
            Path("shop") / product["image"], "-k", 3, cwd=work,
        )
    )  # fmt: skip
    assert rows[0]["id"] == product["id"]
    assert rows[0]["title"] == product["title"]
    assert float(rows[0]["distance"]) < 1e-3


@pytest.mark.parametrize("name", ["similar.csv", "similar.parquet"])
def test_match_writes_the_table(simprod, work, name):
    done = simprod("match", "index", "--out", name, "--max-distance", 0.6, cwd=work)
    assert done.returncode == 0, done.stderr
    if name.endswith(".csv"):
        with open(work / name, encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert rows
        assert all(row["query_id"] != row["id"] for row in rows)
        assert all(float(row["distance"]) <= 0.6 for row in rows)


def test_evaluate_writes_a_report(simprod, rows_of, work):
    rows = rows_of(
        simprod(
            "evaluate", "shop/catalog.csv", "--model", "both=saved_models/shop",
            "--pairs", "shop/hand_pairs.csv", "--split", "runs/both/split.parquet",
            "--out", "evaluation", cwd=work,
        )
    )  # fmt: skip
    assert list(rows[0]) == ["metric", "both"]
    measured = {row["metric"] for row in rows}
    assert {"pr_auc", "recall_at_1", "recall_at_10", "map_at_r"} <= measured
    report = (work / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert "data:image/jpeg;base64" in report


@pytest.mark.slow
def test_an_index_of_another_encoder_is_refused(simprod, work):
    done = simprod("export", "runs/both", "--out", "saved_models/again", cwd=work)
    assert done.returncode == 0, done.stderr
    train = simprod(
        "train", "shop/catalog.csv", "--hand-pairs", "shop/hand_pairs.csv", "--raw",
        "--out", "runs/raw", cwd=work,
    )  # fmt: skip
    assert train.returncode == 0, train.stderr
    simprod("export", "runs/raw", "--out", "saved_models/raw", cwd=work)
    done = simprod(
        "search", "index", "--model", "saved_models/raw", "--title", "mug", cwd=work
    )
    assert done.returncode == 1
    assert "belongs to encoder" in done.stderr
    assert "Traceback" not in done.stderr


def test_pairs_are_drawn_from_groups(simprod, work):
    done = simprod(
        "pairs", "shop/catalog.csv", "--num-pairs", 100, "--out", "drawn.csv", cwd=work
    )
    assert done.returncode == 0, done.stderr
    with open(work / "drawn.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    similar = sum(row["label"] == "1" for row in rows)
    assert len(rows) > 60
    assert f"{len(rows)} pairs, {similar} of them similar, written to" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("mine none.parquet --out m.parquet", 1, "none.parquet"),
        ("train none.csv --hand-pairs x.csv --out r", 1, "none.csv: there is no such"),
        ("search none --id a", 1, "none holds no index"),
        ("search index", 2, "give --id, or --image and/or --title"),
        ("search index --title mug", 2, "a picture or a title needs --model"),
        ("export none --out m", 1, "none holds no trained encoder"),
        ("shop s --products 0", 2, "products must be"),
        ("pairs shop/catalog.csv --num-pairs 0 --out p.csv", 2, "--num-pairs"),
        ("train shop/catalog.csv --margin 9 --hand-pairs shop/hand_pairs.csv --out r",
         2, "margin must be in"),
        ("train shop/catalog.csv --image-tower big --hand-pairs shop/hand_pairs.csv "
         "--out r", 1, "image tower big: "),
        ("train shop/catalog.csv --buckets 3 --out r", 2, "dropped have 0 buckets"),
        ("train shop/catalog.csv --category x --hand-pairs shop/hand_pairs.csv --out r",
         1, "no column 'x'"),
        ("train shop/catalog.csv --number title --hand-pairs shop/hand_pairs.csv "
         "--out r", 1, "no column 'title'"),
        ("train shop/catalog.csv --features none.npy --hand-pairs shop/hand_pairs.csv "
         "--out r", 1, "none.npy: there is no such file"),
        ("embed shop/catalog.csv --image-tower small --image-weights a "
         "--image-weights b --store s", 2, "--image-weights is given 2 times"),
        ("weights fetch vgg", 2, "alexnet"),
        ("train shop/catalog.csv --train-on both --out r", 1,
         "there are no hand or mined pairs"),
        ("train shop/catalog.csv --out shop", 1,
         "shop: holds files that are no trained encoder and would be lost"),
        ("index shop/catalog.csv --model saved_models/shop --out shop", 1,
         "shop: holds files that are no index and would be lost"),
        ("mine shop/events.parquet --out shop/catalog.csv/m.csv", 1,
         "shop/catalog.csv: File exists."),
        ("match index --out similar.txt --max-distance 1", 1, ".csv or .parquet"),
        ("convert ebay a b", 2, "layout must be one of grocery-store"),
        ("mine shop/events.parquet --out m.parquet --event-name x", 2, "name=view"),
        ("evaluate shop/catalog.csv --model saved_models/shop --group-column x "
         "--out e", 2, "no column 'x'"),
    ],
)  # fmt: skip
def test_errors_are_one_clear_line(simprod_here, work, arguments, code, message):
    done = simprod_here(*arguments.split(), cwd=work)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_picture_stops_with_its_row_or_is_set_aside(simprod, work, tmp_path):
    lines = (work / "shop" / "catalog.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "catalog.csv").write_text(
        "id,title,image\na,blue mug,bad.jpg\nb,red lamp,\n", encoding="utf-8"
    )
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    assert len(lines) == 241
    index = ["index", "catalog.csv", "--model", work / "saved_models" / "shop"]
    done = simprod(*index, "--out", "i", cwd=tmp_path)
    assert done.returncode == 1
    assert "catalog.csv, row 1: picture" in done.stderr
    assert not (tmp_path / "i").exists()
    done = simprod(*index, "--out", "i", "--skip-bad", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rejected = (tmp_path / "catalog.rejected.csv").read_text(encoding="utf-8")
    assert "bad.jpg cannot be decoded" in rejected
