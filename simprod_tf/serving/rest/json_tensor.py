"""One JSON value, plain or in nested lists, as a tensor of a given type.

Nothing is converted that would change a value: 1.0 is no integer, true is no number,
and what a type cannot hold is refused. `NaN`, `Infinity` and `-Infinity` are numbers.

Source of rules and texts: https://github.com/tensorflow/serving/blob/2.15.1/
tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from itertools import chain
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import tensorflow as tf

from simprod_tf.serving.status import ServingError

if TYPE_CHECKING:
    from collections.abc import Iterable

# numpy's own limit before 2.0.
MAX_RANK = 32
INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
# Whole numbers up to 2 to this, less one, are exact.
MANTISSA_BITS = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}
# TF Serving's names of the types whose names differ from TensorFlow's in Python.
TYPE_NAMES = {"float16": "half", "float32": "float", "float64": "double"}
JSON_TYPES = {dict: "Object", list: "Array", str: "String", int: "Number"}
JSON_TYPES.update({float: "Number", type(None): "Null"})
# The tokens' own objects: an infinity that is none of them was a number too large.
CONSTANTS = {name: float(name) for name in ("NaN", "Infinity", "-Infinity")}
TOO_BIG = "JSON Parse error: Number too big to be stored in double"


def invalid(message: str) -> ServingError:
    """Returns the error of a request that is wrong in itself."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def tensor_of(value: Any, dtype: tf.DType) -> np.ndarray:
    """Returns a value, or lists of values nested evenly, as one array.

    Args:
        value: As `json.loads` gives it, with `CONSTANTS` for the tokens.
        dtype: The type that the signature says.

    Raises:
        ServingError: INVALID_ARGUMENT, for lists of uneven lengths or depths and for
            values that are not of the type; UNIMPLEMENTED for types without JSON.
    """
    shape, leaves = _flat(value)
    return _leaf_array(leaves, dtype).reshape(shape)


def _flat(value: Any) -> tuple[list[int], list[Any]]:
    """Returns the shape that the first of each level gives, and all values in order.

    One level after the other, not one list after the other: each step runs at C's
    speed, and depth costs no recursion.
    """
    shape: list[int] = []
    level = [value]
    while level and type(level[0]) is list:
        if len(shape) == MAX_RANK:
            raise invalid(f"Encountered lists nested deeper than {MAX_RANK} levels")
        size, rank = len(level[0]), len(shape)
        if set(map(type, level)) != {list}:
            stray = next(entry for entry in level if type(entry) is not list)
            raise invalid(
                f"JSON Value: {shown(stray)} found at incorrect level: {rank} in the "
                f"JSON DOM. Expected at level: {rank + 1}"
            )
        if set(map(len, level)) != {size}:
            other = next(len(entry) for entry in level if len(entry) != size)
            raise invalid(
                f"Encountered list at unexpected size: {other} at level: {rank} "
                f"expected size: {size}"
            )
        shape.append(size)
        level = list(chain.from_iterable(level))
    if list in set(map(type, level)):
        raise invalid(
            f"Encountered list at unexpected level: {len(shape)} expected < "
            f"{len(shape)}"
        )
    return shape, level


def _leaf_array(leaves: list[Any], dtype: tf.DType) -> np.ndarray:
    """Returns values without lists as a [N] array of a type."""
    if dtype == tf.string:
        strings = np.empty(len(leaves), object)
        strings[:] = [_bytes(leaf) for leaf in leaves]
        return strings
    if dtype == tf.bool:
        _check_types(leaves, {bool}, dtype)
        return np.array(leaves, bool)
    if dtype.name in INTEGERS:
        return _integers(leaves, dtype)
    if dtype.name in MANTISSA_BITS:
        return _floats(leaves, dtype)
    raise ServingError(
        grpc.StatusCode.UNIMPLEMENTED,
        f"Conversion of JSON Value: {shown(leaves[0]) if leaves else '[]'} to type: "
        f"{dtype.name}",
    )


