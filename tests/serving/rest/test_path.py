"""Paths of REST: what they ask for, and what is malformed."""

from __future__ import annotations

import grpc
import pytest

from simprod_tf.serving.rest.path import HTTP_STATUS, target_of
from simprod_tf.serving.status import ServingError


@pytest.mark.parametrize(
    ("method", "path", "verb", "name", "version", "label"),
    [
        ("POST", "/v1/models/shop:predict", "predict", "shop", None, ""),
        ("POST", "/V1/Models/Shop:Predict", "predict", "Shop", None, ""),
        ("POST", "/v1/models/s/versions/12:predict", "predict", "s", 12, ""),
        ("POST", "/v1/models/s/labels/Canary:predict", "predict", "s", None, "Canary"),
        ("POST", "/v1/models/s:classify", "classify", "s", None, ""),
        ("POST", "/v1/models/s:REGRESS", "regress", "s", None, ""),
        ("GET", "/v1/models/s", "status", "s", None, ""),
        ("GET", "/v1/models/s/versions/0", "status", "s", 0, ""),
        ("GET", "/v1/models/s/labels/stable", "status", "s", None, "stable"),
        ("GET", "/v1/models/s/metadata", "metadata", "s", None, ""),
        ("GET", "/v1/models/s/versions/3/METADATA", "metadata", "s", 3, ""),
        ("GET", "/v1/models/metadata", "status", "metadata", None, ""),
        ("GET", "/v1/models/a%2Fb%C3%A9", "status", "a/bé", None, ""),
        ("GET", f"/v1/models/s/versions/{2**63 - 1}", "status", "s", 2**63 - 1, ""),
    ],
)
def test_a_path_names_model_version_or_label(method, path, verb, name, version, label):
    target = target_of(method, path)
    assert (target.verb, target.spec.name) == (verb, name)
    assert target.spec.version_label == label
    assert target.spec.HasField("version") == (version is not None)
    assert target.spec.version.value == (version or 0)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/s:predict"),
        ("POST", "/v1/models/s"),
        ("POST", "/v1/models/s:predict/"),
        ("POST", "/v1/models/s/versions/x:predict"),
        ("POST", "/v1/models/s/versions/1/labels/a:predict"),
        ("POST", "/v1/models/:predict"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/s/versions/-1"),
        ("GET", "/v1/"),
        ("PUT", "/v1/models/s:predict"),
        ("OPTIONS", "/v1/models/s"),
    ],
)
def test_other_paths_are_malformed(method, path):
    with pytest.raises(ServingError) as caught:
        target_of(method, path)
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.message == f"Malformed request: {method} {path}"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/v1/models", "Missing model name in request."),
        (
            f"/v1/models/s/versions/{2**63}",
            f"Failed to convert version: {2**63} to num",
        ),
        (f"/v1/models/s/versions/{'9' * 5000}", "Failed to convert version: 9999"),
        ("/v1/models/%FF", "Failed to decode model name: %FF is not UTF-8"),
        ("/v1/models/s/labels/%FF", "Failed to decode model version label: %FF"),
    ],
)
def test_names_and_versions_must_be_what_they_say(path, text):
    with pytest.raises(ServingError) as caught:
        target_of("GET", path)
    assert caught.value.message.startswith(text)


def test_a_number_stands_for_every_code_that_is_the_askers():
    numbers = {code.name: HTTP_STATUS.get(code, 500) for code in grpc.StatusCode}
    assert numbers["NOT_FOUND"] == 404
    assert numbers["FAILED_PRECONDITION"] == numbers["OUT_OF_RANGE"] == 400
    assert numbers["RESOURCE_EXHAUSTED"] == 429
    assert numbers["UNAVAILABLE"] == 503
    assert numbers["UNIMPLEMENTED"] == 501
    assert {numbers[name] for name in ("INTERNAL", "UNKNOWN", "DATA_LOSS")} == {500}
