"""`benchmarks/record.py` from a folder to a table."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import record
from record_jobs import STAGES, jobs_of
from record_pairs import PairOptions, PairStage
from record_results import PAIRS, Result
from record_searches import SearchOptions
from record_sets import read_set
from record_table import COLUMNS, Row, append_rows, check_table, figures

from simprod_tf.decider.decider import Decider
from simprod_tf.errors import SimprodError
from simprod_tf.evaluation.interval import Interval
from simprod_tf.pipeline.progress import silent

PRODUCTS = 80


def write_set(folder: Path, *, test_labels: int | None = None) -> Path:
    """Writes products with model numbers, right ones and wrong ones paired.

    Args:
        folder: is made.
        test_labels: the label of every line of test; None for the true ones.
    """
    folder.mkdir()
    rng = np.random.default_rng(0)
    kinds = ("kettle", "toaster", "radio", "lamp")
    lines = []
    for number in range(PRODUCTS):
        kind, model = kinds[number % 4], f"{'abcd'[number % 4]}x{1000 + number}"
        left = f"COL title VAL Acme {kind} {model} silver COL price VAL {10 + number}"
        for step in (0, 4, 8):
            other = (number + step) % PRODUCTS
            shown = f"{'abcd'[other % 4]}x{1000 + other}"
            right = f"COL title VAL {kind} by acme, {shown} COL price VAL {10 + other}"
            lines.append((left, right, int(step == 0)))
    for part, rows in zip(
        ("train", "valid", "test"), np.split(rng.permutation(len(lines)), [160, 200])
    ):
        labelled = [lines[row] for row in rows]
        if part == "test" and test_labels is not None:
            labelled = [(one, two, test_labels) for one, two, _ in labelled]
        text = "\n".join(f"{one}\t{two}\t{label}" for one, two, label in labelled)
        (folder / f"{part}.txt").write_text(text + "\n")
    return folder


def stage(folder: Path, work: Path, **options: str) -> PairStage:
    """Returns a stage that judges the test part."""
    data = read_set(folder, split="test")
    return PairStage(data, "test", 0, PairOptions(**options), work, silent)


def row(**changed: str) -> Row:
    """Returns a row of the table."""
    return Row(**{**{name: f"{name}!" for name in COLUMNS}, **changed})


def test_tfidf_chooses_nothing_on_the_judged_part(tmp_path):
    one = stage(write_set(tmp_path / "true"), tmp_path).tfidf()
    two = stage(write_set(tmp_path / "ones", test_labels=1), tmp_path).tfidf()
    assert set(one.columns["label"]) == {0, 1}
    assert set(two.columns["label"]) == {1}
    assert np.array_equal(one.columns["accepted"], two.columns["accepted"])
    assert 0 < one.columns["accepted"].sum() < len(one.columns["accepted"])


@pytest.mark.slow
def test_the_decider_chooses_nothing_on_the_judged_part(tmp_path):
    one = stage(write_set(tmp_path / "true"), tmp_path).decider()
    two = stage(write_set(tmp_path / "ones", test_labels=1), tmp_path).decider()
    assert np.array_equal(one.columns["distance"], two.columns["distance"])
    assert np.array_equal(one.columns["accepted"], two.columns["accepted"])
    assert one.intervals()["f1"].value > 0.9


def test_embeddings_of_a_stage_that_was_left_out_are_asked_for(tmp_path):
    data = write_set(tmp_path / "set")
    with pytest.raises(SimprodError, match="--encoder-features encoder takes its"):
        stage(data, tmp_path, features="encoder").decider()


@pytest.mark.parametrize("part", ["lines", "groups"])
def test_groups_of_pairs_ask_for_the_stage_before_them(tmp_path, part):
    data = write_set(tmp_path / "set")
    with pytest.raises(SimprodError, match="the stage decider leaves: leave --stages"):
        getattr(stage(data, tmp_path), part)()


def test_lines_are_judged_by_groups_of_all_that_the_decider_left(tmp_path):
    judged = stage(write_set(tmp_path / "set"), tmp_path)
    similar = judged.judged.rows[judged.judged.labels == 1]
    np.savez(
        tmp_path / "decided-0.npz",
        # Each of the judged pairs but one, and one pair that nobody judges.
        ends=np.concatenate([similar[1:], [[0, 1]]]),
        distances=np.concatenate([np.full(len(similar) - 1, 0.2), [0.1]]),
        cut=0.5,
    )
    found = judged.lines().intervals()
    assert found["precision"].value == 1.0
    assert found["recall"].value == 1 - 1 / len(similar)


@pytest.mark.parametrize(
    ("rivals", "tables", "wanted"),
    [
        ("all", True, (True, True)),
        ("train", True, (False, False)),
        ("all", False, (True, True)),
        ("train", False, (False, True)),
    ],
)
def test_nothing_implied_about_judged_pairs_is_learned(
    tmp_path, monkeypatch, rivals, tables, wanted
):
    data = read_set(write_set(tmp_path / "set"), split="test")
    assert data.tables is not None
    data = data if tables else replace(data, tables=None)
    asked = {}

    class AskedError(Exception):
        pass

    def fit(*arguments, candidates, held_out, **more):
        asked.update(candidates=candidates, held_out=held_out)
        raise AskedError

    monkeypatch.setattr(Decider, "fit", fit)
    one = PairStage(data, "test", 0, PairOptions(rivals=rivals), tmp_path, silent)
    with pytest.raises(AskedError):
        one.decider()
    assert (asked["candidates"] is not None, asked["held_out"] is not None) == wanted
    if wanted[1]:
        assert asked["held_out"].tolist() == one.judged.rows.tolist()


def test_what_no_seed_changes_runs_once():
    jobs = jobs_of("product-matching", ["raw", "decider"], seeds=2)
    assert [(job.name, job.seed) for job in jobs] == [
        ("raw tfidf", 0),
        ("raw words", 0),
        ("decider", 0),
        ("raw words", 1),
        ("decider", 1),
    ]
    searches = jobs_of("grocery-store", STAGES, seeds=1)
    assert [job.name for job in searches] == ["raw features", "encoder", "groups"]


def test_a_job_is_compared_with_the_one_before_it_of_its_seed():
    jobs = jobs_of("product-matching", ["raw", "encoder"], seeds=2)
    results = [
        Result(
            PAIRS,
            np.arange(4),
            {
                "label": np.array([1, 1, 0, 0]),
                "distance": np.array([0.1, 0.2, 0.3, 0.4]),
                "accepted": np.array(accepted),
            },
            "",
            {},
        )
        for accepted in ([1, 0, 0, 0], [1, 1, 0, 0])
    ]
    done = [(job, results[0]) for job in jobs[:3]]
    # The words of seed 1 come after the encoder of seed 0, which is no peer.
    assert jobs[3].name == "raw words"
    gains = record.gains_of(jobs[3], results[1], done)
    assert gains["f1 - raw tfidf"].value == pytest.approx(1 - 2 / 3)
    assert record.gains_of(jobs[0], results[0], []) == {}


def test_rows_are_appended_under_one_header(tmp_path):
    for name in ("table.csv", "table.md"):
        for seed in ("0", "1"):
            append_rows(tmp_path / name, [row(seed=seed, settings="a | b")])
    with open(tmp_path / "table.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [one["seed"] for one in read] == ["0", "1"]
    assert read[0]["settings"] == "a | b"
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert len(lines) == 4
    # A bar would end the cell.
    assert [line.count("|") for line in lines] == [len(COLUMNS) + 1] * 4


def test_a_table_of_other_columns_is_refused(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="other.csv has other columns; give --table"):
        check_table(tmp_path / "other.csv")
    with pytest.raises(ValueError, match="--table must end in .csv or .md, got"):
        check_table(tmp_path / "table.txt")


def test_a_value_without_bounds_leaves_them_empty():
    nan = float("nan")
    assert figures(Interval(0.5, nan, nan)) == {
        "value": "0.5000",
        "low": "",
        "high": "",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-folder"], "DATA_FOLDER must be a folder"),
        ([".", "--stages", "raw,magic"], "--stages must be of .* got 'magic'"),
        ([".", "--seeds", "0"], "--seeds must be at least 1"),
        ([".", "--table", "table.txt"], "--table must end in .csv or .md"),
    ],
)
def test_options_that_cannot_be_are_told(arguments, message, capsys):
    with pytest.raises(SystemExit):
        record.parse(arguments)
    assert re.search(message, capsys.readouterr().err)


def run(*arguments: object) -> subprocess.CompletedProcess:
    """Runs the script as a user does."""
    command = [sys.executable, record.__file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_all_stages_of_a_held_back_test_are_recorded(tmp_path):
    folder, table = write_set(tmp_path / "acme"), tmp_path / "table.csv"
    done = run(folder, "--split", "test", "--table", table, "--epochs", 2)
    assert done.returncode == 0, done.stderr
    assert "all 160 records of train, valid, test" in done.stdout
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert {one["stage"] for one in rows} == {
        "raw tfidf",
        "raw words",
        "encoder",
        "decider",
        "groups lines",
    }
    f1 = {one["stage"]: one for one in rows if one["metric"] == "f1"}
    assert float(f1["decider"]["low"]) <= float(f1["decider"]["value"])
    assert float(f1["decider"]["value"]) > float(f1["raw words"]["value"])
    assert float(f1["encoder"]["peak_mb"]) > 100
    assert f1["raw tfidf"]["seed"] == ""
    assert any(one["metric"] == "f1 - encoder" for one in rows)
    assert {one["split"] for one in rows} == {"test"}


@pytest.mark.slow
def test_a_part_that_is_missing_ends_the_run_with_one_line(tmp_path):
    folder = write_set(tmp_path / "acme")
    (folder / "test.txt").unlink()
    done = run(folder, "--split", "test", "--stages", "raw")
    assert done.returncode != 0
    assert "acme has no part 'test'; it has train, valid" in done.stderr
    assert "nothing was recorded" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_stage_that_fails_leaves_the_others_recorded(tmp_path):
    folder, table = write_set(tmp_path / "acme"), tmp_path / "table.csv"
    words = tmp_path / "words.txt"
    words.write_text("no vectors are here\n")
    done = run(folder, "--stages", "raw", "--words", words, "--table", table)
    assert done.returncode != 0
    assert "failed, and not recorded: raw words." in done.stderr
    with open(table, newline="") as file:
        assert {one["stage"] for one in csv.DictReader(file)} == {"raw tfidf"}


@pytest.mark.slow
def test_groups_are_judged_where_the_catalogue_has_them(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    titles = [f"acme {kind} {n}" for n in range(20) for kind in ("lamp", "radio")]
    lines = ["id,title,group"]
    for number, title in enumerate(titles):
        lines += [f"a{number},{title},g{number}", f"b{number},new {title},g{number}"]
    (folder / "catalog.csv").write_text("\n".join(lines) + "\n")
    for part, start in (("train", 0), ("valid", 25)):
        numbers = range(start, start + (25 if part == "train" else 15))
        pairs = [f"a{n},b{n},1" for n in numbers]
        pairs += [f"a{n},b{(n + 1) % 40},0" for n in numbers]
        text = "\n".join(["anchor_id,other_id,label", *pairs])
        (folder / f"pairs_{part}.csv").write_text(text + "\n")
    table = tmp_path / "table.csv"
    done = run(folder, "--stages", "decider,groups", "--table", table)
    assert done.returncode == 0, done.stderr
    with open(table, newline="") as file:
        rows = {(one["stage"], one["metric"]): one for one in csv.DictReader(file)}
    assert 0 < float(rows["groups", "row_f1"]["value"]) <= 1
    assert 0 < float(rows["groups", "b_cubed_f1"]["value"]) <= 1
    assert 0 < float(rows["groups lines", "f1"]["value"]) <= 1
    assert ("groups lines", "f1 - decider") in rows


def test_a_request_is_plain_json(tmp_path):
    options = record.parse([str(tmp_path), "--words", "vectors.txt"])
    request = json.loads(json.dumps(record.request_of(options, tmp_path)))
    known = PairOptions(**request["pair_options"])
    assert known.words == str(Path("vectors.txt").absolute())
    assert (known.features, known.rivals) == ("none", "all")
    assert SearchOptions(**request["search_options"]).image_tower == "squeezenet"


@pytest.mark.slow
def test_a_set_to_search_in_is_recorded(tmp_path, write_shopee):
    folder, table = tmp_path / "shop", tmp_path / "table.csv"
    write_shopee(folder, 60)
    done = run(folder, "--image-tower", "small", "--epochs", 1, "--table", table)
    assert done.returncode == 0, done.stderr
    assert "the set's own test has no labels" in done.stdout
    with open(table, newline="") as file:
        rows = {(one["stage"], one["metric"]): one for one in csv.DictReader(file)}
    for stage_name in ("raw features", "encoder"):
        assert 0 <= float(rows[stage_name, "map_at_r"]["value"]) <= 1
    assert ("encoder", "recall_at_1 - raw features") in rows
    assert 0 < float(rows["groups", "row_f1"]["value"]) <= 1
