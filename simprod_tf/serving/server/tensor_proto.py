"""Tensors between their protos and numpy arrays, at little cost and never trusting.

protobuf hands the values of a packed field over one by one: 0.7 ms for an embedding of
[32, 128], and 2 ms the other way. On the wire the same values are the bytes of the
array (protobuf.dev/programming-guides/encoding), so floats are read and written there.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from simprod_tf.serving.status import ServingError

STRING = types_pb2.DT_STRING

# The field of the values, and their dtype there; two of them make a complex number.
_FIELDS: dict[int, tuple[str, Any]] = {
    types_pb2.DT_FLOAT: ("float_val", np.float32),
    types_pb2.DT_DOUBLE: ("double_val", np.float64),
    types_pb2.DT_INT32: ("int_val", np.int32),
    types_pb2.DT_INT16: ("int_val", np.int32),
    types_pb2.DT_INT8: ("int_val", np.int32),
    types_pb2.DT_UINT16: ("int_val", np.int32),
    types_pb2.DT_UINT8: ("int_val", np.int32),
    types_pb2.DT_INT64: ("int64_val", np.int64),
    types_pb2.DT_BOOL: ("bool_val", np.bool_),
    types_pb2.DT_UINT32: ("uint32_val", np.uint32),
    types_pb2.DT_UINT64: ("uint64_val", np.uint64),
    types_pb2.DT_HALF: ("half_val", np.int32),
    types_pb2.DT_BFLOAT16: ("half_val", np.int32),
    types_pb2.DT_COMPLEX64: ("scomplex_val", np.float32),
    types_pb2.DT_COMPLEX128: ("dcomplex_val", np.float64),
    STRING: ("string_val", np.object_),
}
_KINDS: dict[int, np.dtype] = {
    number: np.dtype(tf.dtypes.as_dtype(number).as_numpy_dtype) for number in _FIELDS
}
_NUMBERS = {kind: number for number, kind in _KINDS.items()}
# Written as they are in memory: numbers of fixed width.
_RAW = {"float_val", "double_val", "scomplex_val", "dcomplex_val"}
_BITS = {types_pb2.DT_HALF, types_pb2.DT_BFLOAT16}
_NUMBER_OF = {
    field.name: field.number for field in tensor_pb2.TensorProto.DESCRIPTOR.fields
}
# Kinds of fields on the wire, which tell how long a field is; the fourth has 4 bytes.
_VARINT, _FIXED64, _LENGTH_DELIMITED = 0, 1, 2
# numpy's own bound.
_MAX_RANK = 32


def dtype_number(array: np.ndarray) -> int:
    """Returns TensorFlow's number of an array's dtype; objects are strings.

    Raises:
        TypeError: TensorFlow has no such dtype.
    """
    number = _NUMBERS.get(array.dtype)
    if number is None:
        raise TypeError(
            f"expected an array of numbers or of bytes (dtype object), got dtype "
            f"{array.dtype}."
        )
    return number


def dtype_name(number: int) -> str:
    """Returns the C++ runtime's name of a dtype: `float`, `int32`, `string`."""
    return types_pb2.DataType.Name(number)[len("DT_") :].lower()


def read_tensor(
    proto: tensor_pb2.TensorProto, *, name: str, max_bytes: int
) -> np.ndarray:
    """Returns the array of a proto, with its values in whichever of the two forms.

    As TensorFlow reads them (Tensor::FromProto): too few values, the last one is
    repeated; none, they are zero; too many, the rest is left out.

    Args:
        proto: `tensor_content`, or the field of the dtype.
        name: the input's, for errors.
        max_bytes: what the array may take; a shape is quickly written.

    Returns:
        Read-only where it shares the proto's bytes; strings as bytes, dtype object.

    Raises:
        ServingError: INVALID_ARGUMENT, where no tensor can be read.
    """
    kind = _KINDS.get(proto.dtype)
    if kind is None:
        raise _unreadable(name, f"dtype {proto.dtype} cannot be sent")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise _unreadable(name, "its shape must be known")
    if len(shape) > _MAX_RANK:
        raise _unreadable(name, f"it has more than {_MAX_RANK} dimensions")
    count = math.prod(shape)
    # Without rows too: numpy and TensorFlow multiply the other sizes as well.
    most = math.prod(max(1, size) for size in shape)
    if most * kind.itemsize > max_bytes:
        raise _unreadable(name, f"shape {shape} takes more than {max_bytes} bytes")
    if not proto.tensor_content:
        return _filled(_values(proto, kind), count).reshape(shape)
    if kind.hasobject:
        raise _unreadable(name, "strings must be in string_val")
    content = proto.tensor_content
    if len(content) != count * kind.itemsize:
        raise _unreadable(
            name,
            f"shape {shape} needs {count * kind.itemsize} bytes of tensor_content, "
            f"got {len(content)}",
        )
    return np.frombuffer(content, kind).reshape(shape)


