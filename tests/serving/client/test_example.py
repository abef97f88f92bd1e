"""The ways to ask that need nothing of this package: client_example.py, and curl."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.serving.models.config import models_of
from simprod_tf.serving.server.server import ServeOptions, Server

SERVING = Path(__file__).resolve().parents[3] / "serving"
COMMANDS = re.findall(
    r"```sh\n(curl .*?)```", (SERVING / "README.md").read_text("utf-8"), re.DOTALL
)


def save_encoder(folder):
    """Saves a model that gives the lengths of picture and title; b"bad" is bad."""
    words = tf.TensorSpec([None], tf.string)

    def embed(image_bytes, title):
        valid = image_bytes != "bad"
        lengths = tf.stack(
            [tf.strings.length(image_bytes), tf.strings.length(title)], 1
        )
        return {
            "embedding": tf.cast(lengths, tf.float32),
            "valid": valid,
            "fault": tf.where(valid, "", "of an unknown format"),
        }

    signature = tf.function(embed).get_concrete_function(words, words)
    tf.saved_model.save(
        tf.Module(), str(folder), signatures={"serving_default": signature}
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "shop"
    save_encoder(folder / "3")
    models = models_of({"shop": folder})
    with Server(ServeOptions(models, port=0, rest_port=0)) as one:
        yield one


@pytest.fixture
def mug(tmp_path, make_picture):
    """A folder with mug.jpg, and the length of that file."""
    make_picture(1).save(tmp_path / "mug.jpg")
    return tmp_path, (tmp_path / "mug.jpg").stat().st_size


def run_example(*arguments, cwd):
    script = str(SERVING / "client_example.py")
    return subprocess.run(
        [sys.executable, "-I", script, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_example_prints_the_embedding(server, mug):
    folder, size = mug
    address = f"127.0.0.1:{server.port}"
    done = run_example(address, "mug.jpg", "blue mug", cwd=folder)
    assert done.returncode == 0, done.stderr
    beginning = np.array([size, 8], np.float32)
    assert done.stdout == f"shop, version 3: 2 numbers, {beginning} ...\n"


@pytest.mark.slow
def test_the_example_says_what_is_wrong(server, mug):
    folder, address = mug[0], f"127.0.0.1:{server.port}"
    (folder / "bad.jpg").write_bytes(b"bad")
    bad = run_example(address, "bad.jpg", "", cwd=folder)
    unknown = run_example(address, "", "blue mug", "mugs", cwd=folder)
    assert (bad.returncode, unknown.returncode) == (1, 1)
    assert bad.stderr.splitlines()[-1] == "bad.jpg: of an unknown format"
    assert "NOT_FOUND: Servable not found" in unknown.stderr


def test_the_example_is_short_and_needs_two_packages_alone():
    text = (SERVING / "client_example.py").read_text("utf-8")
    assert len(text.splitlines()) <= 40
    imported = set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE))
    assert imported == {"sys", "pathlib", "grpc", "tensorflow", "tensorflow_serving"}


def test_the_curl_of_the_readme_is_answered(server, mug):
    folder, size = mug
    predict, status = (
        json.loads(
            subprocess.run(
                ["bash", "-c", command.replace(":8501", f":{server.rest_port}")],
                cwd=folder,
                capture_output=True,
                check=True,
            ).stdout
        )
        for command in COMMANDS
    )
    assert predict == {
        "predictions": [{"embedding": [size, 15], "valid": True, "fault": ""}]
    }
    (version,) = status["model_version_status"]
    assert (version["version"], version["state"]) == ("3", "AVAILABLE")
