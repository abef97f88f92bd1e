"""README.md: its scripts run as they stand, its commands take the options shown."""

from __future__ import annotations

import ast
import csv
import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(
    r"simprod ([a-z]+ .*)", re.sub(r"\\\n +", "", TEXT.replace("`", "\n"))
)

# Words by which each script is known.
PLAIN, ARCFACE, TUNING = "siamese.keras", "build_classifier", "set_trainable"
SEARCH, FEATURES, SERVING = "load_index", "stored_features", "saved_model.load"

# What the scripts leave behind, for the tests to look at.
AFTER_PLAIN = """
import numpy as np
some = list(catalog)[:40]
np.save("embeddings.npy", prepared.trained.encode(some))
np.savez("inputs.npz", **{name: array[:40] for name, array in arrays.items()})
"""
AFTER_ALL = """
import json
tuned = prepared.trained.towers[0].model
names = ("conv4", "conv5", "fc7")
np.savez("tuned.npz", **{n: tuned.get_layer(n).get_weights()[0] for n in names})
histories = [one.history for one in (history, arcface_history, tuned_history)]
with open("histories.json", "w") as file:
    json.dump(histories, file, default=float)
"""
# In a process that has nothing but what was saved.
AFRESH = """
import numpy as np
import tensorflow as tf
import simprod_tf.pipeline.train
from simprod_tf.data.catalog import read_catalog
from simprod_tf.export import SavedEncoder
from simprod_tf.trained import TrainedEncoder
some = list(read_catalog("shop/catalog.csv").catalog)[:40]
np.save("trained.npy", TrainedEncoder.load("runs/plain").encode(some))
np.save("exported.npy", SavedEncoder("saved_models/plain").encode(some))
model = tf.keras.models.load_model("siamese.keras")
np.save("distances.npy", model(dict(np.load("inputs.npz"))))
print(type(model.loss).__name__)
"""


def script_with(words):
    (found,) = [script for script in SCRIPTS if words in script]
    return found


