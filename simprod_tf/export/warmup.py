"""Requests that a server runs when it loads a model, so that no user waits for it.

TF Serving reads them from `assets.extra/tf_serving_warmup_requests`, a TFRecord file of
PredictionLog messages, at most 1,000; one that fails keeps the version from being
served. See https://www.tensorflow.org/tfx/serving/saved_model_warmup.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from simprod_tf.errors import ModelError
from simprod_tf.features.image import decoding_fault

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_RECORDS = 1000
# Of the picture, in pixels: large enough to be resized to what a tower takes.
_SIDE = 96
DEFAULT = "serving_default"
_INIT = "__saved_model_init_op"


def write_warmup(folder: Path) -> None:
    """Writes the requests of a SavedModel, two for each signature, and runs them.

    One is of a product with a picture and a title, one of a product without a picture,
    where the signature has any; both are of batch 1.

    Args:
        folder: of the SavedModel.

    Raises:
        ModelError: the model cannot be loaded, or a request fails.
    """
    jpeg = tf.io.encode_jpeg(_pixels()).numpy()
    records = []
    with tf.compat.v1.Session(graph=tf.Graph(), config=_plain()) as session:
        signatures = _loaded(session, folder)
        for name, signature in signatures.items():
            for inputs in _inputs(signature, jpeg):
                # The default is one of the others by a second name.
                if name != DEFAULT or len(signatures) == 1:
                    _run(session, signature, inputs, f"{folder}, signature {name}")
                records.append(_record(name, inputs))
    path = folder / WARMUP_FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record.SerializeToString())


def read_warmup(folder: str | Path) -> Iterator[PredictRequest]:
    """Yields the requests of a SavedModel's folder; none where it has no such file.

    Raises:
        ModelError: the file is damaged, holds something else than requests of Predict,
            or more than 1,000.
    """
    path = Path(folder) / WARMUP_FILE
    if not path.is_file():
        return
    # Not tf.data, which reads in eager mode alone: a server's Session ends that.
    with _no_notices():
        records = tf.compat.v1.io.tf_record_iterator(str(path))
    number = 0
    while True:
        try:
            content = next(records)
        except StopIteration:
            return
        except tf.errors.OpError as error:
            raise ModelError(
                f"{path} is no TFRecord file, or a damaged one: {error.message}."
            ) from error
        number += 1
        if number > MAX_RECORDS:
            raise ModelError(
                f"{path} holds more than {MAX_RECORDS} requests, which is the most "
                "that TF Serving takes."
            )
        yield _request(content, f"{path}, record {number}")


def _request(content: bytes, where: str) -> PredictRequest:
    log = PredictionLog()
    try:
        log.ParseFromString(content)
    except DecodeError as error:
        raise ModelError(f"{where} is no PredictionLog: {error}.") from error
    if not log.HasField("predict_log"):
        kind = log.WhichOneof("log_type") or "nothing"
        raise ModelError(f"{where} holds {kind}; expected predict_log.")
    return log.predict_log.request


def _loaded(session: tf.compat.v1.Session, folder: Path) -> dict[str, Any]:
    """Loads a SavedModel into the session and returns its signatures."""
    try:
        # The nearest to a server's loader.
        with _no_notices():
            meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise ModelError(f"{folder} cannot be loaded: {error}.") from error
    return {
        name: signature
        for name, signature in sorted(meta.signature_def.items())
        if name != _INIT
    }


def _plain() -> tf.compat.v1.ConfigProto:
    """Returns options to run each request once, unoptimised: in a third of the time."""
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return config


@contextlib.contextmanager
def _no_notices() -> Iterator[None]:
    """Keeps back what TensorFlow says of its functions of version 1."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _run(
    session: tf.compat.v1.Session,
    signature: Any,
    inputs: Mapping[str, np.ndarray],
    where: str,
) -> None:
    feed = {signature.inputs[name].name: value for name, value in inputs.items()}
    try:
        session.run([one.name for one in signature.outputs.values()], feed)
    except tf.errors.OpError as error:
        raise ModelError(
            f"{where} fails on its warm-up: {decoding_fault(error)}"
        ) from error


def _inputs(signature: Any, jpeg: bytes) -> list[dict[str, np.ndarray]]:
    """Returns the inputs of the requests, by the names and types of a signature."""
    full = {name: _value(name, info, jpeg) for name, info in signature.inputs.items()}
    spared = {
        name: np.zeros_like(value)
        for name, value in full.items()
        if name.endswith("_features")
    }
    spared |= {
        name: np.array([b""], object) for name in full if name.endswith("image_bytes")
    }
    return [full, {**full, **spared}] if spared else [full]


def _value(name: str, info: Any, jpeg: bytes) -> np.ndarray:
    """Returns an input of batch 1."""
    if info.dtype == tf.string:
        is_picture = name.endswith("image_bytes")
        return np.array([jpeg if is_picture else b"a red mug, 350 ml"], object)
    if info.dtype == tf.uint8:
        return _pixels()[np.newaxis]
    sizes = [one.size for one in info.tensor_shape.dim[1:]]
    return np.ones([1, *sizes], tf.as_dtype(info.dtype).as_numpy_dtype)


def _pixels() -> np.ndarray:
    """Returns [H, W, 3] uint8 of a picture with something to see, wider than high."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    return np.kron(noise, np.ones((_SIDE // 8, _SIDE // 6, 1), np.uint8))


def _record(signature: str, inputs: Mapping[str, np.ndarray]) -> PredictionLog:
    log = PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return log
