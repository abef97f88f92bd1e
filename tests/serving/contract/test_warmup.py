"""Warm-up requests: run before a version serves; one that fails keeps it from that."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

FILE = "assets.extra/tf_serving_warmup_requests"


def record(signature="serving_default", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    for alias, values in inputs.items():
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(values))
    log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )
    return log.SerializeToString()


GOOD = record(x=np.float32([1]))


def records(*contents):
    """Returns what writes these records beside a SavedModel."""

    def write(folder):
        path = folder / FILE
        path.parent.mkdir()
        with tf.io.TFRecordWriter(str(path)) as writer:
            for content in contents:
                writer.write(content)

    return write


def no_tfrecord(folder):
    path = folder / FILE
    path.parent.mkdir()
    # What is shorter than a record's 12 bytes of head, TensorFlow reads as the end.
    path.write_text("a text, and no TFRecord")


@pytest.mark.parametrize(
    "extra",
    [None, records(), records(GOOD), records(*[GOOD] * 1000)],
    ids=["no file", "no record", "one", "as many as may be"],
)
def test_a_version_with_good_records_serves(target, new_model, extra):
    model = new_model()
    model.put(1, extra=extra)
    model.serve()
    assert model.answer() == (1, 2.0)


def test_every_signature_can_be_warmed(target, new_model):
    model = new_model()
    several = (
        GOOD,
        record("sum", a=np.float32([1]), b=np.float32([2])),
        record("echo", text=tf.make_tensor_proto([b"mug"])),
        record("slow", steps=np.int32(2)),
    )
    model.put(1, extra=records(*several))
    model.serve()
    assert model.answer() == (1, 2.0)


@pytest.mark.parametrize(
    "extra",
    [
        no_tfrecord,
        records(*[GOOD] * 1001),
        records(b"\xff\xff no PredictionLog"),
        records(GOOD, record(x=np.int32([1]))),
        records(record("S", x=np.float32([1]))),
        records(record(z=np.float32([1]))),
    ],
    ids=[
        "no TFRecord",
        "too many",
        "unparsable",
        "a wrong dtype",
        "an unknown signature",
        "an unknown input",
    ],
)
def test_a_version_with_a_bad_record_does_not_take_over(target, new_model, extra):
    model = new_model()
    model.put(1)
    model.serve()
    model.put(2, add=3.0, extra=extra)
    target.until(lambda: model.states() == {1: "AVAILABLE", 2: "END"})
    (failed,) = target.status(model.name, version=2)
    assert failed.status.error_code != 0
    assert failed.status.error_message
    assert model.answer() == (1, 2.0)
