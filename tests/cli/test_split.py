"""simprod split: makes a split, and judges one."""

from __future__ import annotations

import inspect

import pytest
from typer.testing import CliRunner

from simprod_tf.cli import app
from simprod_tf.cli.split import split as split_command
from simprod_tf.data.picture_hash import MAX_BITS
from simprod_tf.data.split import read_split
from simprod_tf.errors import InputError, SimprodError


@pytest.fixture
def catalog(tmp_path, make_picture):
    make_picture(1).save(tmp_path / "a.png")
    lines = ["id,title,image,group"]
    lines += [f"p{i},mug {i},{'a.png' if i < 2 else ''},g{i // 2}" for i in range(40)]
    path = tmp_path / "catalog.csv"
    path.write_text("\n".join([*lines, "lost,pan,gone.png,"]) + "\n")
    return path


def run(*arguments):
    wide = {"COLUMNS": "200"}
    return CliRunner().invoke(app, ["split", *map(str, arguments)], env=wide)


def test_a_split_is_written_judged_and_found_clean(catalog, tmp_path):
    out = tmp_path / "split.csv"
    done = run(catalog, "--out", out, "--test", "0.3", "--seed", "1")
    assert done.exit_code == 0, done.output
    counts = read_split(out).counts()
    assert sum(counts.values()) == 41
    assert 10 <= counts["test"] <= 14
    assert f"products: train {counts['train']}, validation" in done.output
    assert "picture that cannot be read: 1" in done.output
    again = run(catalog, "--check", out)
    assert again.exit_code == 0
    assert [line.split() for line in again.output.splitlines()].count(
        ["group", "0", "0", "0"]
    ) == 1


def test_a_split_that_leaks_exits_with_1_unless_allowed(catalog, tmp_path):
    path = tmp_path / "split.csv"
    sides = [f"p{i},{'test' if i % 2 else 'train'}" for i in range(40)]
    path.write_text("\n".join(["id,side", *sides, "lost,train"]) + "\n")
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("anchor_id,other_id,label\np0,p3,1\np0,p2,1\n")
    done = run(catalog, "--check", path, "--hand-pairs", pairs)
    assert done.exit_code == 1
    assert isinstance(done.exception, SimprodError)
    told = "20 groups across train and test ('p0' with 'p1'), 1 identical picture"
    assert told in str(done.exception)
    assert "1 pair labelled similar across train and test" in str(done.exception)
    lines = [line.split() for line in done.output.splitlines()]
    assert ["group", "0", "20", "0"] in lines
    assert run(catalog, "--check", path, "--allow-leaks").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --out to make a split, or --check to judge one"),
        (["--out", "s.csv", "--check", "s.csv"], "give --out to make a split"),
        (["--out", "s.csv", "--test", "0.9"], "validation 0.15 and test 0.9"),
        (["--out", "s.csv", "--max-bits", "99"], "max_bits must be between 0 and 64"),
    ],
)
def test_options_that_do_not_fit_are_refused(catalog, arguments, message):
    done = run(catalog, *arguments)
    assert done.exit_code == 2
    assert message in done.output


def test_a_file_that_cannot_be_written_is_refused_first(catalog):
    done = run(catalog, "--out", "split.txt")
    assert isinstance(done.exception, InputError)
    assert "write to a .csv or .parquet file" in str(done.exception)


def test_help_has_an_example_and_the_default_is_the_librarys():
    assert "Example: simprod split shop/catalog.csv" in run("--help").output
    default = inspect.signature(split_command).parameters["max_bits"].default
    assert default == MAX_BITS
