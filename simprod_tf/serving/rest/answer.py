"""Tensors as the JSON that TF Serving answers with.

Rows are `{"predictions": [...]}`, whole tensors `{"outputs": ...}`; a single output
drops its name. Strings are texts, except in outputs whose name ends in `_bytes`: those
are `{"b64": "..."}`. `NaN`, `Infinity` and `-Infinity` stand as such, which is not
standard JSON.

Source: https://github.com/tensorflow/serving/blob/2.15.1/tensorflow_serving/util/
json_tensor.cc.
"""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING

import grpc
import numpy as np

from simprod_tf.serving.rest.json_tensor import invalid
from simprod_tf.serving.status import ServingError

if TYPE_CHECKING:
    from collections.abc import Mapping

# By whether nine digits are needed, and whether a whole number needs its ".0".
FLOAT_FORMATS = np.array(["%.6g", "%.9g", "%.6g.0", "%.9g.0"], object)
TOKENS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def rows_json(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Returns {"predictions": [...]}, one entry for each row of the outputs.

    Args:
        outputs: Arrays by name, all of one first dimension, the rows.

    Raises:
        ServingError: INVALID_ARGUMENT, for outputs that are not of as many rows, and
            for types that JSON has no form for; FAILED_PRECONDITION for strings that
            are not texts.
    """
    names = _names(outputs)
    for name in names:
        if not outputs[name].ndim:
            raise invalid(f"Tensor name: {name} has no shape information")
        got, expected = len(outputs[name]), len(outputs[names[0]])
        if got != expected:
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {got} expecting: "
                f"{expected}"
            )
    columns = [_nested(name, outputs[name], depth=1) for name in names]
    if len(names) == 1:
        rows = columns[0]
    else:
        keys = [json.dumps(name) for name in names]
        rows = [_object(keys, values) for values in zip(*columns)]
    return f'{{"predictions": [{", ".join(rows)}]}}'.encode()


def columns_json(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Returns {"outputs": ...}: one tensor, or an object of tensors by their names.

    Raises:
        ServingError: As `rows_json`, except that shapes may differ.
    """
    names = _names(outputs)
    tensors = [_nested(name, outputs[name], depth=0)[0] for name in names]
    if len(names) == 1:
        return f'{{"outputs": {tensors[0]}}}'.encode()
    keys = [json.dumps(name) for name in names]
    return f'{{"outputs": {_object(keys, tensors)}}}'.encode()


def _names(outputs: Mapping[str, np.ndarray]) -> list[str]:
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    return sorted(outputs)


def _object(keys: list[str], values: list[str] | tuple[str, ...]) -> str:
    return f"{{{', '.join(f'{key}: {value}' for key, value in zip(keys, values))}}}"


def _nested(name: str, array: np.ndarray, *, depth: int) -> list[str]:
    """Returns the JSON of each entry of an array at a depth; at 0 there is one, all."""
    texts = _texts(name, array.ravel())
    for axis in reversed(range(depth, array.ndim)):
        size, lists = array.shape[axis], math.prod(array.shape[:axis])
        texts = [
            f"[{', '.join(texts[number * size : (number + 1) * size])}]"
            for number in range(lists)
        ]
    return texts


def _texts(name: str, values: np.ndarray) -> list[str]:
    """Returns the JSON of each value of a [N] array."""
    if values.dtype == object:
        write = _base64 if name.endswith("_bytes") else _text
        return [write(name, value) for value in values]
    if values.dtype == bool:
        return ["true" if value else "false" for value in values.tolist()]
    if values.dtype.kind in "iu":
        return list(map(str, values.tolist()))
    if values.dtype == np.float64:
        texts = list(map(repr, values.tolist()))
        return _with_tokens(texts, values)
    # half and bfloat16 are exact in float32; numpy knows bfloat16 as kind "V".
    if values.dtype == np.float32 or values.dtype.name in ("float16", "bfloat16"):
        return _float32_texts(values.astype(np.float32))
    raise invalid(
        f"Failed to write JSON value for tensor type: {values.dtype.name}; ask for "
        f"{name} over gRPC"
    )


def _float32_texts(values: np.ndarray) -> list[str]:
    """Returns decimals that read back as the same float32, as TF Serving's do.

    Six digits where they suffice, else nine, which always do; whole numbers keep a
    ".0". All in one formatting: 32 embeddings of 128 take 1.4 ms, half of what
    `str` of each value takes, and 0.4 times `json.dumps` of them as doubles.
    """
    doubles = values.astype(np.float64)
    size = np.where(np.isfinite(doubles) & (doubles != 0), np.abs(doubles), 1.0)
    scale = 10.0 ** (5 - np.floor(np.log10(size)))
    nine = (np.rint(doubles * scale) / scale).astype(np.float32) != values
    # From here on "%g" writes an exponent, which shows a fraction well enough.
    whole = (np.trunc(doubles) == doubles) & (size < np.where(nine, 1e9, 1e6))
    formats = FLOAT_FORMATS[nine + 2 * whole].tolist()
    texts = (" ".join(formats) % tuple(doubles.tolist())).split(" ")
    return _with_tokens(texts if values.size else [], values)


def _with_tokens(texts: list[str], values: np.ndarray) -> list[str]:
    """Returns the texts with JavaScript's words for what is not finite."""
    for place in np.flatnonzero(~np.isfinite(values)).tolist():
        texts[place] = TOKENS[repr(float(values[place]))]
    return texts


def _base64(name: str, value: bytes | str) -> str:
    raw = value.encode() if isinstance(value, str) else value
    return f'{{"b64": "{base64.b64encode(raw).decode()}"}}'


def _text(name: str, value: bytes | str) -> str:
    """Returns a string as JSON; TF Serving would write bytes that are no JSON."""
    try:
        text = value.decode() if isinstance(value, bytes) else value
        return json.dumps(text, ensure_ascii=False)
    except UnicodeDecodeError as error:
        raise ServingError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"The output {name} has bytes that are not UTF-8; REST writes only outputs "
            "whose name ends in _bytes as base64, gRPC takes all",
        ) from error