def _integers(leaves: list[Any], dtype: tf.DType) -> np.ndarray:
    _check_types(leaves, {int}, dtype)
    if leaves and not (dtype.min <= min(leaves) and max(leaves) <= dtype.max):
        beyond = next(v for v in leaves if not dtype.min <= v <= dtype.max)
        raise _type_error(beyond, dtype)
    return np.array(leaves, dtype.as_numpy_dtype)


def _floats(leaves: list[Any], dtype: tf.DType) -> np.ndarray:
    _check_types(leaves, {int, float}, dtype)
    largest_whole = 2 ** MANTISSA_BITS[dtype.name] - 1
    if int in set(map(type, leaves)):
        for leaf in leaves:
            if type(leaf) is int and abs(leaf) > largest_whole:
                raise _lossy(leaf, dtype)
    with np.errstate(over="ignore"):
        # Rounded first: the shortest text of the largest float32 lies above it.
        numbers = np.array(leaves, np.float64).astype(dtype.as_numpy_dtype)
    if np.isinf(numbers).any():
        constants = {id(constant) for constant in CONSTANTS.values()}
        for leaf, number in zip(leaves, numbers):
            if np.isinf(number) and id(leaf) not in constants:
                raise invalid(TOO_BIG) if math.isinf(leaf) else _lossy(leaf, dtype)
    return numbers


def _bytes(leaf: Any) -> bytes:
    """Returns a string's bytes: UTF-8 of a text, or what base64 stands for."""
    if type(leaf) is str:
        return utf8(leaf)
    if type(leaf) is not dict:
        raise _type_error(leaf, tf.string)
    if not is_base64(leaf):
        raise invalid(
            f"JSON Value: {shown(leaf)} not formatted correctly for base64 data"
        )
    digits = leaf["b64"]
    if any(space in digits for space in " \n\r\t"):
        digits = "".join(digits.split())
    try:
        # TF Serving takes base64 without its padding, too.
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(f"Unable to base64 decode: {error}") from error


def is_base64(value: Any) -> bool:
    """Returns whether a value is {"b64": "..."} and nothing else."""
    return type(value) is dict and value.keys() == {"b64"} and type(value["b64"]) is str


def utf8(text: str) -> bytes:
    """Returns a text's UTF-8; half a surrogate pair, which JSON can write, has none."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise invalid(
            "JSON Parse error: The surrogate pair in string is invalid."
        ) from error


def _check_types(leaves: list[Any], allowed: set[type], dtype: tf.DType) -> None:
    if not set(map(type, leaves)) <= allowed:
        raise _type_error(next(v for v in leaves if type(v) not in allowed), dtype)


def _type_error(value: Any, dtype: tf.DType) -> ServingError:
    kind = str(value) if type(value) is bool else JSON_TYPES[type(value)]
    return invalid(
        f"JSON Value: {shown(value)} Type: {kind} is not of expected type: "
        f"{TYPE_NAMES.get(dtype.name, dtype.name)}"
    )


def _lossy(value: float, dtype: tf.DType) -> ServingError:
    return invalid(
        f"Cannot convert JSON value: {shown(value)} to "
        f"{TYPE_NAMES.get(dtype.name, dtype.name)} without loss of precision."
    )


def shown(value: Any) -> str:
    """Returns a value for a message: short, and one line of ASCII."""
    if isinstance(value, (dict, list)):
        return f"{JSON_TYPES[type(value)]} of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool):
        # Python writes integers of up to 4300 digits.
        return str(value) if abs(value) < 10**30 else "an integer beyond 1e30"
    text = json.dumps(value[:80] if isinstance(value, str) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def names_of(names: Iterable[str]) -> str:
    """Returns names for a message, sorted; the first twenty where there are more."""
    ordered = sorted(names)
    more = f", ... {len(ordered) - 20} more" if len(ordered) > 20 else ""
    return ",".join(shown(name)[1:-1] for name in ordered[:20]) + more


def shape_of(shape: tuple[int, ...]) -> str:
    """Returns a shape as TF Serving writes it: [2,3]."""
    return f"[{','.join(map(str, shape))}]"
