"""GetModelMetadata: the signatures of a version."""

from __future__ import annotations

import grpc
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND


def signatures(response):
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    return found.signature_def


def test_every_signature_is_told(target):
    response = target.metadata()
    assert set(response.metadata) == {"signature_def"}
    assert set(signatures(response)) == {
        "serving_default",
        "sum",
        "echo",
        "matmul",
        "slow",
        # The initialiser that tf.saved_model.save writes is one of them.
        "__saved_model_init_op",
    }


def test_inputs_and_outputs_have_dtype_and_shape(target):
    matmul = signatures(target.metadata())["matmul"]
    assert matmul.method_name == "tensorflow/serving/predict"
    (m,) = matmul.inputs.values()
    assert m.dtype == types_pb2.DT_FLOAT
    assert [dim.size for dim in m.tensor_shape.dim] == [-1, 3]
    assert set(matmul.outputs) == {"out"}


@pytest.mark.parametrize(
    ("choice", "version"),
    [({}, 2), ({"version": 1}, 1), ({"label": "stable"}, 1), ({"label": "canary"}, 2)],
)
def test_the_version_that_answers_is_told(target, choice, version):
    spec = target.metadata(**choice).model_spec
    assert (spec.name, spec.version.value) == ("tiny", version)


def test_a_request_names_model_and_field(target):
    assert target.refused(INVALID, target.metadata, None) == "Missing ModelSpec"
    assert (
        target.refused(INVALID, target.metadata, fields=[])
        == "GetModelMetadataRequest must specify at least one metadata_field"
    )
    assert (
        target.refused(INVALID, target.metadata, fields=["signature_def", "size"])
        == "Metadata field size is not supported"
    )


def test_what_is_not_served_has_no_metadata(target):
    text = target.refused(NOT_FOUND, target.metadata, "nobody")
    assert text.startswith("Servable not found for request: Latest(nobody)")
    text = target.refused(NOT_FOUND, target.metadata, version=9)
    assert text.startswith("Servable not found for request: Specific(tiny, 9)")
    text = target.refused(INVALID, target.metadata, label="beta")
    assert text == "Unrecognized servable version label: beta"
