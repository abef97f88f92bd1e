"""`simprod explain` in this process: with a stand-in, and with an exported encoder."""

from __future__ import annotations

import csv
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from simprod_tf.cli import app
from simprod_tf.errors import InputError, SimprodError
from simprod_tf.features.image import read_pictures
from simprod_tf.matching.decisions import Decisions, read_decisions, write_decisions
from simprod_tf.matching.threshold import choose_threshold


class Encoder:
    """Sees the words of a title, and whether a picture is red."""

    fingerprint = "f"
    inputs = SimpleNamespace(vectors=(), has_more=False)
    manifest: dict = {"decision": {"refused": "no pairs"}}

    def encode(self, products, *, tables=None):
        found = np.zeros((len(products), 4), np.float32)
        read_pictures([one.image for one in products])
        for row, one in enumerate(products):
            seen = [*one.title.split(), one.image[-7:]]
            words = ["mug", "red", "blue", "red.png"]
            found[row] = [word in seen for word in words]
            found[row] /= max(np.linalg.norm(found[row]), 1)
        return found


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The folder that the command runs in: a catalogue, pictures, a decision."""
    for colour in ("red", "blue"):
        Image.new("RGB", (80, 60), colour).save(tmp_path / f"{colour}.png")
    lines = [
        "id,title,image,brand",
        "p01,red mug 350 ml,red.png,Acme",
        "p02,blue mug 250 ml,blue.png,Acme",
        "p03,red mug [old],,Bolt",
        "p04,mug,gone.png,Bolt",
    ]
    (tmp_path / "catalog.csv").write_text("\n".join(lines), encoding="utf-8")
    distances = np.concatenate([np.full(60, 0.1), np.full(60, 1.9)])
    labels = np.repeat([1, 0], 60)
    decision = choose_threshold(distances, labels, precision=0.9, fingerprint="f")
    alone = dataclasses.replace(decision, max_distance=1.5)
    write_decisions(
        Decisions("f", {"both": decision, "text": alone}, {"image": "too few"}),
        tmp_path / "decision.json",
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def explain(work, monkeypatch):
    """Runs the command with `Encoder`; returns what it printed, or raises."""
    monkeypatch.setattr("simprod_tf.export.SavedEncoder", lambda folder: Encoder())
    return run


def run(this, that, *more):
    arguments = ["--catalog", "catalog.csv", "--model", "model", *more]
    done = CliRunner().invoke(app, ["explain", this, that, *arguments])
    if done.exception is not None:
        raise done.exception
    return done.output


def table_of(output):
    lines = output.splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("what,"))
    rows = csv.reader(line for line in lines[first:] if line.count(",") >= 3)
    return [(row[0], *row[1:4]) for row in rows]


def test_the_table_tells_distances_words_traits_and_the_verdict(explain):
    rows = table_of(explain("p01", "p02", "--decision", "decision.json"))
    assert rows[0] == ("what", "p01", "p02", "finding")
    assert ("title", "red mug 350 ml", "blue mug 250 ml", "") in rows
    found = {row[0]: row for row in rows}
    # The titles share one word of two: 60 degrees apart. No other word is known.
    assert found["distance, titles alone"][3] == (
        "1.000, 0.500 below the threshold 1.500"
    )
    assert found["distance, whole products"][3].endswith("above the threshold 0.100")
    assert "threshold" not in found["distance, pictures alone"][3]
    assert found["words of both"][3] == "mug"
    assert found["words of one"][1:3] == ("red 350ml", "blue 250ml")
    assert found["quantity"] == ("quantity", "350 ml", "250 ml", "conflict")
    assert found["brand"] == ("brand", "Acme", "Acme", "same")
    assert found["verdict"][3] == "not similar"


def test_the_page_holds_both_pictures(explain, work):
    output = explain("p01", "p02", "--out", "pages/explanation.html")
    assert "Explanation written to pages/explanation.html" in output
    page = (work / "pages" / "explanation.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 2


def test_without_a_threshold_it_is_undecided_and_what_is_missing_is_said(explain):
    output = explain("p01", "p03")
    rows = {row[0]: row for row in table_of(output)}
    assert rows["verdict"][3] == "undecided"
    assert rows["distance, pictures alone"][3] == "not known: p03 has no picture"
    assert rows["title"][2] == "red mug [old]"
    assert "there is no threshold" in output


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("p01", "p002"), SimprodError, "no product 'p002'; near to it are: p02"),
        (("p01", "p01"), SimprodError, "two products are needed, got 'p01' twice"),
        (("p01", "p04"), InputError, r"gone.png: the picture cannot be read"),
        (
            ("p01", "p02", "--decision", "none.json"),
            InputError,
            "none.json: there is no such file",
        ),
        (
            ("p01", "p02", "--decision", "catalog.csv"),
            InputError,
            "csv: cannot be read as JSON",
        ),
        (("p01", "p02", "--decision", "wrong.json"), InputError, "holds no decisions"),
        (("p01", "p02", "--features", "none.npy"), InputError, "none.npy: there is no"),
    ],
)
def test_errors_name_what_is_wrong_and_nothing_is_written(
    explain, work, arguments, error, message
):
    (work / "wrong.json").write_text('{"max_distance": 1}', encoding="utf-8")
    with pytest.raises(error, match=message):
        explain(*arguments, "--out", "never.html")
    assert not (work / "never.html").exists()


@pytest.mark.slow
def test_an_exported_encoder_explains(work):
    import tensorflow as tf

    from simprod_tf.export import export_encoder
    from simprod_tf.features.product_inputs import ProductInputs, TextInput
    from simprod_tf.model.encoder import EncoderSettings, build_head
    from simprod_tf.model.image_tower import build_image_tower
    from simprod_tf.model.source import TextSource, VectorSource
    from simprod_tf.trained import TrainedEncoder

    tf.keras.utils.set_random_seed(1)
    tower = build_image_tower("small")
    vectors = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    sources = [VectorSource(tower.name, tower.dim, "image"), TextSource(vectors)]
    head = build_head(sources, EncoderSettings(embedding_dim=16, hidden_units=32))
    inputs = ProductInputs(TextInput(("red", "blue", "mug")))
    trained = TrainedEncoder(head, (tower,), inputs, {})
    chosen = dataclasses.replace(
        read_decisions(work / "decision.json").whole,
        encoder_fingerprint=trained.fingerprint,
    )
    details = {"decision": chosen.to_json()}
    export_encoder(dataclasses.replace(trained, details=details), work / "model")
    rows = {row[0]: row for row in table_of(run("p01", "p02", "--out", "e.html"))}
    assert " the threshold 0.100" in rows["distance, whole products"][3]
    for name in ("whole products", "pictures alone", "titles alone"):
        assert 0 < float(rows[f"distance, {name}"][3].split(",")[0]) < 2
    assert (work / "e.html").is_file()
    with pytest.raises(InputError, match="gone.png: the picture cannot be read"):
        run("p01", "p04")
