"""`simprod serve`: its options in this process, and its life in one of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from typer.main import get_command
from typer.testing import CliRunner

from simprod_tf.cli import app

PATIENCE_S = 60


def simprod(*arguments):
    return CliRunner().invoke(app, ["serve", *map(str, arguments)])


def told(done):
    """Returns the message of a usage error as one line, out of its frame."""
    return " ".join(done.output.replace("│", " ").split())


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """The working folder, with a folder for a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "shop").mkdir()
    return tmp_path


def test_the_help_shows_an_example():
    text = " ".join(simprod("--help").output.split())
    assert "simprod serve --model shop=saved_models/shop --port 8500" in text


def test_the_help_of_a_narrow_terminal_has_every_name_in_full(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = simprod("--help").output
    (serve,) = (
        one for one in get_command(app).commands.values() if one.name == "serve"
    )
    assert [one.opts[0] for one in serve.params if one.opts[0] not in text] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --model NAME=PATH, once for each model, or --model-config-file"),
        (["--model", "shop=shop", "--model-config-file", "f"], "give --model NAME"),
        (["--model", "shop"], "--model takes NAME=PATH, got 'shop'"),
        (["--model", "=shop"], "--model takes NAME=PATH, got '=shop'"),
        (["--model", "a=shop", "--model", "a=shop"], "--model names a twice"),
        (
            ["--model", "a=shop", "--batching-parameters-file", "f"],
            "--batching-parameters-file needs --enable-batching",
        ),
        (
            ["--model", "a=shop", "--decisions", "f"],
            "--index-model, --decisions and --log need --index",
        ),
        (
            ["--model", "a=shop", "--model", "b=shop", "--index", "i"],
            "--index-model must be one of a, b: there are several models",
        ),
        (
            ["--model", "a=shop", "--model-config-file-poll-wait-seconds", 1],
            "--model-config-file-poll-wait-seconds needs --model-config-file",
        ),
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(shop, arguments, message):
    done = simprod(*arguments)
    assert done.exit_code == 2
    assert message in told(done)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "shop=gone"], "gone: expected the folder with the versions"),
        (["--model-config-file", "gone"], "gone: cannot be read"),
        (["--model", "shop=shop", "--ssl-config-file", "gone"], "gone: cannot be read"),
        (
            ["--model", "s=shop", "--monitoring-config-file", "gone"],
            "gone: cannot be read",
        ),
        (
            ["--model", "shop=shop", "--port", 0, "--rest-port", -1]
            + ["--file-system-poll-wait-seconds", 0],
            "shop",
        ),
    ],
)
def test_what_the_world_lacks_is_told(shop, arguments, message):
    done = simprod(*arguments)
    assert done.exit_code == 1
    assert message in str(done.exception)


@pytest.fixture
def tiny(tmp_path):
    """A folder with version 1 of y = x / 2 + 2."""
    import tensorflow as tf

    module = tf.Module()
    half = tf.function(lambda x: {"y": x / 2 + 2})
    tf.saved_model.save(
        module,
        str(tmp_path / "tiny" / "1"),
        signatures=half.get_concrete_function(tf.TensorSpec([None], name="x")),
    )
    return tmp_path / "tiny"


def predicted(port):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "tiny"
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].float_val.append(4.0)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(request, timeout=PATIENCE_S)
    return np.float32(response.outputs["y"].float_val).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_says_where_and_ends_on_a_signal(tiny, tmp_path, ending):
    config = tmp_path / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "tiny" base_path: "{tiny}" '
        'model_platform: "tensorflow" } }'
    )
    (tmp_path / "monitoring.config").write_text("prometheus_config { enable: true }")
    (tmp_path / "batching.config").write_text("max_batch_size { value: 4 }")
    command = [sys.executable, "-m", "simprod_tf", "serve", "--port", "0"]
    command += ["--rest-port", "0", "--model-config-file", str(config)]
    command += ["--monitoring-config-file", "monitoring.config", "--enable-batching"]
    command += ["--batching-parameters-file", "batching.config"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "200"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            line = process.stderr.readline()
            assert line.endswith(f" INFO Loading tiny version 1: {tiny / '1'}\n")
            line = process.stderr.readline()
            assert " INFO Loaded tiny version 1 in " in line
            line = process.stderr.readline()
            ready = re.fullmatch(
                r"Serving tiny: gRPC at 127\.0\.0\.1:(\d+); REST at "
                r"(http://127\.0\.0\.1:\d+/v1/models/tiny); metrics at "
                r"(/monitoring/prometheus/metrics)\. Ctrl-C stops\.\n",
                line,
            )
            assert ready, line
            assert predicted(int(ready[1])) == [4.0]
            with urllib.request.urlopen(ready[2]) as page:
                states = json.load(page)["model_version_status"]
            assert [each["state"] for each in states] == ["AVAILABLE"]
            process.send_signal(ending)
            rest = process.stderr.read()
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
    told, unloaded, stopped = rest.splitlines()
    assert told == (
        f"{ending.name}: running requests have 30 s to finish; a second signal ends "
        "them."
    )
    assert unloaded.endswith(" INFO Unloaded tiny version 1")
    assert stopped == "Stopped."
