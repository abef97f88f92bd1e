"""`simprod blend`."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from simprod_tf.cli import app
from simprod_tf.errors import SimprodError
from simprod_tf.index.build import load_index
from simprod_tf.index.exact import ExactIndex
from simprod_tf.index.versions import publish


@pytest.fixture
def index():
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    return ExactIndex.build(
        ["a", "b", "c"], vectors, encoder_fingerprint="f", extra={"decision": None}
    )


def run(command, *arguments):
    """Runs it in this process; raises what the program would print as one line."""
    done = CliRunner().invoke(app, [command, *map(str, arguments)])
    if isinstance(done.exception, SimprodError):
        raise done.exception
    return done


def test_writes_a_blended_index_and_says_that_a_threshold_is_needed(index, tmp_path):
    index.save(tmp_path / "index")
    out = tmp_path / "blended"
    done = run(
        *("blend", tmp_path / "index", "--out", out),
        *("-k", 1, "--alpha", 0, "--max-distance", 0.7, "--iterations", 2),
    )
    assert done.exit_code == 0, done.output
    made = load_index(out)
    assert "decision" not in made.extra
    assert made.extra["blending"] == {
        "k": 1,
        "alpha": 0.0,
        "max_distance": 0.7,
        "iterations": 2,
    }
    assert "3 products blended with up to 1 neighbours each" in done.output
    assert f"Fingerprint {made.encoder_fingerprint}, of the index before f" in (
        done.output
    )
    assert f"`simprod threshold {out}` chooses one anew" in done.output


def test_takes_the_current_version_of_published_ones(index, tmp_path):
    publish(index, tmp_path / "root")
    done = run("blend", tmp_path / "root", "--out", tmp_path / "blended")
    assert done.exit_code == 0, done.output
    assert load_index(tmp_path / "blended").extra["blended_from"] == "f"


def test_neither_the_index_nor_versions_nor_other_files_are_replaced(index, tmp_path):
    index.save(tmp_path / "index")
    publish(index, tmp_path / "root")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    cases = {
        "index": "is the index itself, which stays; name another folder",
        "root": "holds versions; name another folder",
        "mine": "holds files that are no index and would be lost",
    }
    for out, message in cases.items():
        with pytest.raises(SimprodError, match=message):
            run("blend", tmp_path / "index", "--out", tmp_path / out)
    assert load_index(tmp_path / "index").encoder_fingerprint == "f"


def test_an_alpha_that_is_no_number_is_a_usage_error(index, tmp_path):
    index.save(tmp_path / "index")
    done = run("blend", tmp_path / "index", "--out", tmp_path / "out", "--alpha", "inf")
    assert done.exit_code == 2
    assert "alpha must be finite" in done.output
