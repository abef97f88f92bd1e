"""The run over several models: the report, the JSON, the sentences."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.errors import FingerprintError, InputError, SimprodError
from simprod_tf.evaluation.stored import read_run
from simprod_tf.index.exact import ExactIndex
from simprod_tf.pipeline.evaluate import evaluate_run
from simprod_tf.pipeline.judge import MODALITIES, HeldOut
from simprod_tf.pipeline.product_slices import Slicing


class Encoder:
    """Half of a product is its picture, half its title, as the folder's name says."""

    inputs = SimpleNamespace(vectors=())

    def __init__(self, folder):
        self.sees = str(folder)
        self.manifest = {}
        self.fingerprint, self.dim = "f", 8

    def encode(self, products, *, progress=None, **_):
        rows = []
        for product in products:
            title = product.title if "title" in self.sees else ""
            image = product.image if "picture" in self.sees else ""
            row = np.zeros(8, np.float32)
            for text, shift in ((title, 0), (image[-1:], 4)):
                if text:
                    row[shift + "abcd".index(text)] = 1
            rows.append(row / max(np.linalg.norm(row), 1e-9))
        return np.array(rows, np.float32)


@pytest.fixture
def held_out(tmp_path, make_picture):
    paths = [str(tmp_path / letter) for letter in "abcd"]
    for number, path in enumerate(paths):
        make_picture(number, (8, 8)).save(path, "PNG")
    # Titles tell the groups; pictures do not. One product has no picture.
    shop = Catalog(
        text_array([f"p{n}" for n in range(8)]),
        text_array("aabbccdd"),
        text_array([*paths, *paths[:3], ""]),
        text_array([f"g{n}" for n in "aabbccdd"]),
        pa.table({}),
    )
    ids = shop.ids
    pairs = canonical_pairs(
        [*ids[::2], *ids[1:7:2]], [*ids[1::2], *ids[2::2]], [1] * 4 + [0] * 3
    )
    return HeldOut(shop, shop, pairs)


@pytest.fixture
def out(monkeypatch, tmp_path):
    monkeypatch.setattr("simprod_tf.pipeline.judge.SavedEncoder", Encoder)
    return tmp_path / "out"


@pytest.fixture
def without_report(monkeypatch):
    """No report is drawn: its figures take a second."""
    monkeypatch.setattr(
        "simprod_tf.pipeline.evaluate.write_evaluation_report", lambda *_, **__: None
    )


def test_each_model_is_followed_by_its_variants(held_out, out):
    models = {"titles": "title", "both": "picture and title"}
    evaluations, notes = evaluate_run(models, held_out, out, modalities=MODALITIES)
    names = ["titles", "titles (title only)", "both"]
    names += ["both (picture only)", "both (title only)"]
    assert [one.name for one in evaluations] == names
    content = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in content["models"]] == names
    values = {
        one["name"]: one["metrics"]["pr_auc"]["value"] for one in content["models"]
    }
    assert values["titles"] == values["titles (title only)"] == 1
    assert values["both (picture only)"] < values["both (title only)"]
    picture, title = content["variants"][2:]
    assert picture == {
        "name": "both (picture only)", "modality": "picture", "skipped": "",
        "queries": 7, "queries_left_out": 1, "pairs": 7, "pairs_left_out": 0,
        "unknown": 0,
    }  # fmt: skip
    assert (title["queries"], title["queries_left_out"]) == (8, 0)
    report = (out / "report.html").read_text(encoding="utf-8")
    for text in [*names, "left out for want of it: 1 of 8 queries and 0 of 7 pairs"]:
        assert text in report
    assert content["notes"] == notes


def test_whole_models_alone_are_compared(held_out, out, without_report):
    models = {"titles": "title", "both": "picture and title"}
    plain = evaluate_run(models, held_out, out)[1]
    notes = evaluate_run(models, held_out, out, modalities=MODALITIES)[1]
    assert len(plain) == 2
    assert notes[:2] == plain
    assert all("compare" not in note and " only)" in note for note in notes[2:])
    assert notes[2] == (
        "titles (picture only) was not judged: the encoder knows nothing of any "
        "product by its picture alone."
    )


def test_without_modalities_there_are_no_variants(held_out, out, without_report):
    evaluations, _ = evaluate_run({"titles": "title"}, held_out, out)
    assert [one.name for one in evaluations] == ["titles"]
    content = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert content["variants"] == []


