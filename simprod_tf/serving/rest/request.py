"""The tensors that a REST body gives, by TF Serving's rules.

A body is `{"instances": [...]}`, a list of rows, or `{"inputs": ...}`, whole tensors;
`signature_name` may stand beside either. Types come from the signature: nothing is
converted that would change a value, so 1.0 is no integer and true is no number.

Where TF Serving is lax this is strict, with a 400 that says so: a key that stands
twice in an object, integers beyond their type, names beside those of the signature.
`NaN`, `Infinity` and `-Infinity` are numbers here as there.

Source of rules and texts: https://github.com/tensorflow/serving/blob/2.15.1/
tensorflow_serving/util/json_tensor.cc and its page "RESTful API".
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import tensorflow as tf

from simprod_tf.serving.rest.json_tensor import (
    CONSTANTS,
    MAX_RANK,
    TOO_BIG,
    invalid,
    is_base64,
    names_of,
    shape_of,
    shown,
    tensor_of,
    utf8,
)
from simprod_tf.serving.status import ServingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo


def parse_body(body: bytes) -> dict[str, Any]:
    """Returns the JSON object that a body holds.

    Raises:
        ServingError: INVALID_ARGUMENT, for all that is not one object in UTF-8.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        text = body.decode("utf-8-sig")
        parsed = json.loads(
            text,
            object_pairs_hook=_object_without_repeats,
            parse_constant=CONSTANTS.__getitem__,
        )
    except UnicodeDecodeError as error:
        raise invalid(
            f"JSON Parse error: the body is not UTF-8 at offset: {error.start}"
        ) from error
    except json.JSONDecodeError as error:
        raise invalid(
            f"JSON Parse error: {error.msg} at offset: {error.pos}"
        ) from error
    except RecursionError as error:
        raise invalid(
            "JSON Parse error: values are nested too deep; a tensor has at most "
            f"{MAX_RANK} dimensions"
        ) from error
    except ValueError as error:
        # Python reads integers of up to 4300 digits.
        raise invalid(TOO_BIG) from error
    if not isinstance(parsed, dict):
        raise invalid(f"JSON Value: {shown(parsed)} Is not object")
    return parsed


def signature_name_of(body: Mapping[str, Any]) -> str:
    """Returns the signature that a body asks for, "" where it names none."""
    name = body.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {shown(name)} not formatted correctly. 'signature_name' key "
            "must be a string value."
        )
    utf8(name)
    return name


def is_row_form(body: Mapping[str, Any]) -> bool:
    """Returns whether a body holds rows ("instances"), not whole tensors ("inputs")."""
    rows, columns = "instances" in body, "inputs" in body
    if rows and columns:
        raise invalid(
            "JSON object: Not formatted correctly expecting only one of 'inputs' or "
            "'instances' keys to exist"
        )
    if not rows and not columns:
        raise invalid("Missing 'inputs' or 'instances' key")
    return rows


def tensors_of(
    body: Mapping[str, Any], inputs: Mapping[str, TensorInfo]
) -> dict[str, np.ndarray]:
    """Returns the tensors of a body, by the names of a signature's inputs.

    Args:
        body: What `parse_body` returned.
        inputs: The signature's inputs; only names and types count, shapes do not.

    Returns:
        One array for each input, of the signature's type; strings are bytes in
        arrays of objects. In the row form the first dimension counts the rows.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the value or the row that is wrong;
            UNIMPLEMENTED for types that JSON cannot give.
    """
    if not inputs:
        raise invalid("The signature has no inputs, so that REST cannot ask for it")
    types = {name: tf.dtypes.as_dtype(inputs[name].dtype) for name in sorted(inputs)}
    if is_row_form(body):
        return _rows(body["instances"], types)
    return _columns(body["inputs"], types)


def _columns(value: Any, types: Mapping[str, tf.DType]) -> dict[str, np.ndarray]:
    """Returns the tensors of "inputs": one plain value, or an object by names."""
    if not isinstance(value, dict) or is_base64(value):
        if len(types) != 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple "
                f"input tensors required: {names_of(types)}"
            )
        ((name, dtype),) = types.items()
        return {name: tensor_of(value, dtype)}
    for name in types:
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    for name in value:
        if name not in types:
            raise invalid(
                f"JSON object: does not have named input: {shown(name)}; the "
                f"signature has {names_of(types)}"
            )
    return {name: tensor_of(value[name], dtype) for name, dtype in types.items()}


def _rows(rows: Any, types: Mapping[str, tf.DType]) -> dict[str, np.ndarray]:
    """Returns the tensors of "instances", each with the rows as first dimension."""
    if not isinstance(rows, list):
        raise invalid(
            f"JSON Value: {shown(rows)} Expecting 'instances' to be an list/array"
        )
    if not rows:
        raise invalid("JSON object: No values in 'instances' array")
    named = isinstance(rows[0], dict) and not is_base64(rows[0])
    for number, row in enumerate(rows):
        if (isinstance(row, dict) and not is_base64(row)) != named:
            wanted, got = ("object", "value/list")[:: 1 if named else -1]
            raise invalid(
                f"Expecting {wanted} but got {got} at item {number} of input list"
            )
    if not named:
        if len(types) != 1:
            raise invalid(
                "instances is a plain list, but expecting list of objects as multiple "
                f"input tensors required: {names_of(types)}"
            )
        ((name, dtype),) = types.items()
        return {name: _stacked(rows, dtype, key="")}
    for number, row in enumerate(rows):
        if row.keys() != types.keys():
            raise invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object "
                f"has keys {names_of(row)}; keys must be equal to: {names_of(types)}"
            )
    return {
        name: _stacked([row[name] for row in rows], dtype, key=f" key: {name}")
        for name, dtype in types.items()
    }


def _stacked(values: list[Any], dtype: tf.DType, *, key: str) -> np.ndarray:
    """Returns one tensor of the rows' values; an error names the first bad row."""
    try:
        return tensor_of(values, dtype)
    except ServingError as error:
        if error.code != grpc.StatusCode.INVALID_ARGUMENT:
            raise
        shape: tuple[int, ...] | None = None
        for number, value in enumerate(values):
            where = f"Failed to process element: {number}{key} of 'instances' list."
            try:
                got = tensor_of(value, dtype).shape
            except ServingError as inner:
                raise invalid(
                    f"{where} Error: INVALID_ARGUMENT: {inner.message}"
                ) from inner
            shape = got if shape is None else shape
            if got != shape:
                raise invalid(
                    f"{where} Error: INVALID_ARGUMENT: Expecting shape "
                    f"{shape_of(shape)} but got: {shape_of(got)}"
                ) from error
        raise


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    known = dict(pairs)
    if len(known) != len(pairs):
        repeated = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise invalid(f"JSON Parse error: the key {shown(repeated)} stands twice")
    return known
