"""`simprod decider train`, and --decider of threshold, match and explain."""

from __future__ import annotations

import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from simprod_tf.cli import app
from simprod_tf.decider.boosting import BoostingSettings
from simprod_tf.decider.learning import DeciderSettings
from simprod_tf.errors import (
    FingerprintError,
    InputError,
    ModelError,
    SimprodError,
    ThresholdError,
)
from simprod_tf.index import ExactIndex
from simprod_tf.matching.decisions import read_decisions

KETTLES = 40


class Encoder:
    """An encoder of the index's fingerprint, to which all products are alike."""

    fingerprint = "f"
    inputs = SimpleNamespace(vectors=(), has_more=False)
    manifest: dict = {}

    def encode(self, products, *, tables=None):
        found = np.zeros((len(products), 2), np.float32)
        found[:, 0] = 1
        return found


def invoke(*arguments):
    done = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def told_by(done):
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def write_pairs(path, numbers):
    lines = ["anchor_id,other_id,label"]
    lines += [f"a{one},b{one},1" for one in numbers]
    lines += [f"a{one},b{one + 1},0" for one in numbers[:-1]]
    path.write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder with an index, a catalogue, labelled pairs and a trained decider."""
    folder = tmp_path_factory.mktemp("kettles")
    ids = [f"{shop}{number}" for number in range(KETTLES) for shop in "ab"]
    turns = np.radians([8.0 * int(id[1:]) + (id[0] == "b") for id in ids])
    points = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    index = ExactIndex.build(ids, points, encoder_fingerprint="f")
    index.save(folder / "index")
    ExactIndex.build(ids, points, encoder_fingerprint="g").save(folder / "other")
    lines = ["id,title,shop"]
    for id in ids:
        number = int(id[1:])
        words = f"acme{number // 4} kettle kx{7 * number + 100}"
        lines.append(f"{id},{words}{' new' if id[0] == 'b' else ''},{id[0]}")
    (folder / "catalog.csv").write_text("\n".join(lines), encoding="utf-8")
    write_pairs(folder / "train.csv", range(0, 20))
    write_pairs(folder / "valid.csv", range(20, KETTLES))
    return folder


@pytest.fixture(scope="module")
def small_trees():
    """Training with fewer and smaller trees, which is quicker."""
    few = BoostingSettings(trees=10, least_rows=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "simprod_tf.decider.decider.DeciderSettings",
            lambda seed: DeciderSettings(
                folds=2, ensemble=1, seed=seed, first=few, second=few
            ),
        )
        yield


@pytest.fixture(scope="module")
def trained(shop, small_trees):
    """What was told when the shop's decider was trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shop)
        return told_by(invoke(*TRAIN, "--valid", "valid.csv", "--out", "decider"))


@pytest.fixture
def work(shop, trained, monkeypatch):
    monkeypatch.chdir(shop)
    return shop


TRAIN = (
    *("decider", "train", "catalog.csv", "--pairs", "train.csv"),
    *("--index", "index", "-k", 3),
)
BY = ("--decider", "decider", "--catalog", "catalog.csv", "-k", 3)


def test_training_tells_what_was_learned(trained, work):
    assert "Learned from 39 pairs, 20 of them similar; F1 " in trained
    assert "Shares of what was learned: " in trained
    assert "39 pairs held out, boosting: F1 " in trained
    manifest = json.loads((work / "decider" / "manifest.json").read_text())
    assert f"Fingerprint {manifest['fingerprint']} Written to decider" in trained
    assert manifest["views"] == ["both"]


def test_help_shows_an_example():
    assert (
        "simprod decider train"
        in invoke("decider", "train", "--help").output.split("Example:")[1]
    )
    assert "train" in invoke("decider", "--help").output


