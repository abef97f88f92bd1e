"""The run over several models: the report, the JSON, the sentences."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.pipeline.evaluate import evaluate_run
from simprod_tf.pipeline.judge import MODALITIES, HeldOut


class Encoder:
    """Half of a product is its picture, half its title, as the folder's name says."""

    inputs = SimpleNamespace(vectors=())

    def __init__(self, folder):
        self.sees = str(folder)
        self.manifest = {}

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


def test_whole_models_alone_are_compared(held_out, out):
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


def test_without_modalities_there_are_no_variants(held_out, out):
    evaluations, _ = evaluate_run({"titles": "title"}, held_out, out)
    assert [one.name for one in evaluations] == ["titles"]
    content = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert content["variants"] == []
