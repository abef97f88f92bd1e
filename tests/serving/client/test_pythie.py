"""The client's messages are understood by pythie-serving, and its answers are read.

An implementation of PredictionService that shares no code with TensorFlow; it needs an
environment of its own, which takes network access to a package index.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest

from simprod_tf.serving import Client, ServingError

PROCESS = Path(__file__).with_name("pythie_process.py")
PACKAGES = ("pythie-serving==3.4.3", "scikit-learn~=1.2.0", "cloudpickle~=2.1.0")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment with pythie-serving."""
    base = sys.executable if sys.version_info >= (3, 11) else shutil.which("python3.11")
    if base is None:
        pytest.skip("pythie-serving needs Python 3.11, and there is none")
    folder = tmp_path_factory.mktemp("pythie") / "venv"
    subprocess.run([base, "-m", "venv", folder], check=True, capture_output=True)
    install = [folder / "bin/python", "-m", "pip", "install", "-q", *PACKAGES]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pythie-serving cannot be installed: {done.stderr[-300:]}")
    return folder / "bin/python"


@pytest.fixture(scope="module")
def ports(python, tmp_path_factory):
    """The ports of the models `plane` and `stock`."""
    folder = tmp_path_factory.mktemp("pythie-models")
    server = subprocess.Popen(
        [python, PROCESS, folder], stdout=subprocess.PIPE, text=True
    )
    try:
        yield [int(port) for port in server.stdout.readline().split()]
    finally:
        server.kill()
        server.communicate()


def column(values, dtype):
    """Returns values as pythie-serving takes a feature, [B, 1]."""
    return np.array(values, dtype)[:, np.newaxis]


# One value is sent in float_val, several as tensor_content.
@pytest.mark.parametrize("rows", [1, 3])
def test_numbers_go_and_come(ports, rows):
    a, b = [1.0, 2.5, -4.0][:rows], [0.0, 1.0, 3.0][:rows]
    with Client(f"127.0.0.1:{ports[0]}", model="plane") as client:
        answer = client.predict(
            {"a": column(a, np.float32), "b": column(b, np.float32)}
        )
    # By hand: 2 a - 3 b + 1.
    expected = [3.0, 3.0, -16.0][:rows]
    assert answer.outputs["predictions"] == pytest.approx(expected, abs=1e-5)
    assert answer.version is None


@pytest.mark.parametrize("rows", [1, 3])
def test_texts_and_whole_numbers_go_and_come(ports, rows):
    colours, sizes = [b"red", b"blau", b"red"][:rows], [1, 2, 2][:rows]
    with Client(f"127.0.0.1:{ports[1]}", model="stock") as client:
        answer = client.predict(
            {"colour": column(colours, object), "size": column(sizes, np.int32)}
        )
    assert answer.outputs["predictions"].tolist() == [11, 22, 12][:rows]


def test_its_refusals_are_errors_with_its_words(ports):
    with Client(f"127.0.0.1:{ports[0]}", model="shop") as client:
        with pytest.raises(ServingError, match="Unknown model: shop") as caught:
            client.predict({"a": column([1.0], np.float32)})
    assert caught.value.code == grpc.StatusCode.UNKNOWN
