"""`simprod evaluate` and `simprod compare`, in this process."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest

CATALOG = """id,title,group,colour
a,mug,m,red
b,mug,m,red
c,cup,c,blue
d,cup,c,
"""
PAIRS = "anchor_id,other_id,label\na,b,1\nb,c,0\nc,d,1\na,d,0\n"
GROUPS = "id,group\na,1\nb,1\nc,1\n"


class Encoder:
    """Knows mugs, cups and pans by their titles; "careless" takes cups for mugs."""

    inputs = SimpleNamespace(vectors=())
    manifest: dict = {}
    fingerprint, dim = "f", 3

    def __init__(self, folder):
        careless = str(folder).endswith("careless")
        self.words = {"mug": 0, "cup": 0 if careless else 1, "pan": 2}

    def encode(self, products, *, progress=None, **_):
        found = np.zeros((len(products), 3), np.float32)
        for row, product in enumerate(products):
            if product.title in self.words:
                found[row, self.words[product.title]] = 1
        return found


@pytest.fixture
def simprod(monkeypatch, reporting):
    """Runs `simprod` likewise, without a report, of which the figures take a second."""
    monkeypatch.setattr(
        "simprod_tf.pipeline.evaluate.write_evaluation_report", lambda *_, **__: None
    )
    return reporting


@pytest.fixture
def reporting(monkeypatch, tmp_path, simprod_here):
    """Runs `simprod` beside a small catalogue, its pairs and groups."""
    monkeypatch.setattr("simprod_tf.pipeline.judge.SavedEncoder", Encoder)
    for name, text in (("catalog", CATALOG), ("pairs", PAIRS), ("groups", GROUPS)):
        (tmp_path / f"{name}.csv").write_text(text)

    def run(*arguments):
        return simprod_here(*arguments, cwd=tmp_path)

    return run


def table(done) -> dict[str, list[str]]:
    """The printed table: the cells of each metric by its name."""
    assert done.returncode == 0, done.stderr
    return {row[0]: row[1:] for row in csv.reader(done.stdout.splitlines())}


EVALUATE = ("evaluate", "catalog.csv", "--pairs", "pairs.csv")


def test_a_line_a_metric_a_column_a_model_and_reasons_below(reporting, tmp_path):
    done = reporting(*EVALUATE, "--model", "m=here", "--by-modality", "--out", "e")
    rows = table(done)
    assert rows["metric"] == ["m", "m (title only)"]
    assert rows["pr_auc"][0] == rows["pr_auc"][1]
    assert rows["pr_auc"][0].startswith("1.000")
    assert {"best_f1", "mrr", "ndcg_at_10", "r_precision"} <= set(rows)
    assert "m (picture only) was not judged: no query and no anchor" in done.stderr
    report = (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    assert "m (title only)" in report


def test_slices_seen_products_and_groups_are_judged(simprod, tmp_path):
    done = simprod(
        *EVALUATE, "--model", "m=here", "--groups", "found=groups.csv", "--slice",
        "colour", "--train-pairs", "pairs.csv", "--slice-min", "3", "--out", "e",
    )  # fmt: skip
    rows = table(done)
    assert rows["metric"] == ["m", "found"]
    # Found abc, d; truly ab, cd.
    expected = (4 / 5 + 4 / 5 + 2 / 5 + 2 / 3) / 4
    assert rows["row_f1"][0] == ""
    assert rows["row_f1"][1].startswith(f"{expected:.3f}")
    assert "slices have too few rows to conclude from" in done.stderr
    content = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    slices = {
        (one["kind"], one["column"], one["value"]): one
        for one in content["models"][0]["slices"]
    }
    assert slices["queries", "colour", "(none)"]["few"]
    assert slices["pairs", "colour", "(mixed)"]["n"] == 3
    assert slices["queries", "seen", "seen"]["n"] == 4
    assert content["models"][1]["slices"]


def test_products_of_the_splits_training_are_seen(simprod, tmp_path):
    (tmp_path / "split.csv").write_text("id,side\na,train\nb,train\nc,test\nd,test\n")
    done = simprod(*EVALUATE, "--model", "m=here", "--split", "split.csv", "--out", "e")
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    seen = {
        (one["kind"], one["value"]): one["n"]
        for one in content["models"][0]["slices"]
        if one["column"] == "seen"
    }
    assert seen == {("pairs", "unseen"): 1, ("queries", "unseen"): 2}


def test_groups_alone_need_no_model(simprod, tmp_path):
    done = simprod("evaluate", "catalog.csv", "--groups", "groups.csv", "--out", "e")
    assert table(done)["metric"] == ["groups.csv"]
    assert "Report:" not in done.stderr
    assert sorted(one.name for one in (tmp_path / "e").iterdir()) == [
        "evaluation.json",
        "rows",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --model or --groups"),
        (("--groups", "groups.csv", "--index", "i"), "--index and --projector need"),
        (("--model", "x=m", "--groups", "x=groups.csv"), "are both called 'x'"),
        (("--model", "x=m", "--model", "x=n"), "'x' stands for two paths"),
        (("--model", "x=m", "--side", "tset"), "train, validation, test, got tset"),
        (("--model", "x=m", "--run", "y=r"), "--run y: no --model has this name"),
        (("--groups", "groups.csv", "--run", "y=r"), "the models are: none"),
        (("--model", "x=m", "--slice", "size"), "no column 'size'; the columns are"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(simprod, arguments, message):
    done = simprod("evaluate", "catalog.csv", *arguments, "--out", "e")
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_a_file_in_the_place_of_the_folder_is_refused_first(simprod):
    places = (("--out", "pairs.csv"), ("--out", "e", "--projector", "pairs.csv"))
    for place in places:
        done = simprod("evaluate", "catalog.csv", "--model", "x=m", *place)
        assert done.returncode == 1
        assert done.stderr.strip() == "simprod: pairs.csv: is a file; name a folder."


def test_a_table_that_holds_no_groups_is_told(simprod):
    done = simprod("evaluate", "catalog.csv", "--groups", "pairs.csv", "--out", "e")
    assert done.returncode == 1
    assert "pairs.csv: column 'id' is missing" in done.stderr


def test_two_runs_are_compared_metric_by_metric(simprod, tmp_path):
    for name in ("careful", "careless"):
        assert not simprod(*EVALUATE, "--model", name, "--out", name).returncode
    done = simprod("compare", "careful", "careless", "--out", "d.json")
    rows = table(done)
    assert rows["metric"] == ["careful", "careless", "difference", "careless is"]
    # All four are one point to the careless: two right of four.
    assert rows["pr_auc"][:2] == ["1.000 [1.000, 1.000]", rows["pr_auc"][1]]
    assert rows["pr_auc"][2].startswith("-0.5")
    assert "one is expected to look different" in done.stderr
    content = json.loads((tmp_path / "d.json").read_text())
    assert content["first"] == {"folder": "careful", "model": "careful"}
    by_name = {one["metric"]: one for one in content["metrics"]}
    assert by_name["pr_auc"]["difference"]["value"] == pytest.approx(-0.5)
    assert by_name["pr_auc"]["verdict"] == rows["pr_auc"][3]


def test_models_of_one_run_are_compared_by_name(simprod):
    arguments = ("--model", "x=careful", "--model", "y=careless", "--out", "e")
    assert not simprod(*EVALUATE, *arguments).returncode
    rows = table(simprod("compare", "e", "e", "--model-a", "x"))
    assert rows["metric"][:2] == ["x", "y"]
    rows = table(simprod("compare", "e", "e"))
    assert rows["metric"][:2] == ["y (a)", "y (b)"]
    assert rows["pr_auc"][3] == "not clearly different"


def test_runs_on_other_rows_and_earlier_versions_are_refused(simprod, tmp_path):
    assert not simprod(*EVALUATE, "--model", "m=here", "--out", "a").returncode
    (tmp_path / "pairs.csv").write_text(PAIRS.replace("a,d,0", "b,d,0"))
    assert not simprod(*EVALUATE, "--model", "m=here", "--out", "b").returncode
    done = simprod("compare", "a", "b")
    assert done.returncode == 1
    assert "were judged on other pairs" in done.stderr
    assert "judge both with the same catalogue" in done.stderr
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "evaluation.json").write_text('{"models": []}')
    done = simprod("compare", "a", "old")
    assert done.returncode == 1
    assert "an earlier version wrote this evaluation" in done.stderr
    done = simprod("compare", "a", "a", "--out", "d.html")
    assert done.returncode == 2
