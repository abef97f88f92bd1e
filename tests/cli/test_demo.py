"""What the demo tells at its end."""

from __future__ import annotations

from pathlib import Path

from simprod_tf.cli.demo import _print_summary
from simprod_tf.pipeline.demo import DemoResult


def test_the_summary_is_a_line_a_metric_that_fits_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    measured = {"value": 0.8471, "low": 0.81, "high": 0.887}
    every = dict.fromkeys(["pr_auc", "mrr", "recall_at_10"], measured)
    names = ("untrained", "hand", "mined", "hand+mined")
    models = [{"name": name, "metrics": dict(every)} for name in names]
    models[0]["metrics"]["recall_at_10"] = {"value": None, "low": None, "high": None}
    result = DemoResult(
        folder=Path("demo"),
        models=models,
        notes=["hand is better."],
        decision={"refused": "too few labels"},
        matches=12,
        match_notes=[],
    )
    _print_summary(result)
    lines = capsys.readouterr().out.splitlines()
    [line] = [line for line in lines if "PR-AUC" in line]
    assert line.split() == ["PR-AUC", *["0.847", ".81-.89"] * 4]
    [line] = [line for line in lines if "Recall@10" in line]
    assert line.count("0.847") == 3
    assert not any("MRR" in line for line in lines)
    assert "hand is better." in lines
