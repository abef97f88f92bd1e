"""What several sub-commands share, as a user meets it."""

from __future__ import annotations

import logging

import pytest

from simprod_tf.cli.console import LineHandler


@pytest.fixture
def shop(tmp_path):
    """Three titles, and pairs of which one is labelled both ways, one unknown."""
    (tmp_path / "c.csv").write_text("id,title\na,mug\nb,blue mug\nc,pan\n")
    rows = ["anchor_id,other_id,label", "a,b,1", "b,a,0", "a,c,0", "a,gone,1"]
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_a_contradiction_is_told_once_and_by_example(simprod, shop):
    done = simprod(
        "split", "c.csv", "--hand-pairs", "pairs.csv", "--out", "s.csv", cwd=shop
    )
    assert done.returncode == 0, done.stderr
    told = "pairs.csv: 1 pair is labelled both ways and left out, ('a', 'b') among them"
    assert done.stderr.count(told) == 1
    assert "conflicting labels" not in done.stderr
    assert "pairs.csv: 1 pairs left out: unknown id" in done.stderr


def test_a_log_that_is_no_terminal_has_a_line_for_each_record(capsys):
    text = "[bold]Cannot load shop version 3: " + "/long/path" * 20
    record = logging.LogRecord("simprod_tf", logging.ERROR, "", 0, text, None, None)
    LineHandler().handle(record)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f" ERROR {text}")
