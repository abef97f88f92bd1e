"""JSON values as tensors: hand-worked shapes, and the texts of what is refused."""

from __future__ import annotations

import json

import grpc
import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.serving.rest.json_tensor import CONSTANTS, names_of, shown, tensor_of
from simprod_tf.serving.status import ServingError


def refused(value, dtype) -> str:
    with pytest.raises(ServingError) as caught:
        tensor_of(value, dtype)
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    return caught.value.message


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (1, tf.float32, np.float32(1)),
        ([[1.5, 2], [3, 4]], tf.float32, np.float32([[1.5, 2], [3, 4]])),
        ([0.1], tf.float64, np.float64([0.1])),
        ([0.5, 65504], tf.float16, None),
        ([0.5, -2.0], tf.float16, np.float16([0.5, -2])),
        ([-128, 127], tf.int8, np.int8([-128, 127])),
        ([2**63 - 1, -(2**63)], tf.int64, np.int64([2**63 - 1, -(2**63)])),
        ([2**64 - 1], tf.uint64, np.uint64([2**64 - 1])),
        ([True, False], tf.bool, np.array([True, False])),
        ([], tf.float32, np.zeros([0], np.float32)),
        ([[], []], tf.int32, np.zeros([2, 0], np.int32)),
    ],
)
def test_values_keep_their_shape_and_take_the_signatures_type(value, dtype, expected):
    if expected is None:
        # 65504 is half's largest, yet beyond the integers that it counts exactly.
        assert "without loss of precision" in refused(value, dtype)
        return
    tensor = tensor_of(value, dtype)
    assert tensor.dtype == expected.dtype and tensor.shape == expected.shape
    np.testing.assert_array_equal(tensor, expected)


def test_strings_are_utf8_and_b64_is_bytes():
    tensor = tensor_of([["mug ☕", {"b64": "AP8A"}]], tf.string)
    assert tensor.dtype == object and tensor.shape == (1, 2)
    # The last byte is a NUL, which numpy's own strings would drop.
    assert tensor.tolist() == [["mug ☕".encode(), b"\x00\xff\x00"]]


@pytest.mark.parametrize("digits", ["AP8=", "AP8", "A P\n8="])
def test_base64_needs_no_padding_and_bears_white_space(digits):
    assert tensor_of({"b64": digits}, tf.string).item() == b"\x00\xff"


def test_nan_and_infinities_are_floats():
    values = [CONSTANTS[name] for name in ("NaN", "Infinity", "-Infinity")]
    for dtype in (tf.float32, tf.float64, tf.bfloat16):
        tensor = tensor_of(values, dtype).astype(np.float64)
        np.testing.assert_array_equal(tensor, [np.nan, np.inf, -np.inf])


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (
            "a",
            tf.float32,
            'JSON Value: "a" Type: String is not of expected type: float',
        ),
        (
            True,
            tf.float32,
            "JSON Value: true Type: True is not of expected type: float",
        ),
        (None, tf.int32, "JSON Value: null Type: Null is not of expected type: int32"),
        (1.0, tf.int32, "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        (1, tf.bool, "JSON Value: 1 Type: Number is not of expected type: bool"),
        (1, tf.string, "JSON Value: 1 Type: Number is not of expected type: string"),
        (
            {},
            tf.float64,
            "JSON Value: Object of 0 Type: Object is not of expected type",
        ),
        (128, tf.int8, "JSON Value: 128 Type: Number is not of expected type: int8"),
        (-1, tf.uint8, "JSON Value: -1 Type: Number is not of expected type: uint8"),
        (2**63, tf.int64, "JSON Value: 9223372036854775808 Type: Number is not of"),
        (
            10**400,
            tf.int64,
            "JSON Value: an integer beyond 1e30 Type: Number is not of",
        ),
        (
            2**24,
            tf.float32,
            "Cannot convert JSON value: 16777216 to float without loss",
        ),
        (2**53, tf.float64, "to double without loss of precision."),
        (10**400, tf.float64, "an integer beyond 1e30 to double without loss"),
        (1e39, tf.float32, "Cannot convert JSON value: 1e+39 to float without loss"),
        (float("inf"), tf.float32, "Number too big to be stored in double"),
        ({"b64": "A"}, tf.string, "Unable to base64 decode"),
        ({"b64": "ä"}, tf.string, "Unable to base64 decode"),
        ({"b64": 1}, tf.string, "Object of 1 not formatted correctly for base64 data"),
        ({"b64": "", "x": 1}, tf.string, "not formatted correctly for base64 data"),
        ("\ud800", tf.string, "The surrogate pair in string is invalid."),
        (
            [[1, 2], [3]],
            tf.int32,
            "Encountered list at unexpected size: 1 at level: 1 ",
        ),
        (
            [[1], 2],
            tf.int32,
            "JSON Value: 2 found at incorrect level: 1 in the JSON DOM",
        ),
        ([1, [2]], tf.int32, "Encountered list at unexpected level: 1 expected < 1"),
    ],
)
def test_what_would_change_or_does_not_fit_is_refused(value, dtype, text):
    assert text in refused(value, dtype)


def test_lists_nested_deeper_than_any_array_are_refused():
    value: list = []
    for _ in range(40):
        value = [value]
    assert "nested deeper than 32 levels" in refused(value, tf.float32)


def test_types_without_json_are_unimplemented():
    with pytest.raises(ServingError, match="to type: complex64") as caught:
        tensor_of([1], tf.complex64)
    assert caught.value.code == grpc.StatusCode.UNIMPLEMENTED


def test_messages_stay_short():
    assert len(shown("x" * 10**6)) == 80
    assert shown([1] * 1000) == "Array of 1000"
    assert names_of({f"n{i:02}": 0 for i in range(25)}).endswith("n19, ... 5 more")
    assert json.loads(shown("\ud800")) == "\ud800"
