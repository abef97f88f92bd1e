"""What is exported answers the same wherever TensorFlow runs, without simprod_tf.

Each proof (`proof_*.py`) is a process of its own.
"""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simprod_tf.data.catalog import Product
from simprod_tf.export import export_encoder
from simprod_tf.export.neighbours import export_exact_neighbours
from simprod_tf.index import ExactIndex
from simprod_tf.trained import TrainedEncoder

HERE = Path(__file__).parent
# The last TensorFlow whose pip resolves within minutes beside TensorFlow Hub; hub's
# layer is of Keras 2 (tf_keras), the others of Keras 3. It imports pkg_resources.
OTHER_TENSORFLOW = ["tensorflow-cpu==2.20.0", "setuptools<81"]
# Without their dependencies: tf_keras would bring a second TensorFlow.
BESIDE_IT = ["tf_keras==2.20.*", "tensorflow_hub==0.16.*"]
# Against training's own embeddings.
TOLERANCE = 1e-5
# What fault a row has, none where it is absent.
FAULTS = {6: b"WebP", 7: b"JPEG"}


def as_file(picture: Image.Image, kind: str, **how: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **how)
    return out.getvalue()


def odd_contents() -> list[tuple[bytes, str]]:
    """Picture bytes and titles: of every format, none, two that cannot be decoded."""
    coarse = np.random.default_rng(5).integers(0, 255, (5, 4, 3), dtype=np.uint8)
    rgb = Image.fromarray(coarse).resize((90, 70), Image.Resampling.BICUBIC)
    rgba = Image.merge("RGBA", (*rgb.split(), rgb.convert("L")))
    return [
        (as_file(rgb, "JPEG"), "Red mug, 350 ml"),
        (as_file(rgb.convert("L"), "JPEG"), ""),
        (as_file(rgba, "PNG"), "a red thing"),
        (as_file(rgb, "GIF"), ""),
        (b"", "red mug"),
        (b"", ""),
        (as_file(rgb, "WEBP"), "red mug"),
        (as_file(rgb, "JPEG")[:900], "red mug"),
        (as_file(rgb.resize((900, 300)), "JPEG"), "qwerty"),
    ]


@pytest.fixture(scope="module")
def expected(trained: TrainedEncoder, tmp_path_factory) -> np.ndarray:
    """[B, D]: training's own embeddings, zeros where there is a fault."""
    folder = tmp_path_factory.mktemp("pictures")
    products, rows = [], []
    contents = odd_contents()
    for row, (content, title) in enumerate(contents):
        path = folder / str(row)
        path.write_bytes(content)
        if row not in FAULTS:
            products.append(Product(str(row), title, str(path) if content else ""))
            rows.append(row)
    found = np.zeros((len(contents), trained.dim), np.float32)
    found[rows] = trained.encode(products)
    return found


@pytest.fixture(scope="module")
def model(trained: TrainedEncoder, tmp_path_factory) -> Path:
    return export_encoder(trained, tmp_path_factory.mktemp("models") / "encoder")


@pytest.fixture(scope="module")
def neighbours(trained, expected, model, tmp_path_factory) -> Path:
    known = [row for row, vector in enumerate(expected) if vector.any()]
    index = ExactIndex.build(
        [f"p{row}" for row in known],
        expected[known],
        encoder_fingerprint=trained.fingerprint,
    )
    folder = tmp_path_factory.mktemp("models") / "neighbours"
    return export_exact_neighbours(index, folder, encoder_folder=model, k=3)


