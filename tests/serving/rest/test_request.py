"""Bodies of REST and answers to them: rows, columns, and the way back."""

from __future__ import annotations

import base64
import json

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo

from simprod_tf.serving.rest.answer import columns_json, rows_json
from simprod_tf.serving.rest.request import (
    is_row_form,
    parse_body,
    signature_name_of,
    tensors_of,
)
from simprod_tf.serving.status import ServingError


def info(**types: tf.DType) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(dtype=dtype.as_datatype_enum) for name, dtype in types.items()
    }


def read(body: str, **types: tf.DType) -> dict[str, np.ndarray]:
    return tensors_of(parse_body(body.encode()), info(**types))


def refused(body: str, **types: tf.DType) -> str:
    with pytest.raises(ServingError) as caught:
        read(body, **types)
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    return caught.value.message


PAIR = {"a": tf.float32, "b": tf.float32}


def test_rows_of_plain_values_are_the_only_input():
    assert read('{"instances": [1, 2.5, -3]}', x=tf.float32)["x"].tolist() == [
        1,
        2.5,
        -3,
    ]
    matrix = read('{"instances": [[1, 2], [3, 4], [5, 6]]}', x=tf.int32)["x"]
    assert matrix.tolist() == [[1, 2], [3, 4], [5, 6]]
    texts = read('{"instances": ["a", {"b64": "Yg=="}]}', x=tf.string)["x"]
    assert texts.tolist() == [b"a", b"b"]


def test_rows_of_objects_give_every_input():
    rows = '[{"a": 1, "b": [2, 3]}, {"b": [5, 6], "a": 4}]'
    tensors = read(f'{{"instances": {rows}}}', **PAIR)
    assert tensors["a"].tolist() == [1, 4]
    assert tensors["b"].tolist() == [[2, 3], [5, 6]]


def test_columns_are_whole_tensors():
    assert read('{"inputs": [[1, 2]]}', x=tf.float32)["x"].shape == (1, 2)
    assert read('{"inputs": {"x": 3}}', x=tf.float32)["x"].shape == ()
    assert read('{"inputs": {"b64": "YQ=="}}', x=tf.string)["x"].item() == b"a"
    assert read('{"inputs": []}', x=tf.float32)["x"].shape == (0,)
    both = read('{"inputs": {"a": [1], "b": [[2, 3]]}}', **PAIR)
    assert both["a"].shape == (1,) and both["b"].shape == (1, 2)


