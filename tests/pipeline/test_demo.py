"""The demo: goes on where it stopped, leaves nothing half-written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from simprod_tf.data.synthetic import ShopSettings
from simprod_tf.errors import SimprodError
from simprod_tf.pipeline.demo import MODELS, run_demo

SMALL = ShopSettings(products=300, seed=1)

pytestmark = pytest.mark.slow


def outputs(folder):
    return {
        path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "demo"
    return run_demo(folder, SMALL, epochs=1)


def test_every_stage_leaves_its_output(demo):
    for name in ("shop", "mined.parquet", "index", "matches/similar.parquet"):
        assert (demo.folder / name).exists()
    for name in MODELS:
        assert (demo.folder / "runs" / name / "head.keras").is_file()
        assert (demo.folder / "models" / name / "1" / "saved_model.pb").is_file()
    assert [model["name"] for model in demo.models] == list(MODELS)
    assert len(demo.notes) == 2 * (len(MODELS) - 1)
    assert demo.report.is_file()
    assert demo.matches > 0


def test_a_second_run_makes_nothing_anew(demo):
    before = outputs(demo.folder)
    again = run_demo(demo.folder, SMALL, epochs=1)
    assert outputs(demo.folder) == before
    assert again.models == demo.models


def test_only_what_is_missing_is_made(demo):
    before = outputs(demo.folder)
    shutil.rmtree(demo.folder / "matches")
    again = run_demo(demo.folder, SMALL, epochs=1)
    assert again.matches == demo.matches
    after = outputs(demo.folder)
    changed = {path.name for path in after if after[path] != before.get(path)}
    assert {"similar.parquet", "notes.json"} <= changed
    assert changed <= {"similar.parquet", "notes.json", "groups.parquet"}
    assert again.match_notes == demo.match_notes


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SimprodError, match="holds no demo; choose another folder"):
        run_demo(tmp_path, SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_other_settings_clear_the_outputs_and_nothing_else(tmp_path, monkeypatch):
    for name in ("shop", "runs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "demo.json").write_text("{}")

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("simprod_tf.pipeline.demo.make_shop", stop)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path, SMALL)
    assert {path.name for path in tmp_path.iterdir()} == {"demo.json", "notes.txt"}
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("after", ["demo.json", "shop", "mined.parquet"])
def test_ctrl_c_leaves_no_half_written_file(tmp_path, after):
    folder = tmp_path / "demo"
    process = subprocess.Popen(
        [sys.executable, "-m", "simprod_tf", "demo", "--out", str(folder),
         "--products", "300", "--epochs", "2"],
        stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        # A test run in the background passes on that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    for _ in range(1200):
        if (folder / after).exists():
            break
        time.sleep(0.05)
    # A moment later it is in the midst of the next stage.
    time.sleep(0.4)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130, error
    assert "interrupted" in error
    assert "Traceback" not in error
    names = {path.name for path in folder.iterdir()}
    assert names <= {"demo.json", "shop", "mined.parquet", "runs", "models"}
    if "shop" in names:
        assert (folder / "shop" / "shop.json").is_file()
        assert (folder / "shop" / "hand_pairs.csv").is_file()
    for run in (folder / "runs").glob("*"):
        assert (run / "manifest.json").is_file()
