"""What the report is told: searches, hard pairs, trainings, words, leakage."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.data.split import Split
from simprod_tf.errors import FingerprintError, ModelError
from simprod_tf.pipeline.hard_pairs import hard_pair_sections
from simprod_tf.pipeline.judge import HeldOut, evaluate_encoder
from simprod_tf.pipeline.progress import silent
from simprod_tf.pipeline.report import (
    judged_titles,
    learning_curves,
    query_sections,
    write_embeddings,
    write_evaluation_report,
)
from simprod_tf.pipeline.word_coverage import word_coverages

FINGERPRINT = "0123456789abcdef"


class Encoder:
    """A title's first letter and a picture's last one, half of the embedding each."""

    inputs = SimpleNamespace(vectors=())
    fingerprint = FINGERPRINT
    dim = 8

    def __init__(self, max_distance=None):
        self.manifest = {"decision": {"max_distance": max_distance}}

    def encode(self, products, *, progress=None, **_):
        rows = np.zeros((len(products), 8), np.float32)
        for row, product in zip(rows, products):
            for text, shift in ((product.title[:1], 0), (product.image[-1:], 4)):
                if text:
                    row[shift + "abcd".index(text)] = 1
            row /= max(np.linalg.norm(row), 1e-9)
        return rows


@pytest.fixture(scope="module")
def test_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    # p0 and p1 differ in title alone, p2 and p3 in all, p4 lacks a picture, p5 all.
    images = [str(folder / letter) if letter else "" for letter in "aabc"] + ["", ""]
    shop = Catalog(
        text_array([f"p{number}" for number in range(6)]),
        text_array(["a 39 mm", "b 41 mm", "c", "d", "a 39 mm", ""]),
        text_array(images),
        text_array(["g1", "g2", "g3", "g3", "g1", "g2"]),
        pa.table({}),
    )
    pairs = canonical_pairs(
        ["p0", "p2", "p0", "p1"], ["p1", "p3", "p4", "p5"], [0, 1, 1, 1]
    )
    return HeldOut(shop, shop, pairs)


@pytest.fixture(scope="module")
def judged(test_set):
    return evaluate_encoder("both", Encoder(1.2), test_set, seed=0, progress=silent)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    manifest = {"kind": "trained encoder", "fingerprint": FINGERPRINT}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "history.csv").write_text("epoch,loss\n1,2.5\n2,1.5\n")
    (folder / "vocabulary.txt").write_text("a\n39\nc\n")
    return folder


def test_false_positives_are_within_and_false_negatives_beyond(judged, test_set):
    positives, negatives = hard_pair_sections(judged, test_set)
    assert positives.title == "Hardest false positives"
    assert [(one.this.id, one.that.id) for one in positives.pairs] == [("p0", "p1")]
    assert [(one.this.id, one.that.id) for one in negatives.pairs] == [("p2", "p3")]
    # By hand: halves that agree are 0 apart, those that differ sqrt(2).
    both, picture, title = positives.pairs[0].said
    assert both.distance == pytest.approx(1) and both.max_distance == 1.2
    assert picture.distance == pytest.approx(0)
    assert title.distance == pytest.approx(np.sqrt(2))
    assert positives.pairs[0].conflicts == ("quantity 39 mm against 41 mm",)
    assert "within the threshold; the nearest first, by both" in positives.note
    # p5 is nothing but an id.
    assert "Left out: 1 pairs of a product of which nothing is known." in negatives.note


def test_a_missing_modality_is_told_by_name(test_set):
    judged = evaluate_encoder("both", Encoder(0.5), test_set, seed=0, progress=silent)
    pairs = {(one.this.id, one.that.id): one for one in _negatives(judged, test_set)}
    picture, title = pairs["p0", "p4"].said[1:]
    assert (picture.distance, picture.missing) == (None, "p4 has no picture")
    assert title.distance == pytest.approx(0)


def _negatives(judged, test_set):
    return hard_pair_sections(judged, test_set)[1].pairs


def test_without_a_threshold_the_nearest_and_farthest_are_shown(test_set):
    judged = evaluate_encoder("both", Encoder(), test_set, seed=0, progress=silent)
    positives, negatives = hard_pair_sections(judged, test_set)
    assert "not similar, and nearest to each other, by both" in positives.note
    assert [one.this.id for one in negatives.pairs] == ["p2", "p0"]


def test_without_an_encoder_no_modality_is_told_alone(judged, test_set):
    sections = hard_pair_sections(replace(judged, encoder=None), test_set)
    assert [len(pair.said) for one in sections for pair in one.pairs] == [1, 1]


def test_without_pairs_there_are_no_hard_ones(judged, test_set):
    assert hard_pair_sections(judged, replace(test_set, pairs=None)) == []


def test_neighbours_stand_by_distance_without_the_query_itself(judged, test_set):
    some, worst = query_sections(judged, test_set, seed=0)
    assert (some.title, worst.title) == ("Random queries", "Hardest queries")
    rows = {row.product.id: row for row in some.rows}
    assert set(rows) == {f"p{number}" for number in range(6)}
    first = rows["p0"].neighbours[0]
    # p4 has the same title and nothing else: sqrt(2 - sqrt(2)).
    assert (first.id, first.right) == ("p4", True)
    assert first.distance == pytest.approx(np.sqrt(2 - np.sqrt(2)))
    assert all(
        row.product.id not in {n.id for n in row.neighbours} for row in rows.values()
    )


def test_titles_judged_are_those_of_queries_and_pairs_once(test_set):
    asked = replace(test_set, queries=test_set.catalog.take(np.array([4])))
    assert sorted(judged_titles(asked)) == ["a 39 mm", "a 39 mm", "b 41 mm", "c", "d"]


def test_models_with_one_vocabulary_share_a_row_of_words(run, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "vocabulary.txt").write_text("")
    runs = {"one": run, "two": run, "pictures": plain}
    (found,) = word_coverages(runs, ["a c", "C", "gizmo"])
    assert found.models == ("one", "two")
    assert (found.num_words, found.num_tokens, found.known_tokens) == (3, 4, 3)
    assert (found.num_titles, found.known_titles) == (3, 2)
    assert found.unknown == (("gizmo", 1),)


def test_a_run_without_a_vocabulary_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"vocabulary.txt cannot be read"):
        word_coverages({"one": tmp_path}, ["a"])


def test_trainings_without_epochs_have_no_curve(run, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "history.csv").write_text("epoch\n")
    (found,) = learning_curves({"raw": raw, "both": run})
    assert found.model == "both" and found.measures["loss"].tolist() == [2.5, 1.5]


def test_the_report_holds_every_section(judged, test_set, run, tmp_path):
    sides = {f"p{number}": "train" if number < 2 else "test" for number in range(6)}
    # One that the catalogue has lost.
    split = Split({**sides, "gone": "validation"})
    write_evaluation_report(
        tmp_path / "r.html",
        [judged],
        test_set,
        title="Shop",
        facts=[("Data", "six products")],
        notes=["A note."],
        runs={"both": run},
        split=split,
        seed=1,
    )
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    for part in (
        "six products", "A note.", "4, 3 of them similar", 'id="metrics"',
        'id="curves"', 'id="learning"', 'id="words"', 'id="leakage"', 'id="pairs"',
        'id="queries-2"',
    ):  # fmt: skip
        assert part in text, part
    # p0 and p4 share a title across; nobody looked at pairs.
    assert "title, train with test: p0 with p4" in text
    assert "pair labelled similar" not in text


def test_labelled_pairs_across_the_sides_are_told(judged, test_set, monkeypatch):
    told = {}
    monkeypatch.setattr(
        "simprod_tf.pipeline.report.write_report", lambda _, **given: told.update(given)
    )
    sides = {f"p{number}": "train" if number < 3 else "test" for number in range(6)}
    write_evaluation_report(
        "r.html",
        [judged],
        test_set,
        title="Shop",
        split=Split(sides),
        labelled=test_set.pairs,
    )
    (found,) = (
        one
        for one in told["leakage"].shared
        if one.kind == "pair labelled similar" and one.second == "test" and one.count
    )
    # p1 and p5 too: what is known of a product is not asked here.
    assert sorted(found.examples) == [("p0", "p4"), ("p1", "p5"), ("p2", "p3")]


def test_a_run_of_another_encoder_is_refused(judged, test_set, run, tmp_path):
    manifest = {"kind": "trained encoder", "fingerprint": "f" * 16}
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        FingerprintError, match=f"{'f' * 16}, but encoder {FINGERPRINT}"
    ):
        write_evaluation_report(
            tmp_path / "r.html", [judged], test_set, title="t", runs={"both": run}
        )


def test_embeddings_are_written_for_the_projector(judged, test_set, tmp_path):
    assert write_embeddings(tmp_path / "board", judged, test_set) == 6
    found = np.loadtxt(tmp_path / "board" / "vectors.tsv")
    np.testing.assert_allclose(found, judged.candidates, atol=1e-5)
    assert (tmp_path / "board" / "sprite.png").exists()
