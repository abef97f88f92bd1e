"""`simprod export`, in this process."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from simprod_tf.cli import app
from simprod_tf.errors import InputError


@pytest.fixture
def exported(monkeypatch, tmp_path):
    """The decisions that `export_encoder` was given, in place of exporting."""
    given = []

    def export(trained, folder, *, decisions=None):
        given.append(decisions)
        content = {
            "signatures": {"serving_default": {}, "embed": {}, "distance": {}},
            "has_probability": decisions is not None,
        }
        (tmp_path / "manifest.json").write_text(json.dumps(content))
        return tmp_path

    monkeypatch.setattr("simprod_tf.export.export_encoder", export)
    monkeypatch.setattr("simprod_tf.trained.TrainedEncoder.load", lambda folder: folder)
    return given


def test_an_export_tells_its_signatures_and_what_it_lacks(exported, tmp_path):
    done = CliRunner().invoke(app, ["export", "run", "--out", "m"])
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert f"SavedModel written to {tmp_path}; signatures: embed, distance" in text
    assert "distances come without probabilities" in text
    assert exported == [None]


def test_an_export_takes_the_decisions_of_a_file(exported, monkeypatch, tmp_path):
    arguments = ["export", "run", "--out", "m", "--decisions", "d.json"]
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, InputError)
    assert "d.json: there is no such file" in str(done.exception)
    monkeypatch.setattr("simprod_tf.matching.decisions.read_decisions", str)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "probabilities" not in done.output
    assert exported == ["d.json"]


def test_smaller_models_are_exported_one_at_a_time(exported, monkeypatch, tmp_path):
    """Each by its own function, which gives the folder that `exported` fills."""
    from simprod_tf.export import export_encoder

    def export(trained, folder):
        return export_encoder(trained, folder)

    monkeypatch.setattr("simprod_tf.export.shrink.export_float16", export_encoder)
    monkeypatch.setattr("simprod_tf.export.shrink.export_batch_1", export)
    monkeypatch.setattr("simprod_tf.export.tflite.export_tflite", export)

    def simprod(*options):
        return CliRunner().invoke(app, ["export", "run", "--out", "m", *options])

    assert "TFLite model written to" in simprod("--tflite").output
    assert "signatures: embed, distance" in simprod("--batch-1").output
    assert "without probabilities" in simprod("--float16").output
    both = simprod("--float16", "--batch-1")
    assert both.exit_code == 2
    assert "give one of" in both.output
    refused = simprod("--tflite", "--decisions", "d.json")
    assert refused.exit_code == 2
    assert "--decisions goes with" in refused.output
