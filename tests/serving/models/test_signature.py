"""What a request gets wrong about a signature, in TF Serving's words."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from simprod_tf.serving.models.signature import signature_of
from simprod_tf.serving.server.tensor_proto import write_tensor
from simprod_tf.serving.status import ServingError

PREDICT = "tensorflow/serving/predict"


def definition(**changes):
    made = SignatureDef(method_name=PREDICT)
    # Of the tensors' names, z's is the first: so counts the runtime.
    for alias, name, dtype in (
        ("a", "serving_b:0", types_pb2.DT_FLOAT),
        ("z", "serving_a:0", types_pb2.DT_INT64),
    ):
        made.inputs[alias].name, made.inputs[alias].dtype = name, dtype
    for alias in ("u", "v"):
        made.outputs[alias].name = f"{alias}:0"
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@pytest.fixture
def signature():
    return signature_of({"s": definition()}, "s")


@pytest.fixture
def lenient():
    """`z` may be left out."""
    made = definition()
    write_tensor(made.defaults["z"], np.int64([7]))
    return signature_of({"serving_default": made}, "")


def refused(code, call, *arguments):
    with pytest.raises(ServingError) as error:
        call(*arguments)
    assert error.value.code is code
    return error.value.message


INVALID = grpc.StatusCode.INVALID_ARGUMENT


def test_no_name_is_serving_default_and_an_unknown_one_fails():
    known = {"serving_default": definition()}
    assert signature_of(known, "").name == "serving_default"
    assert signature_of(known, "serving_default").outputs == ("u", "v")
    unmet = grpc.StatusCode.FAILED_PRECONDITION
    assert refused(unmet, signature_of, known, "S") == (
        'Serving signature key "S" not found.'
    )


def test_a_signature_of_no_method_is_not_for_prediction():
    known = {"__saved_model_init_op": definition(method_name="")}
    message = refused(
        grpc.StatusCode.INTERNAL, signature_of, known, "__saved_model_init_op"
    )
    assert message == (
        "Expected prediction signature method_name to be one of "
        "{tensorflow/serving/predict, tensorflow/serving/classify, "
        "tensorflow/serving/regress}. Was: "
    )


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (
            ["a"],
            "1!=2 len({a}) != len({a,z}). Sent extra: {}. Missing but required: {z}.",
        ),
        (
            ["b", "a", "c"],
            "3!=2 len({a,b,c}) != len({a,z}). Sent extra: {b,c}. "
            "Missing but required: {z}.",
        ),
        (
            [],
            "0!=2 len({}) != len({a,z}). Sent extra: {}. Missing but required: {a,z}.",
        ),
    ],
)
def test_another_number_of_inputs_is_told_with_the_difference(signature, sent, text):
    assert refused(INVALID, signature.check_inputs, sent) == (
        f"input size does not match signature: {text}"
    )


def test_another_name_of_an_input_is_told_with_its_tensor(signature):
    assert refused(INVALID, signature.check_inputs, ["a", "b"]) == (
        "Signature input alias: z(feed name: serving_a:0) not found in request and no "
        "default value provided. Inputs expected to be in the request {a,b}, or "
        "default input alias set: "
    )


def test_an_input_with_a_default_may_be_left_out(lenient, signature):
    lenient.check_inputs(["a"])
    lenient.check_inputs(["a", "z"])
    signature.check_inputs(["z", "a"])
    assert lenient.defaults["z"].tolist() == [7]
    assert refused(INVALID, lenient.check_inputs, ["b"]) == (
        "Signature input alias: a(feed name: serving_b:0) not found in request and no "
        "default value provided. Inputs expected to be in the request {b}, or default "
        "input alias set: z"
    )
    assert refused(INVALID, lenient.check_inputs, ["a", "b"]) == (
        "Inputs contains invalid name. Used request inputs: a, request input: a,b"
    )


def test_a_dtype_is_told_by_the_place_of_its_tensor(signature):
    right = {"a": np.zeros(1, np.float32), "z": np.zeros(1, np.int64)}
    signature.check_dtypes(right)
    wrong = {**right, "z": np.zeros(1, np.float64)}
    assert refused(INVALID, signature.check_dtypes, wrong) == (
        "Expects arg[0] to be int64 but double is provided"
    )
    wrong = {**right, "a": np.array([b"x"], object)}
    assert refused(INVALID, signature.check_dtypes, wrong) == (
        "Expects arg[1] to be float but string is provided"
    )


def test_a_filter_chooses_outputs_and_none_is_all(signature):
    assert signature.fetched([]) == ("u", "v")
    assert signature.fetched(["v"]) == ("v",)
    assert signature.fetched(["v", "u"]) == ("v", "u")
    assert refused(INVALID, signature.fetched, ["v", "X"]) == (
        "output tensor alias not found in signature: X Outputs expected to be in the "
        "set {u,v}."
    )
    assert refused(INVALID, signature.fetched, ["u", "u"]) == (
        "duplicate output tensor alias: u"
    )
