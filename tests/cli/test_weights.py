"""`simprod weights` as a user meets it: help, conversion, download, clear errors."""

from __future__ import annotations

import csv
import hashlib
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from typer.testing import CliRunner

from simprod_tf import download
from simprod_tf.cli import app
from simprod_tf.download import DownloadError, PublicFile
from simprod_tf.errors import MissingLibraryError, ModelError
from simprod_tf.model.architecture import weight_shapes
from simprod_tf.model.weights import read_weights


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def simprod(*arguments):
    """Runs in this process; a SimprodError stays one."""
    found = CliRunner().invoke(app, list(map(str, arguments)))
    if found.exception and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found


def save_convolutions(path):
    """Writes an AlexNet's convolutions, of zeros, as others pass them on."""
    shapes = weight_shapes("torchvision")
    arrays = {
        name: np.zeros(shape, np.float32)
        for name, shape in shapes.items()
        if name.startswith("conv")
    }
    np.savez_compressed(path, **arrays)
    return path


@pytest.fixture
def public(tmp_path, monkeypatch):
    """A function that puts a file of that name behind a public name."""
    home = tmp_path / "home"
    home.mkdir()
    listener = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(home))
    )
    threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "WAIT_S", 0)

    def put(name, path):
        content = path.read_bytes()
        (home / path.name).write_bytes(content)
        url = f"http://127.0.0.1:{listener.server_port}/{path.name}"
        digest = hashlib.sha256(content).hexdigest()
        file = PublicFile(path.name, (url,), digest, len(content), "A file", "none")
        monkeypatch.setitem(download.PUBLIC_FILES, name, file)
        return home / path.name

    yield put
    listener.shutdown()
    listener.server_close()


@pytest.mark.parametrize("command", ["convert", "fetch"])
def test_help_has_an_example(command):
    text = simprod("weights", command, "--help").stdout
    assert f"simprod weights {command}" in text.split("Example:")[1]


def test_convert_writes_our_file_and_prints_what_it_holds(tmp_path):
    source, out = save_convolutions(tmp_path / "a.npz"), tmp_path / "out.npz"
    done = simprod("weights", "convert", source, out)
    rows = dict(csv.reader(done.stdout.splitlines()))
    assert rows["architecture"] == "torchvision"
    assert rows["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (rows["channels"], rows["resize_to"], rows["image_size"]) == (
        "RGB", "256", "224",
    )  # fmt: skip
    assert rows["mean"] == "123.675 116.28 103.53"
    assert rows["conv1"] == "11 x 11 x 3 x 64"
    assert f"--image-tower {out}" in done.stderr
    assert read_weights(out).architecture == "torchvision"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("convert a.npz b.pth", 2, "OUT must end in .npz, got b.pth"),
        ("convert a.npz b.npz --architecture vgg", 2, "architecture must be one of"),
        ("fetch resnet", 2, "one of alexnet, word2vec-google-news, got 'resnet'"),
    ],
)
def test_wrong_options_are_usage_errors(arguments, code, message):
    done = simprod("weights", *arguments.split())
    assert done.exit_code == code
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "simprod_tf", "weights", "convert", "a.npz", "b.npz"],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("simprod: a.npz cannot be read as weights")
    assert done.stderr.count("\n") == 1


def test_convert_refuses_another_architecture(tmp_path):
    source = save_convolutions(tmp_path / "a.npz")
    out = tmp_path / "out.npz"
    with pytest.raises(ModelError, match="of torchvision, expected squeezenet"):
        simprod("weights", "convert", source, out, "--architecture", "squeezenet")
    assert not out.exists()


def test_fetch_downloads_and_converts_alexnet_once(tmp_path, public):
    at_home = public("alexnet", save_convolutions(tmp_path / "a.npz"))
    out = tmp_path / "weights"
    done = simprod("weights", "fetch", "alexnet", "--out", out)
    assert "A file; " in done.stderr
    assert "licence: none" in done.stderr
    assert read_weights(out / "alexnet.npz").architecture == "torchvision"
    at_home.unlink()
    (out / "a.npz").unlink()
    done = simprod("weights", "fetch", "alexnet", "--out", out)
    assert "alexnet.npz is there already" in done.stderr


def test_a_damaged_alexnet_is_fetched_again(tmp_path, public):
    public("alexnet", save_convolutions(tmp_path / "a.npz"))
    (tmp_path / "alexnet.npz").write_bytes(b"PK")
    simprod("weights", "fetch", "alexnet", "--out", tmp_path)
    assert read_weights(tmp_path / "alexnet.npz").architecture == "torchvision"


def test_without_pytorch_the_download_stays_and_it_says_how_to_go_on(
    tmp_path, public, monkeypatch
):
    monkeypatch.setitem(sys.modules, "torch", None)
    source = tmp_path / "a.pth"
    source.write_bytes(b"\x80\x02 a state dict")
    public("alexnet", source)
    out = tmp_path / "weights"
    with pytest.raises(MissingLibraryError) as found:
        simprod("weights", "fetch", "alexnet", "--out", out)
    message = str(found.value)
    assert f"{out / 'a.pth'} is downloaded and right, but not yet" in message
    assert "simprod-tf[convert]" in message
    assert f"weights convert {out / 'a.pth'} {out / 'alexnet.npz'}" in message
    assert (out / "a.pth").read_bytes() == source.read_bytes()


def test_fetch_leaves_word_vectors_as_they_are(tmp_path, public):
    source = tmp_path / "vectors.bin.gz"
    source.write_bytes(b"packed")
    public("word2vec-google-news", source)
    out = tmp_path / "weights"
    done = simprod("weights", "fetch", "word2vec-google-news", "--out", out)
    assert (out / "vectors.bin.gz").read_bytes() == b"packed"
    assert f"--word-vectors {out / 'vectors.bin.gz'}" in done.stderr


def test_what_its_home_no_longer_has_is_said(tmp_path, public):
    source = tmp_path / "vectors.bin.gz"
    source.write_bytes(b"packed")
    public("word2vec-google-news", source).unlink()
    with pytest.raises(DownloadError, match="404 File not found.*put it at"):
        simprod("weights", "fetch", "word2vec-google-news", "--out", tmp_path / "w")
