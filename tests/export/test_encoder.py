"""The SavedModel answers as training does, and where only TensorFlow is imported."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from simprod_tf.data.catalog import Product
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import FingerprintError, InputError, ModelError
from simprod_tf.export import (
    SavedEncoder,
    export_encoder,
    latest_version,
    model_versions,
)
from simprod_tf.features.image import read_pictures
from simprod_tf.features.product_inputs import (
    CategoryInput,
    NumberInput,
    ProductInputs,
    TextInput,
    VectorInput,
)
from simprod_tf.manifest import write_manifest
from simprod_tf.matching.calibration import Calibration
from simprod_tf.matching.decision import Decision
from simprod_tf.matching.decisions import Decisions
from simprod_tf.model.encoder import EncoderSettings, build_head
from simprod_tf.model.image_tower import ImageTower, build_image_tower
from simprod_tf.model.source import (
    CategorySource,
    NumberSource,
    TextSource,
    VectorSource,
)
from simprod_tf.trained import TrainedEncoder

ALL_INPUTS = ProductInputs(
    TextInput(("red", "mug"), "ngrams", 7),
    (CategoryInput("Brand", ("acme", "bolt")),),
    (NumberInput("price"),),
    (VectorInput("clip", 2),),
)


@pytest.fixture(scope="module")
def of_everything(with_random_weights):
    """Two towers of different sizes, n-grams, a category, a number, vectors."""
    tf.keras.utils.set_random_seed(3)
    small = build_image_tower("small")
    image = tf.keras.Input([30, 30, 3])
    mean = tf.keras.layers.GlobalAveragePooling2D()(image)
    towers = (small, ImageTower("mean", tf.keras.Model(image, mean), 30, 40))
    vectors = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
    sources = [
        *(VectorSource(one.name, one.dim, "image") for one in towers),
        TextSource(vectors, buckets=7),
        CategorySource("brand", 2),
        NumberSource("price", (1.0, 5.0, 20.0)),
        VectorSource("clip", 2, "clip"),
    ]
    head = build_head(sources, EncoderSettings(12, modality_dropout=0.2))
    return TrainedEncoder(with_random_weights(head), towers, ALL_INPUTS)


@pytest.fixture(scope="module")
def saved(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "shop"
    export_encoder(trained, folder)
    return folder


@pytest.fixture(scope="module")
def loaded(saved):
    return tf.saved_model.load(str(saved / "1"))


@pytest.fixture
def odd_products(tmp_path, make_picture):
    rgb = make_picture(5)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = {
        "jpeg": (rgb, "JPEG", {}),
        "grey": (rgb.convert("L"), "JPEG", {}),
        "cmyk": (rgb.convert("CMYK"), "JPEG", {}),
        "rotated": (rgb, "JPEG", {"exif": exif}),
        "rgba": (Image.merge("RGBA", (*rgb.split(), rgb.convert("L"))), "PNG", {}),
        "pixel": (Image.new("RGB", (1, 1), (200, 30, 30)), "PNG", {}),
        "gif": (rgb, "GIF", {}),
        "large": (rgb.resize((900, 300)), "JPEG", {}),
    }
    products = [Product("title only", "Red mug, 350 ml")]
    for name, (picture, kind, how) in kinds.items():
        path = tmp_path / f"{name}.{kind.lower()}"
        picture.save(path, kind, **how)
        products.append(Product(name, "", str(path)))
        products.append(Product(f"{name}, titled", "a red thing", str(path)))
        products.append(Product(f"{name}, unknown words", "qwerty", str(path)))
    return products


def test_the_saved_model_answers_as_the_training_pipeline_does(
    trained, saved, odd_products
):
    expected = trained.encode(odd_products)
    found = SavedEncoder(saved).encode(odd_products, batch_size=4)
    assert np.abs(found - expected).max() < 1e-5
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert len(np.unique(found.round(4), axis=0)) > len(odd_products) / 2


def test_a_product_of_which_nothing_is_known_gets_zeros(trained, saved):
    nothing = [Product("a"), Product("b", "qwerty")]
    assert (trained.encode(nothing) == 0).all()
    assert (SavedEncoder(saved).encode(nothing) == 0).all()


def test_no_product_gives_no_embedding(saved):
    assert SavedEncoder(saved).encode([]).shape == (0, 16)


def test_a_trained_encoder_comes_back_the_same(trained, tmp_path, odd_products):
    trained.save(tmp_path)
    again = TrainedEncoder.load(tmp_path)
    assert again.fingerprint == trained.fingerprint
    assert again.vocabulary == trained.vocabulary
    assert again.details["decision"] == {"refused": "no pairs"}
    assert (again.encode(odd_products) == trained.encode(odd_products)).all()


@pytest.mark.slow
def test_sources_of_every_kind_answer_alike_in_training_and_serving(
    of_everything, tmp_path, picture
):
    products = [
        Product("a", "red teapot", str(picture), attributes={"price": "3"}),
        Product("b", "", attributes={"Brand": "BOLT"}),
        Product("c"),
        Product("d", "mug", attributes={"Brand": "new", "price": "99"}),
    ]
    tables = {"clip": VectorTable("clip", ["d", "c"], np.array([[1.0, 2], [3, 4]]))}
    expected = of_everything.encode(products, tables=tables)
    assert np.allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)
    of_everything.save(tmp_path)
    again = TrainedEncoder.load(tmp_path)
    assert (again.encode(products, tables=tables) == expected).all()
    export_encoder(of_everything, tmp_path / "m")
    saved = SavedEncoder(tmp_path / "m")
    found = saved.encode(products, tables=tables, batch_size=3)
    assert np.abs(found - expected).max() < 1e-5
    assert (saved.encode([Product("c")]) == 0).all()
    assert saved.manifest["signatures"]["serving_default"]["inputs"] == {
        "image_bytes": "string [B]", "title": "string [B]", "brand": "string [B]",
        "price": "float32 [B]", "clip": "float32 [B, 2]",
    }  # fmt: skip
    for name in ("Brand", "price"):
        without = [replace(products[3], attributes={})]
        one = [
            replace(products[3], attributes={name: {"Brand": "acme"}.get(name, "2")})
        ]
        assert np.abs(saved.encode(one) - saved.encode(without)).max() > 1e-3


def test_the_fingerprint_tells_weights_words_and_preprocessing(trained):
    words = replace(trained, inputs=ProductInputs(TextInput(("mug", "red", "350ml"))))
    cut = replace(trained.towers[0], resize_to=70)
    pixels = replace(trained, towers=(cut,))
    head = tf.keras.models.clone_model(trained.head)
    head.set_weights(trained.head.get_weights())
    same = replace(trained, head=head)
    prints = {one.fingerprint for one in (trained, words, pixels)}
    assert len(prints) == 3
    assert same.fingerprint == trained.fingerprint
    weights = head.get_weights()
    weights[0] = weights[0] + 1e-6
    head.set_weights(weights)
    assert same.fingerprint not in prints


def test_what_does_not_belong_together_is_refused(trained, tmp_path):
    trained.save(tmp_path)
    (tmp_path / "vocabulary.txt").write_text("red\nmug\n500ml\n")
    with pytest.raises(FingerprintError, match=trained.fingerprint):
        TrainedEncoder.load(tmp_path)
    (tmp_path / "head.keras").write_bytes(b"cut short")
    with pytest.raises(ModelError, match="cannot be loaded"):
        TrainedEncoder.load(tmp_path)
    with pytest.raises(ModelError, match="holds no trained encoder"):
        TrainedEncoder.load(tmp_path / "none")


def test_versions_count_up_and_the_newest_is_loaded(
    trained, saved, tmp_path, monkeypatch
):
    monkeypatch.setattr("simprod_tf.export.encoder.write_warmup", lambda folder: None)
    folder = tmp_path / "shop"
    assert model_versions(folder) == []
    shutil.copytree(saved / "1", folder / "1")
    (folder / "9").mkdir()
    assert export_encoder(trained, folder) == folder / "10"
    assert latest_version(folder) == folder / "10"
    assert latest_version(folder / "1") == folder / "1"
    with pytest.raises(ModelError, match="holds no SavedModel"):
        latest_version(tmp_path / "none")


def test_the_manifest_goes_with_the_model(trained, saved):
    manifest = json.loads((saved / "1" / "manifest.json").read_text())
    assert manifest["fingerprint"] == trained.fingerprint
    assert manifest["dim"] == 16
    assert manifest["decision"] == {"refused": "no pairs"}
    assert manifest["has_probability"] is False
    words = hashlib.sha256(b"red\nmug\n350ml").hexdigest()
    assert manifest["vocabulary"] == {"num_words": 3, "sha256": words}
    assert manifest["pictures"] == {
        "formats": ["JPEG", "PNG", "GIF", "BMP"],
        "max_pixels": 64_000_000,
        "towers": {"small": {"image_size": 64, "resize_to": 64}},
    }
    assert manifest["tensorflow"] == tf.__version__


def test_the_manifest_describes_every_signature(saved, loaded):
    signatures = json.loads((saved / "1" / "manifest.json").read_text())["signatures"]
    assert set(signatures) == set(loaded.signatures)
    told = {"valid": "bool [B]", "fault": "string [B]"}
    raw = {"image_bytes": "string [B]", "title": "string [B]"}
    embed = {"inputs": raw, "outputs": {"embedding": "float32 [B, 16]", **told}}
    assert signatures["serving_default"] == signatures["embed"] == embed
    assert signatures["embed_features"]["inputs"] == {
        "small_features": "float32 [B, 576]", "title": "string [B]",
    }  # fmt: skip
    assert signatures["embed_image_tensor"]["inputs"] == {
        "image": "uint8 [B, any, any, 3]", "title": "string [B]",
    }  # fmt: skip
    assert signatures["distance"]["outputs"] == {
        "distance": "float32 [B]", "valid": "bool [B]",
        "a_fault": "string [B]", "b_fault": "string [B]",
    }  # fmt: skip
    for name, function in loaded.signatures.items():
        assert set(function.structured_outputs) == set(signatures[name]["outputs"])


def test_the_graph_has_stock_ops_no_compiled_ones_and_no_paths(saved, tmp_path_factory):
    content = (saved / "1" / "saved_model.pb").read_bytes()
    graph = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].graph_def
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    assert [n.op for n in nodes if "Py" in n.op or ">" in n.op] == []
    functions = graph.library.function
    assert not any(f.attr["_XlaMustCompile"].b for f in functions)
    for path in (Path.home(), Path.cwd(), tmp_path_factory.getbasetemp()):
        assert str(path).encode() not in content


def test_the_model_is_called_as_a_function_and_trained_further(
    trained, loaded, odd_products
):
    some = [product for product in odd_products if product.title][:6]
    raw = {
        "image_bytes": tf.constant(read_pictures([one.image for one in some])),
        "title": tf.constant([one.title for one in some]),
    }
    expected = trained.encode(some)
    assert np.abs(loaded(raw) - expected).max() < 1e-5
    assert np.abs(loaded(raw, training=False) - expected).max() < 1e-5
    # Dropout: one product in training differs from itself.
    assert np.abs(loaded(raw, training=True) - expected).max() > 1e-3
    assert len(loaded.variables) == len(trained.model.variables)
    assert len(loaded.trainable_variables) == len(trained.model.trainable_variables)
    assert list(loaded.regularization_losses) == []
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(loaded(raw, training=True) * tf.range(16.0))
    gradients = tape.gradient(loss, list(loaded.trainable_variables))
    moved = [float(tf.norm(one)) > 0 for one in map(tf.convert_to_tensor, gradients)]
    assert all(moved)
    per_row = tf.data.Dataset.from_tensors(raw).map(loaded)
    assert np.abs(next(iter(per_row)) - expected).max() < 1e-5


def test_probabilities_come_from_the_decisions_that_are_given(
    trained, tmp_path, monkeypatch
):
    monkeypatch.setattr("simprod_tf.export.encoder.write_warmup", lambda folder: None)
    given = Decision(
        0.5, 0.9, 0.95, 0.91, 0.8, 100, 50, 40, 0.5, 0.1, "given", 0.95, "m", "",
        trained.fingerprint, Calibration(-9.0, 4.0), {},
    )  # fmt: skip
    decisions = Decisions(trained.fingerprint, {"both": given}, {})
    folder = export_encoder(trained, tmp_path / "m", decisions=decisions)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["has_probability"] is True
    assert Decision.from_json(manifest["decision"]) == given
    outputs = manifest["signatures"]["distance"]["outputs"]
    assert outputs["probability"] == "float32 [B]"
    other = replace(given, encoder_fingerprint="0ther")
    with pytest.raises(FingerprintError, match="for the encoder 0ther, got"):
        export_encoder(
            trained,
            tmp_path / "n",
            decisions=replace(decisions, by_view={"both": other}),
        )
    damaged = replace(trained, details={"decision": {"max_distance": 1}})
    with pytest.raises(ModelError, match="A saved decision has the fields"):
        export_encoder(damaged, tmp_path / "n")
    assert not (tmp_path / "n").exists()


def test_pictures_that_cannot_be_used_are_named(saved, tmp_path, picture):
    encoder = SavedEncoder(saved)
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(picture.read_bytes()[:300])
    products = [Product("a", "", str(picture)), Product("b", "", str(bad))]
    with pytest.raises(
        InputError,
        match="bad.jpg: the picture cannot be decoded: the JPEG is damaged or cut",
    ):
        encoder.encode(products)
    with pytest.raises(InputError, match="gone.jpg: the picture cannot be read"):
        encoder.encode([Product("c", "", str(tmp_path / "gone.jpg"))])


def test_a_damaged_saved_model_is_refused(saved, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    (copy / "1" / "variables" / "variables.index").write_bytes(b"")
    with pytest.raises(ModelError, match="cannot be loaded"):
        SavedEncoder(copy)


def test_a_folder_of_other_models_is_left_alone(trained, tmp_path):
    other = tmp_path / "shop" / "1"
    other.mkdir(parents=True)
    write_manifest(other, {"kind": "exported neighbours"})
    with pytest.raises(ModelError, match="exported neighbours, not: exported encoder"):
        export_encoder(trained, tmp_path / "shop")
    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["1"]