def test_signature_and_form_are_read():
    body = parse_body(b'\xef\xbb\xbf {"signature_name": "embed", "instances": [1]}')
    assert signature_name_of(body) == "embed" and is_row_form(body)
    assert signature_name_of({}) == ""
    assert not is_row_form({"inputs": 1})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"[1]", "JSON Value: Array of 1 Is not object"),
        (b'{"inputs": 1', "JSON Parse error: Expecting"),
        (b'{"inputs": "\xff"}', "the body is not UTF-8 at offset: 12"),
        ('{"inputs": 1}'.encode("utf-16"), "the body is not UTF-8 at offset: 0"),
        (b'{"a": 1, "b": 2, "a": 3}', 'the key "a" stands twice'),
        (b'{"inputs": {"x": {"b64": "", "b64": ""}}}', 'the key "b64" stands twice'),
        (b'{"inputs": ' + b"[" * 10_000, "values are nested too deep"),
        (b'{"inputs": ' + b'{"a":' * 10_000, "values are nested too deep"),
        (b'{"inputs": ' + b"9" * 5000 + b"}", "Number too big to be stored in double"),
        (b"title=mug&image=", "JSON Parse error: Expecting value at offset: 0"),
    ],
    ids=lambda value: str(value)[:25],
)
def test_bodies_that_are_not_one_object_are_refused(body, text):
    with pytest.raises(ServingError) as caught:
        parse_body(body)
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("body", "types", "text"),
    [
        ("{}", PAIR, "Missing 'inputs' or 'instances' key"),
        (
            '{"inputs": 1, "instances": [1]}',
            PAIR,
            "expecting only one of 'inputs' or 'instances' keys to exist",
        ),
        ('{"instances": []}', PAIR, "No values in 'instances' array"),
        ('{"instances": 1}', PAIR, "Expecting 'instances' to be an list/array"),
        (
            '{"instances": [1]}',
            PAIR,
            "instances is a plain list, but expecting list of",
        ),
        ('{"inputs": [1]}', PAIR, "inputs is a plain value/list, but expecting an obj"),
        ('{"inputs": {"a": 1}}', PAIR, "Missing named input: b in 'inputs' object."),
        (
            '{"inputs": {"a": 1, "b": 1, "c": 1}}',
            PAIR,
            'does not have named input: "c"; the signature has a,b',
        ),
        (
            '{"instances": [{"a": 1, "b": 1}, {"a": 1}]}',
            PAIR,
            "Failed to process element: 1 of 'instances' list. JSON object has keys a; "
            "keys must be equal to: a,b",
        ),
        (
            '{"instances": [{"a": 1, "b": 1}, [1]]}',
            PAIR,
            "Expecting object but got value/list at item 1 of input list",
        ),
        (
            '{"instances": [1, {"x": 1}]}',
            {"x": tf.int32},
            "Expecting value/list but got object at item 1 of input list",
        ),
        (
            '{"instances": [[1, 2], [3]]}',
            {"x": tf.int32},
            "Failed to process element: 1 of 'instances' list. "
            "Error: INVALID_ARGUMENT: Expecting shape [2] but got: [1]",
        ),
        (
            '{"instances": [{"a": 1, "b": 1}, {"a": 1, "b": "x"}]}',
            PAIR,
            "Failed to process element: 1 key: b of 'instances' list. Error: "
            'INVALID_ARGUMENT: JSON Value: "x" Type: String is not of expected type',
        ),
        ('{"inputs": 1}', {}, "The signature has no inputs"),
        ('{"inputs": 1e400}', {"x": tf.float64}, "Number too big to be stored in doub"),
    ],
)
def test_forms_that_do_not_fit_the_signature_are_refused(body, types, text):
    assert text in refused(body, **types)


@pytest.mark.parametrize("name", ["1", "null", "[]", '"\\ud800"'])
def test_a_signatures_name_is_a_text(name):
    with pytest.raises(ServingError) as caught:
        signature_name_of(parse_body(f'{{"signature_name": {name}}}'.encode()))
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT


def test_one_output_drops_its_name_and_several_keep_theirs():
    y, z = np.float32([1, 2.5]), np.int64([[1, 2], [3, 4]])
    assert rows_json({"y": y}) == b'{"predictions": [1.0, 2.5]}'
    assert columns_json({"y": y}) == b'{"outputs": [1.0, 2.5]}'
    assert json.loads(rows_json({"y": y, "z": z})) == {
        "predictions": [{"y": 1.0, "z": [1, 2]}, {"y": 2.5, "z": [3, 4]}]
    }
    assert json.loads(columns_json({"y": y, "z": z})) == {
        "outputs": {"y": [1.0, 2.5], "z": [[1, 2], [3, 4]]}
    }


def test_only_names_that_end_in_bytes_are_base64():
    raw = np.array(["é".encode()], object)
    assert json.loads(rows_json({"text": raw, "text_bytes": raw})) == {
        "predictions": [{"text": "é", "text_bytes": {"b64": "w6k="}}]
    }
    assert json.loads(columns_json({"a_bytes": np.array(b"\xff", object)})) == {
        "outputs": {"b64": "/w=="}
    }


def test_bytes_that_are_no_text_are_refused_and_the_way_out_told():
    with pytest.raises(ServingError, match="name ends in _bytes") as caught:
        rows_json({"picture": np.array([b"\xff"], object)})
    assert caught.value.code == grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.float32(3), "3.0"),
        (np.float32([np.nan, np.inf, -np.inf]), "[NaN, Infinity, -Infinity]"),
        (np.float64([np.nan, 0.1, 1e300]), "[NaN, 0.1, 1e+300]"),
        # Six digits where they suffice, else nine: TF Serving's digits.
        (np.float32([0.1, 1 / 3, 1e6, 123456, -0.0]), None),
        (np.float16([0.1]), "[0.0999755859]"),
        (np.array([True, False]), "[true, false]"),
        (np.uint64([2**64 - 1]), "[18446744073709551615]"),
        (np.zeros([0], np.float32), "[]"),
        (np.zeros([2, 0, 3], np.float32), "[[], []]"),
        (np.zeros([0, 3], np.float32), "[]"),
        (np.arange(8).reshape(2, 2, 2), "[[[0, 1], [2, 3]], [[4, 5], [6, 7]]]"),
    ],
)
def test_values_are_written_as_worked_by_hand(array, expected):
    expected = expected or "[0.1, 0.333333343, 1e+06, 123456.0, -0.0]"
    assert (
        columns_json({"y": np.asarray(array)}) == f'{{"outputs": {expected}}}'.encode()
    )


