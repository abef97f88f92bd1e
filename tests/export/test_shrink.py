"""Smaller forms of an encoder: what they answer, what they hold, what they refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simprod_tf.data.catalog import Product
from simprod_tf.errors import ModelError
from simprod_tf.export import SavedEncoder
from simprod_tf.export.float16 import rounded_to_float16
from simprod_tf.export.neighbours import export_exact_neighbours
from simprod_tf.export.shrink import export_batch_1, export_float16
from simprod_tf.export.tflite import TfliteEncoder, export_tflite
from simprod_tf.features.product_inputs import (
    CategoryInput,
    NumberInput,
    ProductInputs,
    TextInput,
)
from simprod_tf.index import ExactIndex
from simprod_tf.model.encoder import EncoderSettings, build_head
from simprod_tf.model.image_tower import ImageTower
from simprod_tf.model.source import (
    CategorySource,
    NumberSource,
    TextSource,
    VectorSource,
)
from simprod_tf.trained import TrainedEncoder

INPUTS = ProductInputs(
    TextInput(("red", "mug", "350ml"), "ngrams", 50),
    (CategoryInput("brand", ("acme", "bolt")),),
    (NumberInput("price"),),
)
DECISION = {"max_distance": 0.5}


def build_trained(seed: int) -> TrainedEncoder:
    tf.keras.utils.set_random_seed(seed)
    image = tf.keras.Input([32, 32, 3])
    x = tf.keras.layers.Rescaling(1 / 255)(image)
    x = tf.keras.layers.Conv2D(64, 3, 2, activation="relu", name="conv")(x)
    x = tf.keras.layers.BatchNormalization()(x)
    x = tf.keras.layers.GlobalAveragePooling2D()(x)
    tower = ImageTower("tiny", tf.keras.Model(image, x), 32, 36)
    vectors = np.random.default_rng(seed).normal(size=(3, 64)).astype(np.float32)
    sources = [
        VectorSource("tiny", 64, "image"),
        TextSource(vectors, buckets=50),
        CategorySource("brand", 2),
        NumberSource("price", (1.0, 5.0, 20.0)),
    ]
    head = build_head(sources, EncoderSettings(embedding_dim=64))
    for weight in head.trainable_weights:
        weight.assign_add(tf.random.normal(weight.shape, stddev=0.05, seed=2))
    return TrainedEncoder(head, (tower,), INPUTS, {"decision": DECISION})


@pytest.fixture(scope="module")
def trained() -> TrainedEncoder:
    return replace(build_trained(1), details={})


@pytest.fixture(scope="module")
def rounded(trained) -> TrainedEncoder:
    return rounded_to_float16(trained)


@pytest.fixture(scope="module")
def products(tmp_path_factory) -> list[Product]:
    folder = tmp_path_factory.mktemp("pictures")
    coarse = np.random.default_rng(0).integers(0, 255, (5, 4, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((90, 70), Image.Resampling.BICUBIC)
    picture.save(folder / "a.jpg")
    picture.convert("L").save(folder / "b.png")
    return [
        Product("a", "Red mug, 350 ml", str(folder / "a.jpg")),
        Product("b", "", str(folder / "b.png"), attributes={"price": "3"}),
        Product("c", "a mug", attributes={"brand": "ACME", "price": "7"}),
        Product("d", "", str(folder / "a.jpg")),
        Product("e"),
    ]


@pytest.fixture(scope="module")
def half(trained, tmp_path_factory) -> Path:
    return export_float16(trained, tmp_path_factory.mktemp("models") / "half")


@pytest.fixture(scope="module")
def single(trained, tmp_path_factory) -> Path:
    return export_batch_1(trained, tmp_path_factory.mktemp("models") / "single")


@pytest.fixture(scope="module")
def tflite(trained, tmp_path_factory) -> Path:
    return export_tflite(trained, tmp_path_factory.mktemp("models") / "tflite")


def test_matrices_are_rounded_and_all_else_is_kept(trained, rounded):
    for before, after in ((trained, rounded), (rounded, rounded_to_float16(rounded))):
        models = [(before.head, after.head)]
        models += [(a.model, b.model) for a, b in zip(before.towers, after.towers)]
        for old, new in models:
            for weight, found in zip(old.get_weights(), new.get_weights()):
                is_matrix = weight.ndim >= 2
                expected = np.float32(np.float16(weight)) if is_matrix else weight
                assert (found == expected).all()


def test_a_rounded_encoder_is_another_one_but_rounding_again_changes_nothing(
    trained, rounded
):
    assert rounded.fingerprint != trained.fingerprint
    assert rounded.details["float16_of"] == trained.fingerprint
    assert rounded_to_float16(rounded).fingerprint == rounded.fingerprint
    assert trained.fingerprint == build_trained(1).fingerprint


def test_the_threshold_of_the_first_encoder_is_not_the_rounded_ones():
    first = build_trained(1)
    told = rounded_to_float16(first).details["decision"]["refused"]
    assert told == (
        f"the threshold was chosen for encoder {first.fingerprint}, before its weights "
        "were rounded to float16"
    )
    assert "decision" not in rounded_to_float16(replace(first, details={})).details


def test_a_weight_beyond_float16_is_refused():
    large = build_trained(1)
    weights = large.head.get_weights()
    place = next(i for i, one in enumerate(weights) if one.ndim == 2)
    weights[place][0, 0] = -7e4
    large.head.set_weights(weights)
    with pytest.raises(ModelError, match="reaches 70000; float16 ends at 65504"):
        rounded_to_float16(large)


@pytest.mark.slow
def test_float16_answers_as_the_rounded_encoder(
    trained, rounded, half, products, tmp_path
):
    saved = SavedEncoder(half)
    found = saved.encode(products)
    assert np.abs(found - rounded.encode(products)).max() < 1e-5
    apart = np.abs(found - trained.encode(products)).max()
    assert 1e-5 < apart < 3e-3
    assert saved.fingerprint == rounded.fingerprint
    # Two in one process are apart.
    again = SavedEncoder(half)
    assert (again.encode(products) == found).all()
    del again
    assert (saved.encode(products) == found).all()


@pytest.mark.slow
def test_float16_halves_the_variables_and_keeps_the_signatures(trained, half):
    data = half / "variables" / "variables.data-00000-of-00001"
    num_bytes = sum(weight.nbytes for weight in trained.model.get_weights())
    assert 0.5 * num_bytes < data.stat().st_size < 0.6 * num_bytes
    manifest = json.loads((half / "manifest.json").read_text())
    assert manifest["float16_of"] == trained.fingerprint
    loaded = tf.saved_model.load(str(half))
    wanted = {"embed", "embed_features", "embed_image_tensor", "distance"}
    assert set(loaded.signatures) == {"serving_default", *wanted}
    assert set(manifest["signatures"]) == set(loaded.signatures)
    assert len(loaded.trainable_variables) == 0
    kept = {one.name: one.dtype for one in loaded.variables}
    assert kept["conv/kernel:0"] == tf.float16
    assert kept["conv/bias:0"] == tf.float32


@pytest.mark.slow
def test_float16_is_callable_mappable_and_serves_neighbours(
    rounded, half, products, tmp_path
):
    raw = {
        "image_bytes": tf.constant([b"", Path(products[0].image).read_bytes()]),
        "title": tf.constant(["a mug", ""]),
        "brand": tf.constant(["ACME", ""]),
        "price": tf.constant([7.0, np.nan]),
    }
    expected = rounded.encode([products[2], products[3]])
    loaded = tf.saved_model.load(str(half))
    for training in (False, True):
        found = loaded(raw, training=training).numpy()
        assert np.abs(found - expected).max() < 1e-5
    mapped = next(iter(tf.data.Dataset.from_tensors(raw).map(loaded)))
    assert np.abs(mapped.numpy() - expected).max() < 1e-5
    index = ExactIndex.build(
        ["c", "d"], expected, encoder_fingerprint=rounded.fingerprint
    )
    model = export_exact_neighbours(index, tmp_path / "n", encoder_folder=half, k=1)
    searched = tf.saved_model.load(str(model))
    ask = searched.signatures["neighbours_of_product"]
    assert ask(**raw)["id"].numpy().tolist() == [[b"c"], [b"d"]]


VERSION_1 = """
import sys
import numpy as np
import tensorflow as tf
picture = open(sys.argv[2], "rb").read()
rows = [
    (picture, "Red mug, 350 ml", "", np.nan), (b"", "a mug", "ACME", 7.0),
    (b"RIFF0000WEBP", "red", "", np.nan),
]
out = []
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.load(session, ["serve"], sys.argv[1])
    signature = meta.signature_def["serving_default"]
    def ask(rows):
        columns = dict(zip(("image_bytes", "title", "brand", "price"), zip(*rows)))
        feed = {
            one.name: np.array(columns[name], np.float32 if name == "price" else object)
            for name, one in signature.inputs.items()
        }
        return session.run(
            {name: one.name for name, one in signature.outputs.items()}, feed
        )
    out = [ask([row]) for row in rows]
    if sys.argv[4] == "1":
        try:
            ask(rows)
        except ValueError as error:
            assert "(1,)" in str(error), error
        else:
            raise SystemExit("a batch of 3 was taken")
