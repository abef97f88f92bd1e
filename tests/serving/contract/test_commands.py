"""The README's commands, with `simprod serve` in the place of Docker."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PATIENCE_S = 300


def commands():
    """Returns the three commands of the README, each as one line."""
    text = Path(__file__).with_name("README.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return block.strip().splitlines()


def in_python(command):
    """Returns a command's words, with this interpreter for `python`."""
    return [sys.executable if word == "python" else word for word in command]


def pointing_at(line, folder):
    """Returns the environment for a server that said this at its start."""
    return {
        "SERVING_TARGET": re.search(r"gRPC at ([\w.]+:\d+)", line)[1],
        "SERVING_REST_TARGET": re.search(r"REST at http://([\w.]+:\d+)", line)[1],
        "SERVING_MODELS": str(folder),
        "SERVING_MODELS_THERE": str(folder),
        "SERVING_IS_OURS": "1",
    }


def test_the_commands_name_what_the_others_make():
    write, docker, run = (shlex.split(one) for one in commands())
    assert (ROOT / write[1]).is_file()
    folder = write[2]
    assert f"$PWD/{folder}:/models:ro" in docker
    assert "--model_config_file=/models/models.config" in docker
    assert f"SERVING_MODELS={folder}" in run
    assert (ROOT / run[run.index("pytest") + 1]).is_dir()


def test_servings_readme_has_the_same_commands():
    text = (ROOT / "serving" / "README.md").read_text()
    # There they are written over several lines.
    unwrapped = re.sub(r" \\\n +", " ", text)
    for command in commands():
        assert command in unwrapped


@pytest.mark.slow
def test_the_suite_holds_for_simprod_serve_in_a_process_of_its_own(tmp_path):
    write, _, run = (shlex.split(one) for one in commands())
    folder = tmp_path / write[2]
    words = in_python([*write[:2], str(folder), "--there", str(folder)])
    subprocess.run(words, cwd=ROOT, check=True, timeout=PATIENCE_S)
    serve = [
        *(sys.executable, "-m", "simprod_tf", "serve", "--port", "0"),
        *("--rest-port", "0", "--model-config-file", str(folder / "models.config")),
        *("--monitoring-config-file", str(folder / "monitoring.config")),
    ]
    environment = {**os.environ, "COLUMNS": "200"}
    with subprocess.Popen(
        serve, env=environment, stderr=subprocess.PIPE, text=True
    ) as server:
        killer = threading.Timer(PATIENCE_S, server.kill)
        killer.start()
        try:
            line = next(one for one in server.stderr if "gRPC at" in one)
            # Its log is read, lest it wait for a full pipe.
            log = threading.Thread(target=server.stderr.read)
            log.start()
            done = subprocess.run(
                in_python(run[2:]),
                cwd=ROOT,
                env={**environment, **pointing_at(line, folder)},
                timeout=PATIENCE_S,
                capture_output=True,
                text=True,
            )
        finally:
            killer.cancel()
            server.terminate()
    log.join()
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b\d{3} passed", done.stdout), done.stdout