def _unreadable(name: str, reason: str) -> ServingError:
    # Up to the name as TF Serving says it.
    return ServingError(
        grpc.StatusCode.INVALID_ARGUMENT, f"tensor parsing error: {name} ({reason})"
    )


def _values(proto: tensor_pb2.TensorProto, kind: np.dtype) -> np.ndarray:
    field, there = _FIELDS[proto.dtype]
    if field in _RAW:
        # Groups, which `_packed` cannot step over, come as unknown fields alone.
        proto.DiscardUnknownFields()
        wire = _packed(proto.SerializeToString(), _NUMBER_OF[field])
        values = np.frombuffer(wire, there)
        # Two make a complex number; half of one is none.
        each = kind.itemsize // values.itemsize
        return values[: len(values) // each * each].view(kind)
    listed = getattr(proto, field)
    if kind.hasobject:
        values = np.empty(len(listed), object)
        values[:] = listed
        return values
    values = np.fromiter(listed, there, len(listed))
    if proto.dtype in _BITS:
        return values.astype(np.uint16).view(kind)
    return values.astype(kind, copy=False)


def _filled(values: np.ndarray, count: int) -> np.ndarray:
    if len(values) >= count:
        return values[:count]
    empty = b"" if values.dtype.hasobject else 0
    whole = np.full(count, values[-1] if len(values) else empty, values.dtype)
    whole[: len(values)] = values
    return whole


def write_tensor(proto: tensor_pb2.TensorProto, array: np.ndarray) -> None:
    """Writes an array into an empty proto, in the field of its dtype.

    TF Serving 2.15 answers in this form (Tensor::AsProtoField), not in tensor_content.
    """
    number = _NUMBERS[array.dtype]
    field, _ = _FIELDS[number]
    wire = _head(number, array.shape)
    if field in _RAW and array.size:
        raw = array.tobytes()
        key = _NUMBER_OF[field] << 3 | _LENGTH_DELIMITED
        wire += _varint(key) + _varint(len(raw)) + raw
    proto.MergeFromString(wire)
    if field in _RAW:
        return
    flat = array.reshape(-1)
    if number in _BITS:
        flat = flat.view(np.uint16)
    getattr(proto, field).extend(flat.tolist())


@functools.lru_cache(maxsize=1024)
def _head(number: int, shape: tuple[int, ...]) -> bytes:
    """Returns dtype and shape on the wire; a scalar's shape is there, and empty."""
    proto = tensor_pb2.TensorProto(dtype=number)
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto.SerializeToString()


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _read_varint(wire: bytes, at: int) -> tuple[int, int]:
    """Returns a number and where the next field begins."""
    value = shift = 0
    while True:
        byte = wire[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _packed(wire: bytes, number: int) -> memoryview:
    """Returns the bytes of a packed field of a message that protobuf wrote itself."""
    at = 0
    whole = memoryview(wire)
    while at < len(wire):
        key, at = _read_varint(wire, at)
        kind = key & 7
        if kind == _LENGTH_DELIMITED:
            length, at = _read_varint(wire, at)
            if key >> 3 == number:
                return whole[at : at + length]
            at += length
        elif kind == _VARINT:
            _, at = _read_varint(wire, at)
        else:
            at += 8 if kind == _FIXED64 else 4
    return whole[:0]
