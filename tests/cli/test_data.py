"""The commands that make tables, in this process: `convert`."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simprod_tf.cli import app
from simprod_tf.cli.data import convert
from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.formats.layouts import LAYOUTS
from simprod_tf.data.pairs import read_pairs
from simprod_tf.errors import InputError

_spec = importlib.util.spec_from_file_location(
    "small_sets", Path(__file__).parents[1] / "data" / "formats" / "small_sets.py"
)
small_sets = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small_sets)

EXAMPLES = [
    example.split()
    for example in re.findall(r"Example: `simprod (convert .+)`", convert.__doc__)
]


def run(*arguments):
    wide = {"COLUMNS": "200"}
    return CliRunner().invoke(app, [str(one) for one in arguments], env=wide)


def test_every_layout_is_in_the_help_with_an_example():
    assert [example[1] for example in EXAMPLES] == list(LAYOUTS)
    listed = re.findall(r"`([a-z-]+)` \(", convert.__doc__)
    assert listed == list(LAYOUTS)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example[1])
def test_an_example_of_the_help_runs(example, tmp_path, monkeypatch):
    _, layout, folder, out, *_ = example
    small_sets.make_set(layout, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    done = run(*example)
    assert done.exit_code == 0, done.output
    written = sorted(path.name for path in Path(out).iterdir())
    assert written
    for name in written:
        assert f"{out}/{name}" in done.output


@pytest.mark.parametrize("layout", ["retailrocket", "yoochoose", "otto"])
def test_a_converted_log_goes_through_mine(layout, tmp_path):
    folder = small_sets.make_set(layout, tmp_path / "set")
    assert run("convert", layout, folder, tmp_path / "out").exit_code == 0
    (log,) = (tmp_path / "out").glob("*.parquet")
    mined = tmp_path / "mined.csv"
    done = run("mine", log, "--out", mined, "--negative-slots", 2)
    assert done.exit_code == 0, done.output
    pairs = read_pairs(mined, source="mined")
    found = set(zip(pairs.anchor_ids, pairs.other_ids, pairs.labels))
    assert found == {("102", "103", 1), ("101", "103", 0)}


def test_a_converted_catalogue_keeps_mined_pairs_within_a_category(tmp_path):
    folder = small_sets.make_set("retailrocket", tmp_path / "set")
    out = tmp_path / "out"
    (folder / "item_properties_part2.csv").write_text(
        "timestamp,itemid,property,value\n1439694000000,103,categoryid,32\n"
    )
    assert run("convert", "retailrocket", folder, out).exit_code == 0
    done = run(
        "mine", out / "events.parquet", "--out", tmp_path / "mined.csv",
        "--negative-slots", 2, "--catalog", out / "catalog.csv",
        "--same-category", "category", "--same-category-negatives",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    pairs = read_pairs(tmp_path / "mined.csv", source="mined")
    # 102 and 103 are of category 32, 101 is of 31.
    assert list(zip(pairs.anchor_ids, pairs.other_ids)) == [("102", "103")]


def test_a_product_matching_set_becomes_a_catalogue_and_pairs(tmp_path):
    folder, out = tmp_path / "set", tmp_path / "out"
    folder.mkdir()
    lines = (
        "COL name VAL mug\tCOL name VAL cup\t1\nCOL name VAL mug\tCOL name VAL pan\t0\n"
    )
    (folder / "train.txt.small").write_text(lines + lines)
    (folder / "valid.txt.small").write_text("COL name VAL mug\tCOL name VAL pot\t0\n")
    done = run("convert", "product-matching", folder, out, "--size", "small")
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert "Catalogue of 4 products" in told
    assert "the title is their 'name'" in told
    assert "Pairs(2, 1 of them similar)" in told
    assert "left out: duplicate: 2" in told
    assert "valid shares 1 of its 2 records and 0 of its 1 pairs with train" in told
    products = read_catalog(out / "catalog.csv").catalog
    assert sorted(products.titles) == ["cup", "mug", "pan", "pot"]
    for part in ("train", "valid"):
        path = out / f"pairs_{part}.csv"
        assert read_pairs(path, source="hand", known_ids=products.ids).dropped == {}


def test_a_size_that_is_missing_is_an_input_error(tmp_path):
    folder = small_sets.make_set("product-matching", tmp_path / "set")
    done = run("convert", "product-matching", folder, tmp_path / "out")
    assert isinstance(done.exception, InputError)
    assert "choose --size small" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ebay", "a", "b"], "layout must be one of grocery-store, product-matching"),
        (["shopee", "a", "b", "--size", "small"], "for product-matching and wdc alone"),
    ],
)
def test_layouts_and_options_that_do_not_fit_are_refused(arguments, message):
    done = run("convert", *arguments)
    assert done.exit_code == 2
    assert message in done.output
