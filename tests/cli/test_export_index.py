"""`simprod export-index`, in this process, on an index of three products."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from simprod_tf.cli import app
from simprod_tf.errors import ModelError
from simprod_tf.index import ExactIndex


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    index = ExactIndex.build(
        ["a", "b", "c"], np.eye(3, dtype=np.float32), encoder_fingerprint="f"
    )
    index.save(tmp_path / "index")
    return tmp_path


def simprod(*arguments):
    return CliRunner().invoke(app, ["export-index", *map(str, arguments)])


def test_the_index_is_written_and_told_about(folder):
    done = simprod("index", "--out", "models/n", "--k", 2)
    assert done.exit_code == 0, done.output
    assert (
        "SavedModel of 3 products (exact, stock TensorFlow ops) written to models/n/1; "
        "signatures: neighbours"
    ) in done.output
    manifest = json.loads((folder / "models" / "n" / "1" / "manifest.json").read_text())
    assert manifest["k"] == 2
    done = simprod("index", "--out", "models/s", "--scann", "-k", 2)
    assert "3 products (ScaNN's ops, recall 1.000) written to models/s/1" in done.output


def test_what_does_not_fit_is_refused(folder):
    assert simprod("index", "--out", "n", "--k", 0).exit_code == 2
    done = simprod("nowhere", "--out", "n")
    assert isinstance(done.exception, ModelError)
    assert "nowhere holds no index" in str(done.exception)
    done = simprod("index", "--out", "n", "--model", "gone")
    assert "gone holds no SavedModel" in str(done.exception)
    assert not (folder / "n").exists()


def test_the_help_shows_an_example():
    assert "simprod export-index index --out" in simprod("--help").output
