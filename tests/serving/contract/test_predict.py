"""Predict: what is answered, by whom, and with which words a request is refused."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    regression_pb2,
)

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
PATIENCE_S = 60


def floats(*values):
    return np.float32(values)


def words(*values):
    return tf.make_tensor_proto(np.array(values, object), tf.string)


def test_without_a_version_the_newest_answers(target):
    response = target.predict(x=floats(4))
    assert list(tf.make_ndarray(response.outputs["y"])) == [4 / 2 + 3]
    assert response.model_spec.name == "tiny"
    assert response.model_spec.version.value == 2
    assert response.model_spec.signature_name == "serving_default"


def test_a_version_can_be_named(target):
    response = target.predict(version=1, x=floats(4))
    assert list(tf.make_ndarray(response.outputs["y"])) == [4 / 2 + 2]
    assert response.model_spec.version.value == 1


@pytest.mark.parametrize(("label", "version"), [("stable", 1), ("canary", 2)])
def test_a_label_stands_for_a_version(target, label, version):
    response = target.predict(label=label, x=floats(0))
    assert list(tf.make_ndarray(response.outputs["y"])) == [version + 1]
    # The version that answered takes the label's place.
    assert response.model_spec.WhichOneof("version_choice") == "version"
    assert response.model_spec.version.value == version


def test_signatures_are_chosen_by_name(target):
    response = target.predict(signature="sum", a=floats(5, 7), b=floats(2, 3))
    assert response.model_spec.signature_name == "sum"
    found = {key: list(tf.make_ndarray(one)) for key, one in response.outputs.items()}
    assert found == {"total": [7, 10], "difference": [3, 4]}


def test_values_come_in_fields_or_as_bytes(target):
    in_fields = tensor_pb2.TensorProto(
        dtype=types_pb2.DT_FLOAT, float_val=[2.0, 4.0, 8.0]
    )
    in_fields.tensor_shape.dim.add(size=3)
    as_bytes = tf.make_tensor_proto(floats(2, 4, 8))
    assert as_bytes.tensor_content
    for sent in (in_fields, as_bytes):
        assert list(target.outputs(version=1, x=sent)["y"]) == [3, 4, 6]


def test_one_value_in_a_field_stands_for_all(target):
    # Tensor::FromProto repeats the last value that was sent.
    short = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[6.0])
    short.tensor_shape.dim.add(size=3)
    assert list(target.outputs(version=1, x=short)["y"]) == [5, 5, 5]


def test_strings_are_bytes_of_any_kind(target):
    sent = [b"", b"blue mug", b"\x00\xff\x00", "Straße".encode()]
    outputs = target.outputs(signature="echo", text=words(*sent))
    assert list(outputs["text"]) == sent
    assert list(outputs["text_bytes"]) == sent


def test_scalars_are_answered_as_scalars(target):
    outputs = target.outputs(signature="slow", steps=np.int32(3))
    assert outputs["done"].shape == ()
    assert outputs["done"] == 3


def test_an_empty_batch_has_an_empty_answer(target):
    assert target.outputs(x=np.zeros([0], np.float32))["y"].shape == (0,)


def test_nan_and_infinity_pass(target):
    y = target.outputs(x=floats(np.nan, np.inf, -np.inf))["y"]
    np.testing.assert_array_equal(y, floats(np.nan, np.inf, -np.inf))


def test_a_filter_chooses_outputs(target):
    sums = {"signature": "sum", "a": floats(5), "b": floats(2)}
    assert target.outputs(output_filter=["total"], **sums) == {"total": [7]}
    both = target.outputs(output_filter=["total", "difference"], **sums)
    assert both == {"total": [7], "difference": [3]}


def test_a_filter_names_outputs_of_the_signature_once(target):
    sums = {"signature": "sum", "a": floats(5), "b": floats(2)}
    text = target.refused(INVALID, target.predict, output_filter=["y"], **sums)
    # The set's order is not promised.
    assert text.startswith(
        "output tensor alias not found in signature: y Outputs expected to be in the "
        "set {"
    )
    assert {"total", "difference"} == set(text.split("{")[1].split("}")[0].split(","))
    twice = ["total", "total"]
    assert (
        target.refused(INVALID, target.predict, output_filter=twice, **sums)
        == "duplicate output tensor alias: total"
    )


def test_a_request_names_its_model(target):
    assert (
        target.refused(INVALID, target.predict, None, x=floats(1))
        == "Missing ModelSpec"
    )
    assert (
        target.refused(INVALID, target.predict, "", x=floats(1))
        == "ModelSpec has no name specified."
    )


@pytest.mark.parametrize(
    ("choice", "sought"),
    [
        ({"model": "nobody"}, "Latest(nobody)"),
        ({"model": "nobody", "version": 1}, "Specific(nobody, 1)"),
        ({"version": 9}, "Specific(tiny, 9)"),
        # On disk, but not served.
        ({"model": "plain", "version": 1}, "Specific(plain, 1)"),
    ],
)
def test_what_is_not_served_is_not_found(target, choice, sought):
    text = target.refused(NOT_FOUND, target.predict, x=floats(1), **choice)
    assert text.startswith(f"Servable not found for request: {sought}")


def test_an_unknown_label_is_invalid(target):
    text = target.refused(INVALID, target.predict, label="beta", x=floats(1))
    assert text == "Unrecognized servable version label: beta"


def test_an_unknown_signature_is_a_failed_precondition(target):
    code = grpc.StatusCode.FAILED_PRECONDITION
    text = target.refused(code, target.predict, signature="S", x=floats(1))
    assert text == 'Serving signature key "S" not found.'


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (
            {"a": floats(1)},
            "input size does not match signature: 1!=2 len({a}) != len({a,b}). "
            "Sent extra: {}. Missing but required: {b}.",
        ),
        (
            {"a": floats(1), "b": floats(1), "c": floats(1)},
            "input size does not match signature: 3!=2 len({a,b,c}) != len({a,b}). "
            "Sent extra: {c}. Missing but required: {}.",
        ),
        (
            {},
            "input size does not match signature: 0!=2 len({}) != len({a,b}). "
            "Sent extra: {}. Missing but required: {a,b}.",
        ),
    ],
)
def test_inputs_are_counted(target, sent, text):
    got = target.refused(INVALID, target.predict, signature="sum", **sent)
    assert got == text


def test_an_input_of_another_name_is_invalid(target):
    text = target.refused(
        INVALID, target.predict, signature="sum", a=floats(1), z=floats(1)
    )
    assert "b" in text


def test_another_dtype_is_refused_by_the_runtime(target):
    text = target.refused(INVALID, target.predict, x=np.int32([1]))
    assert "Expects arg[0] to be float but int32 is provided" in text


def test_a_shape_is_checked_by_the_op_alone(target):
    # The signature says [B, 3] and [B]; what the ops can do is done.
    text = target.refused(
        INVALID, target.predict, signature="matmul", m=np.ones([1, 2], np.float32)
    )
    assert "Matrix size-incompatible: In[0]: [1,2], In[1]: [3,2]" in text
    square = np.float32([[2, 4], [6, 8]])
    assert target.outputs(version=1, x=square)["y"].tolist() == [[3, 4], [5, 6]]


@pytest.mark.parametrize(
    "broken",
    [
        tensor_pb2.TensorProto(),
        tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_content=b"123"),
        tensor_pb2.TensorProto(dtype=999, float_val=[1.0]),
    ],
    ids=["no dtype", "a cut float", "an unknown dtype"],
)
def test_a_tensor_that_cannot_be_read_is_invalid(target, broken):
    text = target.refused(INVALID, target.predict, x=broken)
    assert text.startswith("tensor parsing error: x")


def test_a_long_text_is_cut(target):
    many = {f"input_{number:04}": floats(1) for number in range(200)}
    text = target.refused(INVALID, target.predict, **many)
    assert text.startswith("input size does not match signature: 200!=1 len({input_")
    assert len(text) == 1024 + len("...TRUNCATED")
    assert text.endswith("...TRUNCATED")


def test_many_requests_at_once_have_their_own_answers(target):
    asked = [
        (number, 1 + number % 2, target.request(version=1 + number % 2, x=floats(n2)))
        for number, n2 in ((number, 2 * number) for number in range(40))
    ]
    running = [
        (number, version, target.predictions.Predict.future(one, timeout=PATIENCE_S))
        for number, version, one in asked
    ]
    for number, version, future in running:
        response = future.result()
        assert response.model_spec.version.value == version
        assert tf.make_ndarray(response.outputs["y"]) == [number + version + 1]


def test_two_signatures_at_once_do_not_mix(target):
    first = target.request(x=floats(2), version=1)
    second = target.request(signature="sum", a=floats(5), b=floats(2))
    call = target.predictions.Predict.future
    running = [
        (call(first, timeout=PATIENCE_S), call(second, timeout=PATIENCE_S))
        for _ in range(20)
    ]
    for one, other in running:
        assert tf.make_ndarray(one.result().outputs["y"]) == [3]
        assert tf.make_ndarray(other.result().outputs["total"]) == [7]


@pytest.mark.parametrize(
    ("method", "request_of"),
    [
        ("Classify", classification_pb2.ClassificationRequest),
        ("Regress", regression_pb2.RegressionRequest),
        ("MultiInference", inference_pb2.MultiInferenceRequest),
    ],
)
def test_ours_has_no_services_over_examples(target, method, request_of):
    if not target.is_ours:
        pytest.skip("TensorFlow Serving has them")
    code = grpc.StatusCode.UNIMPLEMENTED
    call = getattr(target.predictions, method)
    text = target.refused(code, call, request_of(), timeout=PATIENCE_S)
    assert text.startswith(f"{method} is not served here: use Predict")