def test_a_threshold_of_the_decider_is_taken_by_match_with_it_alone(work, tmp_path):
    chosen = tmp_path / "decision.json"
    choose = ("threshold", "index", "--pairs", "valid.csv", *BY, "--out", chosen)
    asked = ("--precision", 0.5, "--prior", "labelled")
    told = told_by(invoke(*choose, *asked))
    assert "pair decider: similar up to distance" in told
    decisions = read_decisions(chosen)
    manifest = json.loads((work / "decider" / "manifest.json").read_text())
    assert decisions.decider_fingerprint == manifest["fingerprint"]
    out = ("--out", tmp_path / "m.parquet")
    judged = ("--pairs", "valid.csv", "--groups", tmp_path / "g.csv")
    told = told_by(invoke("match", "index", *BY, "--decision", chosen, *out, *judged))
    assert "reasons: decider" in told and "Decision: precision" in told
    assert pq.read_table(tmp_path / "m.parquet")["probability"].null_count == 0
    with pytest.raises(FingerprintError, match="got distances of embeddings"):
        invoke("match", "index", "--decision", chosen, *out)
    invoke(*TRAIN[:4], "valid.csv", *TRAIN[5:], "--out", tmp_path / "other")
    other = json.loads((tmp_path / "other" / "manifest.json").read_text())
    both = f"{manifest['fingerprint']}, got the pair decider {other['fingerprint']}"
    with pytest.raises(FingerprintError, match=both):
        more = ("--catalog", "catalog.csv", "--decision", chosen, *out)
        invoke("match", "index", "--decider", tmp_path / "other", *more)


def test_pairs_of_the_training_choose_no_threshold(work, tmp_path):
    out = ("--out", tmp_path / "d.json", "--prior", "labelled")
    with pytest.raises(SimprodError, match="trained on all of the 39 labelled pairs"):
        invoke("threshold", "index", "--pairs", "train.csv", *BY, *out)
    lines = (work / "valid.csv").read_text().splitlines()[:6]
    lines += (work / "train.csv").read_text().splitlines()[1:4]
    (tmp_path / "mixed.csv").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ThresholdError, match="got 5 similar of 5"):
        invoke("threshold", "index", "--pairs", tmp_path / "mixed.csv", *BY, *out)
    assert not (tmp_path / "d.json").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("match", "other", *BY), FingerprintError, "encoder f, got an index of g"),
        (("match", "index", *BY[:2]), SimprodError, "give --catalog"),
        (
            ("match", "index", "--decider", "cut", *BY[2:]),
            ModelError,
            "first_1.txt is missing; train the decider again",
        ),
        (("match", "index", "--decider", "none", *BY[2:]), ModelError, "none"),
        (("match", "index", *BY, "--tables", "shop"), SimprodError, "leave --tables"),
        (
            (*TRAIN[:4], "few.csv", "--index", "index"),
            SimprodError,
            "10 similar and 10 other pairs at least, got 5 similar of 9",
        ),
        (
            (*TRAIN[:4], "strange.csv", "--index", "index"),
            SimprodError,
            "products of the labelled pairs are not in the catalogue .*'x1' among",
        ),
        ((*TRAIN[:4], "none.csv"), InputError, "none.csv"),
        ((*TRAIN, "--tables", "shelf"), SimprodError, "tables: the catalogue has no "),
    ],
)
def test_what_is_not_there_is_named(work, tmp_path, arguments, error, message):
    if not (work / "cut").exists():
        shutil.copytree(work / "decider", work / "cut")
        (work / "cut" / "first_1.txt").unlink()
    write_pairs(work / "few.csv", range(5))
    pairs = (work / "train.csv").read_text() + "\nx1,x2,1"
    (work / "strange.csv").write_text(pairs, encoding="utf-8")
    out = tmp_path / "out.parquet"
    with pytest.raises(error, match=message):
        invoke(*arguments, "--out", out)
    assert not out.exists()


def test_the_attention_model_needs_held_out_pairs(work, tmp_path):
    done = invoke(*TRAIN, "--attention", tmp_path / "a", "--out", tmp_path / "b")
    assert done.exit_code == 2 and "judged on --valid: give both" in done.output


