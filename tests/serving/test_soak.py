"""`simprod serve` under mixed requests while versions come.

`benchmarks/serving_soak.py` for as long as a test may take; benchmarks/README.md has
the figures of a longer run.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SOAK = Path(__file__).resolve().parents[2] / "benchmarks" / "serving_soak.py"


@pytest.fixture
def encoder(tmp_path):
    """A small encoder with random weights, exported."""
    import tensorflow as tf

    from simprod_tf.export import export_encoder
    from simprod_tf.features.product_inputs import ProductInputs, TextInput
    from simprod_tf.model.encoder import EncoderSettings, build_head
    from simprod_tf.model.image_tower import build_image_tower
    from simprod_tf.model.source import TextSource, VectorSource
    from simprod_tf.trained import TrainedEncoder

    tf.keras.utils.set_random_seed(1)
    tower = build_image_tower("small")
    words = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    sources = [VectorSource(tower.name, tower.dim, "image"), TextSource(words)]
    head = build_head(sources, EncoderSettings(embedding_dim=16))
    inputs = ProductInputs(TextInput(("blue", "mug", "lamp")))
    details = {"decision": {"refused": "no pairs"}}
    trained = TrainedEncoder(head, (tower,), inputs, details)
    return export_encoder(trained, tmp_path / "encoder").parent


@pytest.mark.slow
def test_good_bad_and_huge_requests_get_their_answers_while_versions_come(encoder):
    # Peaks of eight seconds each differ by a version more or less in memory: only a
    # gross leak can be told in so short a run.
    command = [sys.executable, str(SOAK), "--seconds", "24", "--model", str(encoder)]
    command += ["--memory-share", "0.5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    right = dict(re.findall(r"^(.*): (\d+) right$", done.stdout, re.MULTILINE))
    for kind in (
        "good",
        "good, REST",
        "bad: type",
        "huge",
        "products, one picture bad",
    ):
        assert int(right[kind]) > 0, done.stdout
    (versions,) = re.findall(r"published: (\d+), that answered: (\d+)", done.stdout)
    assert int(versions[0]) >= 5
    assert int(versions[1]) >= 2
