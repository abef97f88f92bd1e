"""The index as a SavedModel answers as the index does, where TensorFlow is all."""

from __future__ import annotations

import json
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import simprod_tf.export.neighbours as export_index
from simprod_tf.data.catalog import Product
from simprod_tf.errors import FingerprintError, ModelError
from simprod_tf.export import SavedEncoder, export_encoder
from simprod_tf.export.neighbours import (
    export_exact_neighbours,
    export_scann_neighbours,
)
from simprod_tf.features.product_inputs import ProductInputs, TextInput
from simprod_tf.index import ExactIndex
from simprod_tf.model.encoder import EncoderSettings, build_head
from simprod_tf.model.image_tower import ImageTower
from simprod_tf.model.source import TextSource, VectorSource
from simprod_tf.trained import TrainedEncoder


@pytest.fixture(scope="module")
def index():
    """Sixty-six products; of encoder `f`."""
    vectors = np.random.default_rng(0).normal(size=(66, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"p{row}" for row in range(66)]
    extra = {"decision": {"max_distance": 0.4}}
    return ExactIndex.build(ids, vectors, encoder_fingerprint="f", extra=extra)


@pytest.fixture(scope="module")
def saved(index, tmp_path_factory):
    """The folder of version 1."""
    return export_exact_neighbours(
        index, tmp_path_factory.mktemp("models") / "neighbours", k=5
    )


@pytest.fixture
def damaged_encoder(tmp_path):
    """An exported encoder `f` whose manifest alone can be read."""
    folder = tmp_path / "shop" / "1"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"no graph")
    content = {
        "kind": "exported encoder",
        "fingerprint": "f",
        "signatures": {"serving_default": {"inputs": {}}},
    }
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder.parent


READER = """
import json, sys
import numpy as np
import tensorflow as tf
module = tf.saved_model.load(sys.argv[1])
asked = json.loads(sys.argv[2])
for name, file in asked["files"].items():
    asked["inputs"][name] = np.load(file, allow_pickle=True).tolist()
inputs = {name: tf.constant(value) for name, value in asked["inputs"].items()}
found = module.signatures[asked["signature"]](**inputs)
ids = [[id.decode() for id in line] for line in found["id"].numpy()]
told = {name: found[name].numpy() for name in {"valid", "fault"} & set(found)}
if told:
    told = {"valid": told["valid"].tolist(),
            "fault": [one.decode() for one in told["fault"]]}
print(json.dumps({"id": ids, "distance": found["distance"].numpy().tolist(), **told}))
assert not {"simprod_tf", "scann", "tensorflow_addons"} & set(sys.modules)
"""


def asked_elsewhere(saved, signature, inputs, files, tmp_path):
    """Returns what a signature answers in a process that imports TensorFlow alone."""
    for name, array in files.items():
        np.save(tmp_path / f"{name}.npy", array)
    paths = {name: str(tmp_path / f"{name}.npy") for name in files}
    question = {"signature": signature, "inputs": inputs, "files": paths}
    done = subprocess.run(
        [sys.executable, "-c", READER, str(saved), json.dumps(question)],
        check=True, cwd=tmp_path, stdout=subprocess.PIPE,
    )  # fmt: skip
    return json.loads(done.stdout)


def assert_same(found, expected):
    """Compares the ids and distances of a signature with the index's matches."""
    assert found["id"] == [[match.id for match in line] for line in expected]
    distances = [[match.distance for match in line] for line in expected]
    np.testing.assert_allclose(found["distance"], distances, atol=1e-5)


@pytest.mark.parametrize(
    ("num_queries", "signature"), [(1, "neighbours"), (3, "serving_default")]
)
def test_every_batch_gets_the_answers_of_the_index(
    index, saved, num_queries, signature
):
    queries = np.random.default_rng(1).normal(size=(num_queries, 16)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    module = tf.saved_model.load(str(saved))
    found = module.signatures[signature](embedding=tf.constant(queries))
    ids = [[id.decode() for id in line] for line in found["id"].numpy()]
    found = {"id": ids, "distance": found["distance"].numpy()}
    assert_same(found, index.search(queries, k=5))


def test_a_process_with_tensorflow_alone_gets_the_answers_of_the_index(
    index, saved, tmp_path
):
    queries = index.embeddings[:3]
    found = asked_elsewhere(saved, "neighbours", {}, {"embedding": queries}, tmp_path)
    assert_same(found, index.search(queries, k=5))


def test_a_version_1_session_gets_the_same(index, saved):
    queries = index.embeddings[:4]
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(saved))
        signature = meta.signature_def["neighbours"]
        names = {key: tensor.name for key, tensor in signature.outputs.items()}
        found = session.run(names, {signature.inputs["embedding"].name: queries})
    ids = [[id.decode() for id in line] for line in found["id"]]
    assert_same({**found, "id": ids}, index.search(queries, k=5))


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    """An encoder of the mean colour and of four words."""
    tf.keras.utils.set_random_seed(1)
    image = tf.keras.Input([30, 30, 3])
    mean = tf.keras.layers.GlobalAveragePooling2D()(image)
    tower = ImageTower("mean", tf.keras.Model(image, mean), 30, 40)
    vectors = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    sources = [VectorSource("mean", tower.dim, "image"), TextSource(vectors)]
    head = build_head(sources, EncoderSettings(16))
    inputs = ProductInputs(TextInput(("red", "blue", "mug", "bowl")))
    folder = tmp_path_factory.mktemp("models") / "shop"
    export_encoder(TrainedEncoder(head, (tower,), inputs), folder)
    return folder


