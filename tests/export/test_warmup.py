"""Warm-up requests are written with a model, run once, and read back."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from simprod_tf.errors import ModelError
from simprod_tf.export.warmup import WARMUP_FILE, read_warmup, write_warmup


class Model(tf.Module):
    """Names as an encoder's; fails where a number is negative."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "image_bytes"),
            tf.TensorSpec([None], tf.string, "title"),
            tf.TensorSpec([None], tf.float32, "price"),
            tf.TensorSpec([None, 3], tf.float32, "clip"),
        ]
    )
    def embed(self, image_bytes, title, price, clip):
        def size(content):
            there = tf.strings.length(content) > 0
            return tf.cond(
                there, lambda: tf.image.extract_jpeg_shape(content)[0], lambda: 0
            )

        sizes = tf.map_fn(size, image_bytes, fn_output_signature=tf.int32)
        known = tf.cast(tf.strings.length(title), tf.float32) + price
        return {"y": tf.cast(sizes, tf.float32) + known + tf.reduce_sum(clip, 1)}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, "a_features")])
    def embed_features(self, a_features):
        return {"y": a_features}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def bad(self, x):
        tf.debugging.assert_less(x, 0.0, "x must be negative")
        return {"y": x}


def save(folder, *names):
    model = Model()
    tf.saved_model.save(
        model, str(folder), {name: getattr(model, name) for name in names}
    )
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = save(tmp_path_factory.mktemp("m") / "1", "embed", "embed_features")
    write_warmup(folder)
    return folder


def arrays(request):
    return {name: tf.make_ndarray(one) for name, one in request.inputs.items()}


def test_each_signature_has_a_request_with_a_picture_and_one_without(folder):
    # Read while a graph is the default too, as in a server's session.
    with tf.Graph().as_default():
        requests = list(read_warmup(folder))
    names = [one.model_spec.signature_name for one in requests]
    assert names == ["embed", "embed", "embed_features", "embed_features"]
    full, spare, features, none = map(arrays, requests)
    assert {name: (one.dtype, one.shape) for name, one in full.items()} == {
        "image_bytes": (object, (1,)), "title": (object, (1,)),
        "price": (np.float32, (1,)), "clip": (np.float32, (1, 3)),
    }  # fmt: skip
    picture = tf.io.decode_jpeg(full["image_bytes"][0]).numpy()
    assert picture.shape == (96, 128, 3)
    assert picture.std() > 20
    assert spare["image_bytes"].tolist() == [b""]
    assert spare["title"].tolist() == full["title"].tolist() != [b""]
    assert features["a_features"].tolist() == [[1, 1, 1]]
    assert none["a_features"].tolist() == [[0, 0, 0]]


def test_a_model_without_requests_has_none(tmp_path):
    assert list(read_warmup(tmp_path)) == []


def test_a_model_that_fails_on_its_own_requests_is_refused(tmp_path):
    folder = save(tmp_path / "1", "bad")
    with pytest.raises(
        ModelError, match="signature bad fails on its .*: x must be neg"
    ):
        write_warmup(folder)
    assert not (folder / WARMUP_FILE).exists()
    with pytest.raises(ModelError, match="none cannot be loaded"):
        write_warmup(tmp_path / "none")


@pytest.fixture
def warmup_file(tmp_path):
    path = tmp_path / WARMUP_FILE
    path.parent.mkdir()
    return path


def write(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def test_damaged_files_are_named(tmp_path, warmup_file):
    warmup_file.write_bytes(b"no TFRecord, but long enough to be read as one")
    with pytest.raises(ModelError, match="warmup_requests is no TFRecord file"):
        list(read_warmup(tmp_path))
    write(warmup_file, [PredictionLog(predict_log={}).SerializeToString(), b"\xff\xff"])
    with pytest.raises(ModelError, match="record 2 is no PredictionLog"):
        list(read_warmup(tmp_path))
    write(warmup_file, [PredictionLog(classify_log={}).SerializeToString()])
    with pytest.raises(ModelError, match="holds classify_log; expected predict_log"):
        list(read_warmup(tmp_path))


def test_more_than_1000_requests_are_refused(tmp_path, warmup_file):
    record = PredictionLog(predict_log={}).SerializeToString()
    write(warmup_file, [record] * 1000)
    assert len(list(read_warmup(tmp_path))) == 1000
    write(warmup_file, [record] * 1001)
    with pytest.raises(ModelError, match="more than 1000 requests"):
        list(read_warmup(tmp_path))