np.savez(
    sys.argv[3],
    embedding=[one["embedding"][0] for one in out],
    valid=[one["valid"][0] for one in out],
)
assert "simprod_tf" not in sys.modules
"""


def asked_by_v1(model: Path, picture: str, out: Path, *, batch: int | None) -> dict:
    subprocess.run(
        [sys.executable, "-c", VERSION_1, str(model), picture, str(out), str(batch)],
        check=True,
    )
    with np.load(out) as arrays:
        return dict(arrays)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["half", "single"])
def test_a_process_with_tensorflow_alone_gets_the_same(
    form, trained, rounded, products, tmp_path, request
):
    model = request.getfixturevalue(form)
    batch = 1 if form == "single" else None
    found = asked_by_v1(model, products[0].image, tmp_path / "o.npz", batch=batch)
    encoder = trained if form == "single" else rounded
    expected = encoder.encode([products[0], products[2]])
    assert np.abs(found["embedding"][:2] - expected).max() < 1e-5
    assert found["valid"].tolist() == [True, True, False]
    assert (found["embedding"][2] == 0).all()


@pytest.mark.slow
def test_batch_1_holds_constants_and_is_no_exported_encoder(trained, single):
    manifest = json.loads((single / "manifest.json").read_text())
    assert manifest["fingerprint"] == trained.fingerprint
    assert set(manifest["signatures"]) == {"serving_default", "embed"}
    loaded = tf.saved_model.load(str(single))
    shape = loaded.signatures["embed"].structured_outputs["embedding"].shape
    assert shape == (1, 64)
    assert (single / "variables" / "variables.index").stat().st_size < 500
    with pytest.raises(ModelError, match="holds exported encoder of batch 1, not: exp"):
        SavedEncoder(single)
    with pytest.raises(ModelError, match="batch 1, not: exported TFLite encoder"):
        export_tflite(trained, single.parent)


@pytest.mark.slow
def test_tflite_answers_nearly_as_the_encoder(trained, tflite, products):
    encoder = TfliteEncoder(tflite.parent)
    done = []
    found = encoder.encode(products, progress=lambda *one: done.append(one))
    expected = trained.encode(products)
    assert np.linalg.norm(found - expected, axis=1).max() < 0.1
    assert np.allclose(np.linalg.norm(found, axis=1), [1, 1, 1, 1, 0], atol=1e-5)
    assert np.array_equal(TfliteEncoder(tflite).encode(products), found)
    assert done[-1] == (5, 5)
    assert encoder.encode([]).shape == (0, 64)
    assert encoder.fingerprint != trained.fingerprint
    assert encoder.manifest["made_of"] == trained.fingerprint


@pytest.mark.slow
def test_what_tflite_cannot_do_is_named(trained, tflite, tmp_path):
    image = tf.keras.Input([32, 32, 3])
    x = tf.keras.layers.Lambda(lambda one: tf.math.special.bessel_j0(one[:, 0, :, 0]))(
        image
    )
    tower = ImageTower("tiny", tf.keras.Model(image, tf.repeat(x, 2, 1)), 32, 36)
    with pytest.raises(ModelError, match="TFLite has no op for a part"):
        export_tflite(replace(trained, towers=(tower,)), tmp_path / "a")
    assert not list((tmp_path).glob("a/*"))
    (tmp_path / "b").mkdir()
    for file in tflite.iterdir():
        (tmp_path / "b" / file.name).write_bytes(file.read_bytes()[:5000])
    (tmp_path / "b" / "model.tflite").write_bytes(b"cut")
    with pytest.raises(ModelError, match="cannot be loaded"):
        TfliteEncoder(tmp_path / "b")
    with pytest.raises(ModelError, match="holds no SavedModel"):
        TfliteEncoder(tmp_path / "none")
