"""An exported pair decider answers as the model does, also without simprod_tf."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.errors import ModelError
from simprod_tf.export.pair_decider import (
    SavedPairDecider,
    export_pair_decider,
    pair_decider_fingerprint,
)
from simprod_tf.features.text import title_words
from simprod_tf.model.cross_attention import (
    CrossAttentionSettings,
    build_cross_attention,
)

MAX_WORDS = 4
ONE = ["Red mug, 350 ml", "lamp X-200", "", 'Größe ÉTÉ 15.6"', "a b c d zebra"]
OTHER = ["mug red", "LAMP x200", "mug", "grösse été 15.6 inch", "a b c d lamp"]


@pytest.fixture(scope="module")
def model():
    tf.keras.utils.set_random_seed(3)
    return build_cross_attention(
        ["red", "mug", "350ml"],
        np.eye(3, dtype=np.float32),
        idf=np.array([1.0, 2.0, 3.0]),
        settings=CrossAttentionSettings(word_dim=8, hidden_units=8, buckets=64),
    )


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    root = tmp_path_factory.mktemp("models") / "pair_decider"
    return export_pair_decider(
        model, root, max_words=MAX_WORDS, columns=("brand",), details={"seed": 3}
    )


@pytest.fixture(scope="module")
def expected(model):
    """[5] float32, pair by pair, by the model on words from Python."""
    found = []
    for pair in zip(title_words(ONE), title_words(OTHER)):
        sides = [tf.constant([[*words[:MAX_WORDS], ""]]) for words in pair]
        found.append(tf.sigmoid(model(sides))[0, 0].numpy())
    return np.array(found)


@pytest.fixture(scope="module")
def saved(folder):
    return SavedPairDecider(folder.parent)


@pytest.mark.slow
def test_the_loaded_model_answers_as_the_model(saved, expected):
    found = saved.probabilities(ONE, OTHER)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(saved.probabilities(OTHER, ONE), expected, atol=1e-6)
    np.testing.assert_allclose(
        saved.probabilities(ONE, OTHER, batch_size=2), expected, atol=1e-6
    )
    assert saved.probabilities([], []).shape == (0,)


@pytest.mark.slow
def test_words_behind_the_last_one_read_change_nothing(saved):
    longer = saved.probabilities(["a b c d zebra lamp"], ["a b c d"])
    np.testing.assert_allclose(longer, saved.probabilities(["a b c d"], ["a b c d"]))


@pytest.mark.slow
def test_the_manifest_says_how_texts_are_made(saved):
    assert saved.columns == ("brand",)
    assert len(saved.fingerprint) == 16
    assert saved.manifest["max_words"] == MAX_WORDS
    assert saved.manifest["seed"] == 3
    assert saved.manifest["signatures"]["decide"] == {
        "inputs": {"other_title": "string [B]", "title": "string [B]"},
        "outputs": {"probability": "float32 [B]"},
    }


@pytest.mark.slow
def test_the_fingerprint_follows_weights_and_reading(model, saved):
    settings = {"max_words": MAX_WORDS, "columns": ("brand",)}
    assert pair_decider_fingerprint(model, **settings) == saved.fingerprint
    other = tf.keras.models.clone_model(model)
    found = {
        saved.fingerprint,
        pair_decider_fingerprint(other, **settings),
        pair_decider_fingerprint(model, max_words=5, columns=("brand",)),
        pair_decider_fingerprint(model, max_words=MAX_WORDS),
    }
    assert len(found) == 4


def test_the_next_export_is_the_next_version_and_other_kinds_are_refused(tmp_path):
    version = tmp_path / "model" / "1"
    version.mkdir(parents=True)
    (version / "manifest.json").write_text('{"kind": "exported encoder"}')
    with pytest.raises(ModelError, match="holds exported encoder, not: exported pair"):
        export_pair_decider(None, tmp_path / "model", max_words=4)


@pytest.mark.slow
def test_texts_that_differ_in_number_are_refused(saved):
    with pytest.raises(ValueError, match="expected as many other_texts as texts"):
        saved.probabilities(["a"], [])
    with pytest.raises(tf.errors.InvalidArgumentError, match="differ in length"):
        saved._decide(title=tf.constant(["a"]), other_title=tf.constant(["a", "b"]))


@pytest.mark.slow
def test_a_damaged_export_is_told(tmp_path, folder):
    broken = tmp_path / "1"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"no model")
    (broken / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    with pytest.raises(ModelError, match="cannot be loaded"):
        SavedPairDecider(broken)


@pytest.mark.slow
def test_a_process_without_simprod_tf_gets_the_same(folder, expected, tmp_path):
    texts, out = tmp_path / "texts.json", tmp_path / "out.npz"
    texts.write_text(json.dumps({"title": ONE, "other_title": OTHER}))
    proof = Path(__file__).parent / "proof_pair_decider.py"
    env = {key: one for key, one in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(proof), str(folder), str(texts), str(out)],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(out) as found:
        np.testing.assert_allclose(found["probability"], expected, atol=1e-6)
        assert found["empty"].shape == (0,)
