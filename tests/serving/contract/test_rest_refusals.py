"""What REST refuses: by which number, and with which words in `{"error": ...}`.

A text marked OURS is not known of TensorFlow Serving: another target is asked for the
number alone.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from simprod_tf.serving.server.limits import Limits

TINY = "/v1/models/tiny"
PATIENCE_S = 60
OURS = True


@pytest.fixture(scope="module")
def rest(target):
    with httpx.Client(base_url=target.rest, timeout=PATIENCE_S) as client:
        yield client


def error_of(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    content = response.json()
    assert list(content) == ["error"]
    return content["error"]


def refused(rest, target, body, text, *, ours=False, path=TINY, status=400):
    content = body if isinstance(body, (str, bytes)) else json.dumps(body)
    told = error_of(rest.post(f"{path}:predict", content=content), status)
    if target.is_ours or not ours:
        assert text in told


@pytest.mark.parametrize(
    ("body", "text", "ours"),
    [
        ("", "JSON Parse error", False),
        ("{", "JSON Parse error", False),
        ('{"instances": [1]', "JSON Parse error", False),
        ("[1]", "Is not object", OURS),
        ({}, "Missing 'inputs' or 'instances' key", False),
        ({"signature_name": "sum"}, "Missing 'inputs' or 'instances' key", False),
        (
            {"instances": [1], "inputs": [1]},
            "only one of 'inputs' or 'instances'",
            OURS,
        ),
        ({"instances": []}, "No values in 'instances' array", False),
        ({"instances": 1}, "Expecting 'instances' to be an list/array", OURS),
        ({"instances": {"x": [1]}}, "Expecting 'instances' to be an list/array", OURS),
        ({"signature_name": 5, "instances": [1]}, "must be a string value", OURS),
        (
            {"signature_name": "S", "instances": [1]},
            'Serving signature name: "S" not found in signature def',
            False,
        ),
    ],
    ids=lambda one: str(one)[:40] if isinstance(one, (dict, str)) else "",
)
def test_what_is_no_request_is_told(rest, target, body, text, ours):
    refused(rest, target, body, text, ours=ours)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"instances": [1, [2]]}, "Expecting shape [] but got: [1]"),
        ({"inputs": [1, [2]]}, "Encountered list at unexpected level: 1 expected < 1"),
        ({"inputs": [[1], 2]}, "found at incorrect level: 1"),
        (
            {"inputs": [[1, 2], [3]]},
            "list at unexpected size: 1 at level: 1 expected s",
        ),
        ({"instances": [[1, 2], [3]]}, "Expecting shape [2] but got: [1]"),
        ({"instances": [1, {"x": 2}]}, "Expecting value/list but got object at item 1"),
        ({"instances": [{"x": 2}, 1]}, "Expecting object but got value/list at item 1"),
        ({"instances": [{"z": 2}]}, "keys must be equal to: x"),
        ({"instances": [{"x": 2, "z": 2}]}, "keys must be equal to: x"),
        ({"inputs": {"z": [2]}}, "Missing named input: x in 'inputs' object"),
        ({"instances": ["1"]}, "is not of expected type: float"),
        ({"instances": [True]}, "is not of expected type: float"),
        ({"instances": [None]}, "is not of expected type: float"),
        ({"instances": [16777217]}, "to float without loss of precision"),
        ({"signature_name": "sum", "instances": [1]}, "expecting list of objects"),
        ({"signature_name": "sum", "inputs": [1]}, "expecting an object"),
        ({"signature_name": "sum", "inputs": {"a": [1]}}, "Missing named input: b in"),
        ({"signature_name": "slow", "inputs": 1.5}, "is not of expected type: int32"),
        ({"signature_name": "slow", "inputs": 2**31}, "is not of expected type: int32"),
        (
            {"signature_name": "echo", "instances": [5]},
            "is not of expected type: strin",
        ),
        ({"signature_name": "echo", "instances": [{"b64": "!"}]}, "base64 decode"),
        ({"signature_name": "echo", "inputs": {"text": {"b64": 5}}}, "base64 data"),
    ],
    ids=lambda one: str(one)[:40],
)
def test_values_that_do_not_fit_the_signature_are_told(rest, target, body, text):
    refused(rest, target, body, text, ours=OURS)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"instances": [1], "instances": [2]}', "stands twice"),
        ({"inputs": {"x": [1], "z": [2]}}, "does not have named input"),
        (b'{"instances": ["\xff"]}', "is not UTF-8"),
        (
            {"signature_name": "echo", "inputs": [{"b64": "AP8="}]},
            "whose name ends in _bytes",
        ),
    ],
)
def test_ours_is_stricter_where_an_answer_would_mislead(rest, target, body, text):
    if not target.is_ours:
        pytest.skip("a difference of ours: TensorFlow Serving takes these")
    refused(rest, target, body, text)


def test_the_runtimes_own_words_come_through(rest, target):
    body = {"signature_name": "matmul", "inputs": [[1, 2]]}
    refused(rest, target, body, "Matrix size-incompatible: In[0]: [1,2], In[1]: [3,2]")


def test_an_output_without_rows_has_no_row_form(rest, target):
    body = {"signature_name": "slow", "instances": [1]}
    refused(rest, target, body, "", ours=OURS)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/v1/models/no", 404, "Servable not found for request: Latest(no)"),
        (
            f"{TINY}/versions/9",
            404,
            "Servable not found for request: Specific(tiny, 9)",
        ),
        (f"{TINY}/labels/no", 400, "Unrecognized servable version label: no"),
    ],
)
def test_a_model_that_does_not_serve_is_told(rest, target, path, status, text):
    refused(rest, target, {"instances": [1]}, text, path=path, status=status)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/model/tiny"),
        ("GET", "/v1/models/tiny:predict"),
        ("POST", "/v1/models/tiny"),
        ("POST", "/v1/models/tiny:guess"),
        ("POST", "/v1/models/tiny/versions/one:predict"),
        ("POST", "/v1/models/tiny/versions/1/labels/stable:predict"),
        ("GET", "/v1/models/tiny/metadata/more"),
    ],
)
def test_a_malformed_path_is_told_as_it_came(rest, method, path):
    content = '{"instances": [1]}' if method == "POST" else None
    told = error_of(rest.request(method, path, content=content), 400)
    assert told == f"Malformed request: {method} {path}"


def test_a_version_beyond_64_bits_is_no_version(rest):
    told = error_of(rest.get(f"{TINY}/versions/{2**63}"), 400)
    assert "Failed to convert version" in told


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_classify_and_regress_are_not_there(rest, target, verb):
    response = rest.post(f"{TINY}:{verb}", json={"examples": [{"x": 1}]})
    if target.is_ours:
        told = error_of(response, 501)
        assert told == f"This server does not {verb}; ask the model with :predict."
    else:
        # The signatures are for predict alone.
        error_of(response, 400)


def until_taken(post):
    """Returns the first response that is not 429: a probe may be in its place."""
    while (response := post()).status_code == 429:
        pass
    return response


def test_beyond_its_limits_ours_says_413_504_and_429(serve_here):
    limits = Limits(concurrency=1, queue=0, message_bytes=10_000)
    target = serve_here(rest_port=0, rest_timeout=1.0, limits=limits)
    endless = {"signature_name": "slow", "inputs": 10_000_000}
    url = f"{target.rest}{TINY}:predict"

    def post(**options):
        return httpx.post(url, timeout=PATIENCE_S, **options)

    told = error_of(post(content=b"0" * 10_001), 413)
    assert "larger than 10000 bytes" in told
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(until_taken, lambda: post(json=endless))
        target.until(lambda: post(json={"instances": [1]}).status_code == 429)
        told = error_of(running.result(), 504)
    assert told
    # Its place is free again.
    target.until(lambda: post(json={"instances": [1]}).status_code == 200)
