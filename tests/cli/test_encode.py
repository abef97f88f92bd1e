"""`simprod encode`, in this process: what it refuses, and what it says."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from simprod_tf.cli import app
from simprod_tf.errors import ModelError
from simprod_tf.pipeline import encode as pipeline


def simprod(*arguments):
    return CliRunner().invoke(
        app, ["encode", *map(str, arguments)], env={"COLUMNS": "200"}
    )


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Catches what the pipeline is asked for; nothing is embedded."""
    monkeypatch.chdir(tmp_path)
    found = {}

    def encode_catalog(engine, catalog, **options):
        found.update(options, engine=engine.name, catalog=str(catalog))
        return pipeline.EncodedCatalog(1200, 3, 1000, 2)

    monkeypatch.setattr(pipeline, "encode_catalog", encode_catalog)
    return found


def test_what_became_of_the_products_is_told(asked):
    done = simprod("c", "--model", "m", "--out", "e", "--dtype", "float16")
    assert done.exit_code == 0, done.output
    assert asked["catalog"] == "c"
    assert asked["engine"] == "embedded"
    assert asked["settings"] == pipeline.EncodeSettings("float16", 4096)
    assert asked["previous"] is None
    assert "Embeddings of 1,200 products written to e" in done.output
    assert "3 products set aside, with reasons, in e/set_aside.parquet" in done.output
    assert "taken from" not in done.output


def test_what_was_reused_is_told(asked):
    done = simprod("c", "--model", "m", "--out", "e", "--previous", "d")
    assert str(asked["previous"]) == "d"
    message = "1,000 of them taken from d; the others are listed in e/changed.parquet"
    assert message in done.output


def test_options_that_there_are_not_are_refused(asked):
    done = simprod("c", "--model", "m", "--out", "e", "--dtype", "int8")
    assert done.exit_code == 2
    assert "dtype is one of float16, float32" in done.output
    done = simprod("c", "--model", "m", "--out", "e", "--master", "local[2]")
    assert done.exit_code == 2
    assert asked == {}


def test_a_model_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("id,title\na,mug\n")
    done = simprod("a.csv", "--model", "gone", "--out", "e")
    assert isinstance(done.exception, ModelError)
    assert "gone holds no SavedModel" in str(done.exception)


def test_the_help_shows_an_example():
    assert "simprod encode catalog/ --model" in simprod("--help").output