def test_bfloat16_is_written_as_the_float_that_it_is():
    array = tf.constant([0.1, 2.0], tf.bfloat16).numpy()
    assert columns_json({"y": array}) == b'{"outputs": [0.100097656, 2.0]}'


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({"y": np.float32(1)}, "Tensor name: y has no shape information"),
        (
            {"y": np.zeros(2), "z": np.zeros(3)},
            "Tensor name: z has inconsistent batch size: 3 expecting: 2",
        ),
        (
            {"y": np.zeros(1, np.complex64)},
            "Failed to write JSON value for tensor type",
        ),
        ({}, "Cannot convert empty tensor map to JSON"),
    ],
)
def test_outputs_that_have_no_rows_are_refused(outputs, text):
    with pytest.raises(ServingError, match=text):
        rows_json(outputs)


SHAPES = arrays.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.float32, SHAPES, elements=st.floats(width=32)))
@example(np.array([np.finfo(np.float32).max, np.finfo(np.float32).tiny], np.float32))
def test_float32_come_back_bit_for_bit(array):
    values = json.dumps(json.loads(columns_json({"x": array}))["outputs"])
    again = read(f'{{"inputs": {values}}}', x=tf.float32)["x"]
    np.testing.assert_array_equal(again, array)
    signs = np.signbit(again) == np.signbit(array)
    assert (signs | np.isnan(array)).all()


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(
        [np.int8, np.uint8, np.int32, np.int64, np.uint64, np.bool_]
    ).flatmap(lambda kind: arrays.arrays(kind, SHAPES))
)
def test_whole_numbers_and_booleans_come_back_as_rows(array):
    values = json.dumps(json.loads(rows_json({"x": array}))["predictions"])
    again = read(f'{{"instances": {values}}}', x=tf.dtypes.as_dtype(array.dtype))["x"]
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.text(max_size=20))
def test_bytes_and_texts_come_back(raws, text):
    array = np.empty(len(raws), object)
    array[:] = raws
    answer = json.loads(rows_json({"x_bytes": array}))["predictions"]
    assert [base64.b64decode(entry["b64"]) for entry in answer] == raws
    again = read(json.dumps({"instances": answer}), x=tf.string)["x"]
    assert again.tolist() == raws
    texts = np.array([text.encode()], object)
    answer = json.loads(rows_json({"x": texts}))["predictions"]
    assert answer == [text]
    assert (
        read(json.dumps({"instances": answer}), x=tf.string)["x"].item()
        == text.encode()
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["b64", "a", "x"]) | st.text(), inner, max_size=3
        )
    ),
    max_leaves=8,
)
TYPES = st.sampled_from([tf.float32, tf.int32, tf.string, tf.bool, tf.float16])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["instances", "inputs", "signature_name"]), JSON, TYPES)
def test_any_json_is_read_or_refused_with_a_code(key, value, dtype):
    body = json.dumps({key: value}).encode()
    for types in ({"x": dtype}, {"a": dtype, "x": tf.float32}):
        try:
            parsed = parse_body(body)
            signature_name_of(parsed)
            tensors = tensors_of(parsed, info(**types))
        except ServingError as error:
            assert error.code == grpc.StatusCode.INVALID_ARGUMENT and error.message
        else:
            assert tensors.keys() == types.keys()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:019.eE-tfn\\u', max_size=60))
def test_any_bytes_are_an_object_or_refused(body):
    try:
        parsed = parse_body(body.encode() if isinstance(body, str) else body)
    except ServingError as error:
        assert error.code == grpc.StatusCode.INVALID_ARGUMENT and error.message
    else:
        assert isinstance(parsed, dict)