def run(folder, code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder with the files that the README names, small ones."""
    import tensorflow as tf

    from simprod_tf.data.synthetic import ShopSettings, make_shop
    from simprod_tf.model.alexnet import build_alexnet
    from simprod_tf.model.architecture import usual_preprocessing
    from simprod_tf.model.weights import Weights, write_weights

    tf.keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("readme")
    make_shop(folder / "shop", ShopSettings(products=150, image_size=64))
    arrays = {
        f"{layer.name}/{kind}": array
        for layer in build_alexnet("small", output_layer="fc7").layers
        for kind, array in zip(("kernel", "bias"), layer.get_weights())
    }
    usual = usual_preprocessing("small")
    (folder / "weights").mkdir()
    write_weights(
        Weights("small", usual, arrays, {"file": "random"}),
        folder / "weights" / "alexnet.npz",
    )
    np.savez(folder / "before.npz", **arrays)
    return folder


@pytest.fixture(scope="module")
def trained(shop):
    """The same folder, after the three scripts of "Plain Keras"."""
    scripts = [script_with(PLAIN), AFTER_PLAIN]
    scripts += [script_with(ARCFACE), script_with(TUNING)]
    run(shop, "\n".join([*scripts, AFTER_ALL]))
    return shop


def histories(folder):
    return json.loads((folder / "histories.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_plain_script_learns_and_what_it_saves_is_the_same_afresh(trained):
    plain = histories(trained)[0]
    assert plain["loss"][-1] < 0.9 * plain["loss"][0]
    assert plain["val_loss"][-1] < plain["val_loss"][0]
    lines = (trained / "history.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(plain["loss"])
    assert "val_pr_auc" in lines[0]
    assert run(trained, AFRESH).strip() == "ContrastiveLoss"
    expected = np.load(trained / "embeddings.npy")
    apart = np.linalg.norm(expected[:, None] - expected, axis=2)
    assert apart.max() > 0.5
    for name in ("trained", "exported"):
        assert np.allclose(np.load(trained / f"{name}.npy"), expected, atol=1e-5)
    # Distances by one matrix product are coarser.
    assert np.allclose(np.load(trained / "distances.npy"), apart, atol=3e-3)


@pytest.mark.slow
def test_arcface_finds_unseen_groups_better_and_better(trained):
    arcface = histories(trained)[1]
    # From the sixth epoch on the margin stands still, and losses are comparable.
    assert arcface["loss"][-1] < 0.9 * arcface["loss"][5]
    assert arcface["val_map_at_r"][-1] > arcface["val_map_at_r"][0]


@pytest.mark.slow
def test_fine_tuning_changes_the_layers_that_it_names(trained):
    tuned = histories(trained)[2]
    assert tuned["loss"][-1] < tuned["loss"][0]
    before, after = np.load(trained / "before.npz"), np.load(trained / "tuned.npz")
    assert np.array_equal(after["conv4"], before["conv4/kernel"])
    for name in ("conv5", "fc7"):
        assert not np.allclose(after[name], before[f"{name}/kernel"], atol=1e-6)


@pytest.mark.slow
def test_exports_are_searched_and_served_as_shown(trained, tmp_path):
    shutil.copytree(trained / "saved_models" / "plain", tmp_path / "saved_models/shop")
    shutil.copytree(trained / "shop", tmp_path / "shop")
    shutil.copytree(trained / "weights", tmp_path / "weights")
    with open(tmp_path / "shop" / "catalog.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["image"]]
    lines = ["id,image", *(f"{row['id']},shop/{row['image']}" for row in rows[:9])]
    (tmp_path / "photos.csv").write_text("\n".join(lines), encoding="utf-8")
    shutil.copy(tmp_path / "shop" / rows[0]["image"], tmp_path / "mug.jpg")
    arguments = "index shop/catalog.csv --model saved_models/shop --out index"
    run(tmp_path, "from simprod_tf.cli import main; main()", *arguments.split())
    line = "\nprint('--', flush=True)\n"
    scripts = [script_with(SEARCH), script_with(FEATURES), script_with(SERVING)]
    told = run(tmp_path, line.join([*scripts, "print(embedding.shape)"])).split("--\n")
    matches = told[0].split()
    assert len(matches) == 10
    assert sorted(matches[1::2], key=float) == matches[1::2]
    assert told[1].startswith("(9, 256)")
    assert told[3] == "(2, 128)\n"


def test_every_script_is_run_here():
    known = (PLAIN, ARCFACE, TUNING, SEARCH, FEATURES, SERVING)
    assert {script_with(words) for words in known} == set(SCRIPTS)


def test_what_the_scripts_import_is_there():
    for script in SCRIPTS:
        for node in ast.walk(ast.parse(script)):
            if not isinstance(node, ast.ImportFrom) or "simprod_tf" not in node.module:
                continue
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name)


def test_the_commands_take_the_options_that_are_shown():
    from simprod_tf.cli import app

    known = {
        name: {flag for one in command.params for flag in one.opts + one.secondary_opts}
        for name, command in commands_of(typer.main.get_command(app)).items()
    }
    assert len(COMMANDS) > 20
    for line in COMMANDS:
        name = line.split()[0]
        wanted = set(re.findall(r"--[a-z][a-z0-9-]*", line))
        assert wanted <= known[name], line


def test_every_option_of_the_text_is_of_some_command():
    from simprod_tf.cli import app

    known = {"--help"}
    for command in commands_of(typer.main.get_command(app)).values():
        for one in command.params:
            known.update(one.opts + one.secondary_opts)
    assert set(re.findall(r"(?<!-)--[a-z][a-z0-9-]*", TEXT)) <= known


def commands_of(group):
    """Returns every command by its first word; a group's commands are put together."""
    found = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            for one in command.commands.values():
                command.params = [*command.params, *one.params]
        found[name] = command
    return found
