"""Tensors against TensorFlow's own conversion, and protos that lie."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2

from simprod_tf.serving.server.tensor_proto import (
    dtype_name,
    dtype_number,
    read_tensor,
    write_tensor,
)
from simprod_tf.serving.status import ServingError

ARRAYS = {
    "float": np.array([[1.5, -2.0, np.inf], [0.1, 3e-40, 7.0]], np.float32),
    "double": np.array([[0.1, -1e300]], np.float64),
    "half": np.array([0.5, 65504.0, -2.0], np.float16),
    "bfloat16": np.array([0.5, -2.0], tf.bfloat16.as_numpy_dtype),
    "int8": np.array([-128, 127], np.int8),
    "uint8": np.array([0, 255], np.uint8),
    "int16": np.array([-32768, 5], np.int16),
    "uint16": np.array([65535, 5], np.uint16),
    "int32": np.array([[-(2**31)], [2**31 - 1]], np.int32),
    "int64": np.array([-(2**63), 2**63 - 1], np.int64),
    "uint32": np.array([2**32 - 1], np.uint32),
    "uint64": np.array([2**64 - 1], np.uint64),
    "bool": np.array([True, False]),
    "complex64": np.array([1 + 2j, -3j], np.complex64),
    "complex128": np.array([0.1 + 2j], np.complex128),
    "string": np.array([b"a\x00", b"", b"\xff"], object),
    "scalar": np.float32(2.5).reshape(()),
    "no rows": np.zeros((0, 3), np.float32),
    "no strings": np.zeros((0,), object),
}


def read(proto, *, max_bytes=10_000):
    return read_tensor(proto, name="x", max_bytes=max_bytes)


def proto_of(dtype, shape, **fields):
    proto = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def same(got, expected):
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", ARRAYS)
def test_what_is_written_reads_as_it_was_here_and_in_tensorflow(name):
    array = ARRAYS[name]
    proto = tensor_pb2.TensorProto()
    write_tensor(proto, array)
    assert not proto.tensor_content
    assert proto.HasField("tensor_shape")
    same(read(proto), array)
    same(tf.make_ndarray(proto), array)


@pytest.mark.parametrize("name", ARRAYS)
def test_what_tensorflow_writes_reads_as_it_was(name):
    array = ARRAYS[name]
    # Numbers in tensor_content, strings in string_val; a single value in its field.
    same(read(tf.make_tensor_proto(array)), array)


def test_floats_are_found_between_other_fields():
    proto = proto_of(1, [2], float_val=[1.0, 2.0], version_number=7)
    proto.double_val.append(9.0)
    proto.int_val.extend([300, 4])
    # A field that TensorProto has not: number 900, a group.
    group = bytes([0xA3, 0x38, 0x08, 0x05, 0xA4, 0x38])
    proto.MergeFromString(group)
    same(read(proto), np.array([1.0, 2.0], np.float32))


def test_one_value_stands_for_all_and_none_for_zero():
    same(read(proto_of(1, [2, 2], float_val=[3.0])), np.full((2, 2), 3, np.float32))
    same(read(proto_of(1, [3], float_val=[3.0, 4.0])), np.float32([3, 4, 4]))
    same(read(proto_of(3, [2])), np.zeros(2, np.int32))
    same(read(proto_of(7, [2])), np.array([b"", b""], object))
    same(read(proto_of(1, [1], float_val=[3.0, 4.0])), np.float32([3.0]))
    # Half a complex number is none.
    same(read(proto_of(8, [1], scomplex_val=[1.0, 2.0, 3.0])), np.complex64([1 + 2j]))


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        (proto_of(0, [1]), "dtype 0 cannot be sent"),
        (proto_of(types_pb2.DT_RESOURCE, []), "dtype 20 cannot be sent"),
        (proto_of(77, []), "dtype 77 cannot be sent"),
        (proto_of(1, [-1], float_val=[1.0]), "its shape must be known"),
        (
            tensor_pb2.TensorProto(dtype=1, tensor_shape={"unknown_rank": True}),
            "its shape must be known",
        ),
        (proto_of(1, [1] * 33, float_val=[1.0]), "more than 32 dimensions"),
        (proto_of(1, [2501], float_val=[1.0]), r"\[2501\] takes more than 10000 bytes"),
        (proto_of(1, [2**62, 2**62]), "takes more than"),
        (proto_of(1, [0, 2**62]), "takes more than"),
        (proto_of(1, [0, 2**31 - 1, 2**31 - 1, 2**31 - 1]), "takes more than"),
        (proto_of(1, [2**31 - 1, 2**31 - 1, 2**31 - 1, 0]), "takes more than"),
        (
            proto_of(1, [2], tensor_content=b"1234"),
            "needs 8 bytes of tensor_content, got 4",
        ),
        (proto_of(7, [1], tensor_content=b"\x01a"), "strings must be in string_val"),
    ],
)
def test_what_is_no_tensor_is_refused_with_its_reason(proto, reason):
    with pytest.raises(ServingError, match=reason) as refused:
        read(proto)
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.message.startswith("tensor parsing error: x (")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_message_reads_or_is_refused(wire):
    proto = tensor_pb2.TensorProto()
    try:
        proto.ParseFromString(wire)
    except Exception:
        return
    try:
        array = read(proto)
    except ServingError as refused:
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    else:
        assert array.shape == tuple(dim.size for dim in proto.tensor_shape.dim)


def test_dtypes_have_the_runtimes_names():
    assert dtype_name(dtype_number(np.zeros(1, np.float32))) == "float"
    assert dtype_name(dtype_number(np.zeros(1, object))) == "string"
    assert dtype_name(types_pb2.DT_INT32) == "int32"
    with pytest.raises(TypeError, match="got dtype <U1"):
        dtype_number(np.array(["a"]))