@pytest.fixture(scope="module")
def prove(tmp_path_factory):
    """Returns a function that runs a proof over the odd products: its arrays."""
    folder = tmp_path_factory.mktemp("proofs")
    pictures, titles = zip(*odd_contents())
    content = {
        "image_bytes": [base64.b64encode(one).decode() for one in pictures],
        "title": titles,
    }
    products = folder / "products.json"
    products.write_text(json.dumps(content))

    def run(proof: str, model: Path, *more: str, python: str = sys.executable):
        out = folder / "out.npz"
        out.unlink(missing_ok=True)
        done = subprocess.run(
            [python, str(HERE / f"{proof}.py"), str(model), str(products), str(out)]
            + list(more),
            cwd=folder, env=plain_environment(), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        with np.load(out) as arrays:
            return dict(arrays)

    return run


def plain_environment() -> dict[str, str]:
    """The environment without what would let a process find simprod_tf."""
    env = {key: one for key, one in os.environ.items() if key != "PYTHONPATH"}
    return {**env, "TF_CPP_MIN_LOG_LEVEL": "3"}


def assert_as_trained(found, expected, *, prefix=""):
    """Embeddings equal to training's, and the two bad pictures' rows alone marked."""
    assert found[f"{prefix}embedding"].shape == expected.shape
    assert np.abs(found[f"{prefix}embedding"] - expected).max() < TOLERANCE
    is_valid = [row not in FAULTS for row in range(len(expected))]
    assert found[f"{prefix}valid"].tolist() == is_valid
    for row, fault in enumerate(found[f"{prefix}fault"]):
        assert (FAULTS[row] in fault) if row in FAULTS else (fault == b"")


def assert_neighbours(found, *, prefix):
    """Every known product finds itself, at distance 0; the others find none."""
    ids, distances = found[f"{prefix}id"], found[f"{prefix}distance"]
    for row in range(len(ids)):
        is_known = row not in FAULTS and row != 5
        assert ids[row, 0] == (f"p{row}".encode() if is_known else b"")
        assert distances[row, 0] == pytest.approx(0, abs=1e-4) or not is_known
        assert np.isfinite(distances[row]).all() == is_known
    is_valid = [row not in FAULTS for row in range(len(ids))]
    assert found[f"{prefix}valid"].tolist() == is_valid


def test_by_the_c_api_which_is_what_tf_serving_loads_with(prove, model, expected):
    found = prove("proof_c_api", model, "serving_default", "embed")
    for key in ("serving_default", "embed"):
        assert_as_trained(found, expected, prefix=f"{key}/")
        assert found[f"{key}/empty/embedding"].shape == (0, expected.shape[1])
        assert found[f"{key}/empty/fault"].shape == (0,)


@pytest.mark.slow
def test_neighbours_by_the_c_api(prove, neighbours):
    found = prove("proof_c_api", neighbours, "neighbours_of_product")
    assert_neighbours(found, prefix="neighbours_of_product/")
    assert found["neighbours_of_product/empty/id"].shape == (0, 3)


@pytest.mark.slow
def test_by_the_v1_loader(prove, model, neighbours, expected):
    found = prove("proof_v1", model)
    for key in ("serving_default", "embed"):
        assert_as_trained(found, expected, prefix=f"{key}/")
        assert found[f"{key}/empty/embedding"].shape == (0, expected.shape[1])
    found = prove("proof_v1", neighbours)
    assert_neighbours(found, prefix="neighbours_of_product/")


def assert_in_every_form_of_tensorflow_2(found, trained, expected):
    for key in ("serving_default", "embed"):
        assert_as_trained(found, expected, prefix=f"{key}/")
    assert found["embed/empty/embedding"].shape == (0, expected.shape[1])
    assert found["call/empty"].shape == (0, expected.shape[1])
    for form in ("call", "call/training=False", "map", "distributed"):
        assert found[form].shape == expected.shape
        assert np.abs(found[form] - expected).max() < TOLERANCE
    assert found["replicas"] == 2
    num_all = len(trained.model.weights)
    num_trainable = len(trained.model.trainable_weights)
    assert found["variables"].tolist() == [num_all, num_trainable]


@pytest.mark.slow
def test_by_the_loader_of_tensorflow_2(prove, model, trained, expected):
    found = prove("proof_tf2", model)
    assert_in_every_form_of_tensorflow_2(found, trained, expected)


@pytest.mark.slow
def test_by_saved_model_cli(model, expected, tmp_path):
    cli = str(Path(sys.executable).with_name("saved_model_cli"))
    shown = subprocess.run(
        [cli, "show", "--dir", str(model), "--all"],
        check=True, capture_output=True, text=True, env=plain_environment(),
    ).stdout  # fmt: skip
    for name in ("embed", "embed_features", "embed_image_tensor", "distance"):
        assert f"signature_def['{name}']" in shown
    assert "inputs['image_bytes'] tensor_info" in shown
    pictures, titles = zip(*odd_contents())
    np.save(tmp_path / "pictures.npy", np.array(pictures, object))
    common = [cli, "run", "--dir", str(model), "--tag_set", "serve",
              "--signature_def", "serving_default", "--overwrite"]  # fmt: skip
    expression = f"title={list(titles)!r}"
    out = tmp_path / "out"
    subprocess.run(
        [*common, "--inputs", f"image_bytes={tmp_path / 'pictures.npy'}",
         "--input_exprs", expression, "--outdir", str(out)],
        check=True, capture_output=True, env=plain_environment(),
    )  # fmt: skip
    found = {
        name: np.load(out / f"{name}.npy", allow_pickle=True)
        for name in ("embedding", "valid", "fault")
    }
    assert_as_trained(found, expected)


@pytest.fixture(scope="session")
def other_tensorflow(tmp_path_factory) -> str:
    """The Python of a new environment with TensorFlow 2.20, Keras 3 and hub."""
    folder = tmp_path_factory.mktemp("tensorflow-2.20")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for packages in (OTHER_TENSORFLOW, ["--no-deps", *BESIDE_IT]):
        done = subprocess.run([*pip, *packages], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"{packages} cannot be installed: {done.stderr[-1500:]}")
    return python


@pytest.mark.slow
def test_by_tensorflow_2_20(prove, model, trained, expected, other_tensorflow):
    found = prove("proof_v1", model, python=other_tensorflow)
    assert_as_trained(found, expected, prefix="embed/")
    found = prove("proof_tf2", model, python=other_tensorflow)
    assert_in_every_form_of_tensorflow_2(found, trained, expected)


@pytest.mark.slow
def test_as_a_layer_of_keras_3(prove, model, expected, other_tensorflow):
    found = prove("proof_keras3", model, python=other_tensorflow)
    assert found["versions"][0] == b"2.20.0"
    assert np.abs(found["embedding"] - expected).max() < TOLERANCE
    assert np.array_equal(found["doubled"], 2 * found["embedding"])


@pytest.mark.slow
def test_as_a_trainable_layer_of_tensorflow_hub(
    prove, model, trained, expected, other_tensorflow
):
    found = prove("proof_hub", model, python=other_tensorflow)
    assert np.abs(found["embedding"] - expected).max() < TOLERANCE
    assert found["trainable"] == len(trained.model.trainable_weights)
    known = expected.any(axis=1)
    moved = np.abs(found["trained"] - found["embedding"]).max(axis=1)
    assert (moved[known] > 1e-3).all()
    assert (moved[~known] == 0).all()