GROUPS = pa.table({"id": ["p0", "p1", "p2"], "group": ["x", "x", "x"]})


def test_rows_are_kept_of_whole_models_and_groups_and_the_last_model_is_default(
    held_out, out, without_report
):
    evaluations, _ = evaluate_run(
        {"titles": "title"}, held_out, out, modalities=MODALITIES,
        groups={"found": GROUPS},
    )  # fmt: skip
    assert [one.name for one in evaluations][-1] == "found"
    stored = read_run(out)
    assert stored.evaluation.name == "titles"
    assert stored.evaluation.metrics["pr_auc"] == evaluations[0].metrics["pr_auc"]
    assert set(stored.test) == {"pairs", "queries"}
    found = read_run(out, "found")
    assert set(found.test) == {"products"}
    assert found.evaluation.metrics == evaluations[-1].metrics


def test_groups_are_judged_without_a_model_and_without_a_report(held_out, out):
    [found], notes = evaluate_run({}, held_out, out, groups={"found": GROUPS})
    # p0 and p1 are of one group, p2 of another with p3; the rest are in pairs.
    assert found.metrics["pair_precision"].value == pytest.approx(1 / 3)
    assert found.metrics["pair_recall"].value == pytest.approx(1 / 4)
    assert notes == []
    assert not (out / "report.html").exists()
    content = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert content["format"] == 2
    assert content["models"][0]["products"] == 8


def test_slices_are_in_the_numbers_of_whole_models(held_out, out, without_report):
    slicing = Slicing(fewest=5)
    evaluate_run(
        {"titles": "title"}, held_out, out, modalities=MODALITIES, slicing=slicing
    )
    content = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    whole, variant = content["models"]
    assert variant["slices"] == []
    places = [(one["kind"], one["value"], one["n"]) for one in whole["slices"]]
    assert ("queries", "without", 1) in places
    assert ("queries", "with", 7) in places


def test_the_recall_of_the_models_index_is_told(held_out, out, without_report):
    embeddings = Encoder("title").encode(list(held_out.catalog))
    index = ExactIndex.build(
        list(held_out.catalog.ids), embeddings, encoder_fingerprint="f"
    )
    _, notes = evaluate_run({"titles": "title"}, held_out, out, index=index)
    assert "The index finds 1.000 [1.000, 1.000] of the 10 nearest" in notes[-1]
    content = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert content["index"]["recall"]["value"] == 1
    other = ExactIndex.build(
        list(held_out.catalog.ids), embeddings, encoder_fingerprint="g"
    )
    with pytest.raises(FingerprintError, match="The index belongs to encoder g"):
        evaluate_run({"titles": "title"}, held_out, out, index=other)


def test_what_needs_a_model_is_refused_without_one(held_out, out):
    with pytest.raises(SimprodError, match="embeddings cannot be .* without a model"):
        evaluate_run({}, held_out, out, projector=out / "p")


def test_rows_of_somebody_else_are_not_replaced_and_ones_own_are(
    held_out, out, without_report
):
    models = {"title": "by-title"}
    evaluate_run(models, held_out, out)
    evaluate_run(models, held_out, out)
    (out / "rows" / "manifest.json").unlink()
    with pytest.raises(InputError, match="holds files that are no evaluation rows"):
        evaluate_run(models, held_out, out)
    assert (out / "rows" / "pairs.parquet").is_file()


def test_groups_of_another_catalogue_are_refused_and_none_are_not(held_out, out):
    table = pa.table({"id": ["q0", "q1"], "group": ["x", "x"]})
    with pytest.raises(SimprodError, match="holds none of its 2 products"):
        evaluate_run({}, held_out, out, groups={"found": table})
    # Where nothing is alike nobody is listed: all stand alone.
    [found], _ = evaluate_run({}, held_out, out, groups={"found": table[:0]})
    assert found.metrics["b_cubed_precision"].value == 1.0


def test_groups_of_unknown_products_are_refused(held_out, out):
    shop = held_out.catalog
    nameless = Catalog(
        shop.ids, shop.titles, shop.images, text_array([""] * 8), pa.table({})
    )
    test = HeldOut(nameless, nameless, held_out.pairs)
    with pytest.raises(SimprodError, match="found cannot be judged: no product has a"):
        evaluate_run({}, test, out, groups={"found": GROUPS})
