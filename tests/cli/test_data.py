"""The commands that make tables, in this process."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from simprod_tf.cli import app
from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.pairs import read_pairs
from simprod_tf.errors import InputError


@pytest.fixture
def matching(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    lines = (
        "COL name VAL mug\tCOL name VAL cup\t1\nCOL name VAL mug\tCOL name VAL pan\t0\n"
    )
    (folder / "train.txt.small").write_text(lines + lines)
    (folder / "valid.txt.small").write_text("COL name VAL mug\tCOL name VAL pot\t0\n")
    return folder


def test_a_product_matching_set_becomes_a_catalogue_and_pairs(matching, tmp_path):
    out = tmp_path / "out"
    arguments = ["convert", "product-matching", str(matching), str(out)]
    done = CliRunner().invoke(app, [*arguments, "--size", "small"])
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


def test_a_size_that_is_missing_is_an_input_error(matching, tmp_path):
    arguments = ["convert", "product-matching", str(matching), str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, InputError)
    assert "choose --size small" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ebay", "a", "b"], "layout must be grocery-store or product-matching"),
        (["grocery-store", "a", "b", "--size", "small"], "for product-matching alone"),
    ],
)
def test_layouts_and_options_that_do_not_fit_are_refused(arguments, message):
    done = CliRunner().invoke(app, ["convert", *arguments], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert message in done.output