def test_a_folder_is_no_place_for_a_decision_or_a_page(work, monkeypatch):
    done = invoke("threshold", "index", "--pairs", "valid.csv", *BY, "--out", "index")
    assert done.exit_code == 2 and "JSON file, got the folder index" in done.output
    done = explained(monkeypatch, "a3", "b3", "--out", "index")
    assert done.exit_code == 2 and "HTML file, got the folder index" in done.output


def test_the_attention_model_lies_outside_the_decider(work, tmp_path):
    both = ("--attention", tmp_path / "d" / "a", "--out", tmp_path / "d")
    with pytest.raises(InputError, match="the attention model would be lost there"):
        invoke(*TRAIN, "--valid", "valid.csv", *both)


def test_a_folder_of_something_else_is_not_replaced(work):
    with pytest.raises(InputError, match="holds files that are no decider"):
        invoke(*TRAIN, "--out", "index")


def explained(monkeypatch, *arguments):
    monkeypatch.setattr("simprod_tf.export.SavedEncoder", lambda folder: Encoder())
    model = ("--catalog", "catalog.csv", "--model", "model")
    return invoke("explain", *arguments[:2], *model, *arguments[2:])


def test_explain_tells_what_the_decider_weighs(work, monkeypatch, tmp_path):
    more = ("--decider", "decider", "--index", "index", "-k", 3)
    page = tmp_path / "page.html"
    done = explained(monkeypatch, "a3", "b3", *more, "--out", page)
    rows = {row[0]: row for row in csv.reader(done.output.splitlines()) if row}
    at = "distance, pair decider"
    assert list(rows).index(at) < list(rows).index("distance, whole products")
    features = [row for name, row in rows.items() if name.startswith("decider, ")]
    assert len(features) == 12
    added = [abs(float(row[3].split("adds ")[1].split()[0])) for row in features]
    assert added == sorted(added, reverse=True) and added[0] > 0
    assert rows["decider, all pairs"][3].startswith("adds ")
    assert "pair decider's distance is" in done.output
    assert "What the pair decider weighs" in page.read_text(encoding="utf-8")
    # The distance is the one by which match decides.
    catalog = ("--catalog", "catalog.csv", "--keep", "all")
    invoke(
        "match", "index", *more[:2], *more[4:], *catalog, "--out", tmp_path / "m.csv"
    )
    matched = list(csv.DictReader((tmp_path / "m.csv").open(encoding="utf-8")))
    (pair,) = [one for one in matched if (one["query_id"], one["id"]) == ("a3", "b3")]
    distance = float(rows[at][3].split(",")[0])
    assert distance == pytest.approx(float(pair["distance"]), abs=6e-4)
    # So is that of two which are no candidates: it is asked for all the same.
    assert "Not similar" in explained(monkeypatch, "a3", "b33", *more).output


def test_explain_without_the_index_takes_a_decider_of_words(
    work, monkeypatch, tmp_path, small_trees
):
    words = (*TRAIN[:5], "--tables", "shop", "--out", tmp_path / "words")
    told_by(invoke(*words))
    more = ("--decider", tmp_path / "words", "--tables", "shop")
    assert "pair decider's" in explained(monkeypatch, "a3", "b3", *more).output
    with pytest.raises(SimprodError, match="both products are of the table 'a'"):
        explained(monkeypatch, "a3", "a4", *more)
    with pytest.raises(SimprodError, match="looks at its embeddings: give --index"):
        explained(monkeypatch, "a3", "b3", "--decider", "decider")
    with pytest.raises(FingerprintError, match="g"):
        other = ("--decider", "decider", "--index", "other")
        explained(monkeypatch, "a3", "b3", *other)
    done = explained(monkeypatch, "a3", "b3", "--index", "index")
    assert done.exit_code == 2 and "go with --decider" in done.output