@pytest.mark.slow
def test_products_are_found_by_the_encoder_within(encoder_folder, picture, tmp_path):
    encoder = SavedEncoder(encoder_folder)
    titles = ["red mug", "blue mug", "red bowl", "blue bowl", "mug", "red blue"]
    embeddings = encoder.encode([Product(title, title) for title in titles])
    fingerprint = encoder.fingerprint
    index = ExactIndex.build(titles, embeddings, encoder_fingerprint=fingerprint)
    out = tmp_path / "neighbours"
    folder = export_exact_neighbours(index, out, encoder_folder=encoder_folder, k=5)
    inputs = {"title": ["red mug", "", "red mug", "blue bowl"]}
    contents = [b"", b"", b"no picture", picture.read_bytes()]
    pictures = {"image_bytes": np.array(contents, object)}
    found = asked_elsewhere(folder, "neighbours_of_product", inputs, pictures, tmp_path)
    assert found.pop("valid") == [True, True, False, True]
    assert found.pop("fault") == ["", "", mock.ANY, ""]
    # Of those between nothing is known, or the picture cannot be used.
    for _ in range(2):
        assert found["id"].pop(1) == [""] * 5
        assert found["distance"].pop(1) == [np.inf] * 5
    products = [Product("a", "red mug"), Product("b", "blue bowl", str(picture))]
    expected = index.search(encoder.encode(products), k=5)
    assert_same(found, expected)
    assert found["id"][0][0] == "red mug"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["signatures"]["neighbours_of_product"] == {
        "inputs": {"image_bytes": "string [B]", "title": "string [B]"},
        "outputs": {
            "id": "string [B, 5]",
            "distance": "float32 [B, 5]",
            "valid": "bool [B]",
            "fault": "string [B]",
        },
    }
    assert odd_ops(folder) == set()


def ops_of(folder):
    """Returns the names of all ops in a SavedModel, those of its functions too."""
    content = saved_model_pb2.SavedModel()
    content.ParseFromString((folder / "saved_model.pb").read_bytes())
    graph = content.meta_graphs[0].graph_def
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    return {node.op for node in nodes}


def odd_ops(folder):
    """Returns those that a stock TF Serving lacks: Python's, Addons', ScaNN's."""
    return {op for op in ops_of(folder) if "Py" in op or ">" in op or "Scann" in op}


def test_the_graph_is_made_of_stock_ops(saved):
    assert {"MatMul", "TopKV2"} <= ops_of(saved)
    assert odd_ops(saved) == set()


def test_the_manifest_tells_what_is_inside(saved):
    manifest = json.loads((saved / "manifest.json").read_text())
    outputs = {"id": "string [B, 5]", "distance": "float32 [B, 5]"}
    of_embedding = {"inputs": {"embedding": "float32 [B, 16]"}, "outputs": outputs}
    assert manifest["kind"] == "exported neighbours"
    assert manifest["encoder_fingerprint"] == "f"
    assert (manifest["n"], manifest["dim"], manifest["k"]) == (66, 16, 5)
    assert manifest["extra"] == {"decision": {"max_distance": 0.4}}
    assert manifest["signatures"] == {
        "serving_default": of_embedding, "neighbours": of_embedding,
    }  # fmt: skip
    module = tf.saved_model.load(str(saved))
    assert set(module.signatures) == set(manifest["signatures"])


def test_k_above_the_number_of_products_gives_all_of_them(index, tmp_path):
    folder = export_exact_neighbours(index, tmp_path / "n", k=100)
    module = tf.saved_model.load(str(folder))
    found = module.signatures["neighbours"](embedding=tf.constant(index.embeddings))
    assert found["id"].shape == (66, 66)
    assert json.loads((folder / "manifest.json").read_text())["k"] == 66


def test_versions_count_up_among_their_own_kind(index, damaged_encoder, tmp_path):
    folder = tmp_path / "neighbours"
    assert export_exact_neighbours(index, folder) == folder / "1"
    assert export_exact_neighbours(index, folder) == folder / "2"
    with pytest.raises(ModelError, match="exported neighbours, not: exported ScaNN"):
        export_scann_neighbours(index, folder)
    with pytest.raises(ModelError, match="exported encoder, not: exported neighbours"):
        export_exact_neighbours(index, damaged_encoder)
    assert [path.name for path in damaged_encoder.iterdir()] == ["1"]


def test_an_encoder_that_does_not_serve_is_refused(index, damaged_encoder, tmp_path):
    out = tmp_path / "n"
    other = ExactIndex.build(["a"], index.embeddings[:1], encoder_fingerprint="0ther")
    with pytest.raises(FingerprintError, match="encoder 0ther, but encoder f"):
        export_exact_neighbours(other, out, encoder_folder=damaged_encoder)
    with pytest.raises(ModelError, match="shop/1 cannot be loaded"):
        export_exact_neighbours(index, out, encoder_folder=damaged_encoder)
    with pytest.raises(ModelError, match="holds no SavedModel"):
        export_exact_neighbours(index, out, encoder_folder=tmp_path / "none")
    assert not out.exists()


def test_what_cannot_be_served_is_refused(index, tmp_path, monkeypatch):
    out = tmp_path / "n"
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        export_exact_neighbours(index, out, k=0)
    with pytest.raises(ValueError, match=r"recall lies in \(0, 1\], got 1.5"):
        export_scann_neighbours(index, out, recall=1.5)
    empty = np.zeros((0, 16), np.float32)
    none = ExactIndex.build([], empty, encoder_fingerprint="f")
    with pytest.raises(ModelError, match="index holds no product"):
        export_exact_neighbours(none, out)
    monkeypatch.setattr(export_index, "MAX_EXACT", 65)
    with pytest.raises(ModelError, match=r"holds 66 products; .*--scann"):
        export_exact_neighbours(index, out)
    assert not out.exists()
