""":predict over REST: rows and columns, base64, what JSON cannot say, and by whom."""

from __future__ import annotations

import gzip

import httpx
import pytest

TINY = "/v1/models/tiny"
PATIENCE_S = 60


@pytest.fixture(scope="module")
def rest(target):
    with httpx.Client(base_url=target.rest, timeout=PATIENCE_S) as client:
        yield client


def answer(response):
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


# Version 2 answers where none is named: x / 2 + 3.
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"instances": [1, 2.5]}, {"predictions": [3.5, 4.25]}),
        ({"instances": [{"x": 1}, {"x": 2.5}]}, {"predictions": [3.5, 4.25]}),
        ({"inputs": [1, 2.5]}, {"outputs": [3.5, 4.25]}),
        ({"inputs": {"x": [1, 2.5]}}, {"outputs": [3.5, 4.25]}),
        ({"inputs": {"x": []}}, {"outputs": []}),
        (
            {"signature_name": "serving_default", "instances": [1]},
            {"predictions": [3.5]},
        ),
        (
            {
                "signature_name": "sum",
                "instances": [{"a": 5, "b": 3}, {"a": 1, "b": 1}],
            },
            {
                "predictions": [
                    {"total": 8.0, "difference": 2.0},
                    {"total": 2.0, "difference": 0.0},
                ]
            },
        ),
        (
            {"signature_name": "sum", "inputs": {"a": [5, 1], "b": [3, 1]}},
            {"outputs": {"total": [8.0, 2.0], "difference": [2.0, 0.0]}},
        ),
        (
            {"signature_name": "matmul", "instances": [[1, 2, 3], [0, 0, 1]]},
            {"predictions": [[4.0, 5.0], [1.0, 1.0]]},
        ),
        (
            {"signature_name": "matmul", "inputs": [[1, 2, 3], [0, 0, 1]]},
            {"outputs": [[4.0, 5.0], [1.0, 1.0]]},
        ),
        ({"signature_name": "slow", "inputs": 3}, {"outputs": 3}),
        ({"signature_name": "slow", "inputs": {"steps": 3}}, {"outputs": 3}),
    ],
    ids=[
        "rows",
        "named rows",
        "columns",
        "named columns",
        "no rows in columns",
        "signature",
        "rows of two tensors",
        "columns of two tensors",
        "rows of lists",
        "columns of lists",
        "scalar",
        "named scalar",
    ],
)
def test_values_are_answered_in_the_form_they_came(rest, body, expected):
    assert answer(rest.post(f"{TINY}:predict", json=body)) == expected


# "w6k=" is the UTF-8 of an e with an acute accent; "AP8=" is no UTF-8.
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"instances": [{"b64": "w6k="}, {"b64": "YQ=="}]},
            {
                "predictions": [
                    {"text": "\u00e9", "text_bytes": {"b64": "w6k="}},
                    {"text": "a", "text_bytes": {"b64": "YQ=="}},
                ]
            },
        ),
        (
            {"instances": [{"text": {"b64": "YQ=="}}]},
            {"predictions": [{"text": "a", "text_bytes": {"b64": "YQ=="}}]},
        ),
        (
            {"inputs": {"text": [{"b64": "YQ=="}, "b"]}},
            {
                "outputs": {
                    "text": ["a", "b"],
                    "text_bytes": [{"b64": "YQ=="}, {"b64": "Yg=="}],
                }
            },
        ),
        (
            {"inputs": {"b64": "YQ=="}},
            {"outputs": {"text": "a", "text_bytes": {"b64": "YQ=="}}},
        ),
        (
            {"inputs": {"text": "\u00e9"}},
            {"outputs": {"text": "\u00e9", "text_bytes": {"b64": "w6k="}}},
        ),
    ],
    ids=["rows", "named rows", "list", "scalar", "text"],
)
def test_base64_goes_in_anywhere_and_out_by_name_alone(rest, body, expected):
    body = {"signature_name": "echo", **body}
    assert answer(rest.post(f"{TINY}:predict", json=body)) == expected


def test_numbers_that_json_lacks_stand_as_tokens(rest):
    body = '{"instances": [NaN, Infinity, -Infinity]}'
    response = rest.post(f"{TINY}:predict", content=body)
    assert response.status_code == 200
    assert "".join(response.text.split()) == '{"predictions":[NaN,Infinity,-Infinity]}'


def test_a_float_comes_back_as_the_very_float(rest):
    # The nearest float32 to it, and one of nine digits; y = x / 2 + 3 is exact.
    numbers = [0.100000001490116, 16777213.0, -2.00000095]
    body = {"signature_name": "sum", "inputs": {"a": numbers, "b": [0, 0, 0]}}
    found = answer(rest.post(f"{TINY}:predict", json=body))["outputs"]["total"]
    assert found == pytest.approx(numbers, rel=2**-25)


@pytest.mark.parametrize(
    ("path", "adds"),
    [
        ("/v1/models/tiny/versions/1", 2.0),
        ("/v1/models/tiny/versions/2", 3.0),
        ("/v1/models/tiny/labels/stable", 2.0),
        ("/v1/models/tiny/labels/canary", 3.0),
        ("/v1/models/plain", 3.0),
        ("/V1/Models/tiny/VERSIONS/1", 2.0),
        ("/v1/MODELS/tiny/Labels/stable", 2.0),
    ],
)
def test_version_and_label_say_who_answers_in_any_case(rest, path, adds):
    for verb in (":predict", ":PREDICT"):
        response = rest.post(f"{path}{verb}", json={"instances": [0]})
        assert answer(response) == {"predictions": [adds]}


def test_two_signatures_answer_in_turn(rest):
    for _ in range(3):
        body = {"signature_name": "matmul", "inputs": [[1, 2, 3]]}
        assert answer(rest.post(f"{TINY}:predict", json=body)) == {
            "outputs": [[4.0, 5.0]]
        }
        body = {"instances": [1]}
        assert answer(rest.post(f"{TINY}:predict", json=body)) == {"predictions": [3.5]}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_the_content_type_does_not_count(rest, kind):
    response = rest.post(
        f"{TINY}:predict", content='{"instances": [1]}', headers={"Content-Type": kind}
    )
    assert answer(response) == {"predictions": [3.5]}


def test_a_body_may_be_gzipped(rest):
    body = gzip.compress(b'{"instances": [1]}')
    headers = {"Content-Encoding": "gzip"}
    response = rest.post(f"{TINY}:predict", content=body, headers=headers)
    assert answer(response) == {"predictions": [3.5]}


def test_a_new_version_answers_over_rest_too(rest, new_model):
    model = new_model()
    model.put(1)
    model.serve()
    response = rest.post(f"/v1/models/{model.name}:predict", json={"instances": [0]})
    assert answer(response) == {"predictions": [2.0]}
    model.put(2, add=3.0)
    model.target.until(lambda: model.states().get(2) == "AVAILABLE")
    response = rest.post(f"/v1/models/{model.name}:predict", json={"instances": [0]})
    assert answer(response) == {"predictions": [3.0]}
