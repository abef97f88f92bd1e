"""Status, metadata, metrics and other origins over REST."""

from __future__ import annotations

import re

import httpx
import pytest

TINY = "/v1/models/tiny"
METRICS = "/monitoring/prometheus/metrics"
PATIENCE_S = 60
OK = {"error_code": "OK", "error_message": ""}


@pytest.fixture(scope="module")
def rest(target):
    with httpx.Client(base_url=target.rest, timeout=PATIENCE_S) as client:
        yield client


def page(response):
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def error_of(response, status):
    assert response.status_code == status, response.text
    return response.json()["error"]


def test_the_status_has_every_version_as_a_text_newest_first(rest):
    assert page(rest.get(TINY)) == {
        "model_version_status": [
            {"version": "2", "state": "AVAILABLE", "status": OK},
            {"version": "1", "state": "AVAILABLE", "status": OK},
        ]
    }


def test_the_status_of_one_version_is_asked_in_any_case(rest):
    one = [{"version": "1", "state": "AVAILABLE", "status": OK}]
    for path in (f"{TINY}/versions/1", "/V1/Models/tiny/Versions/1"):
        assert page(rest.get(path)) == {"model_version_status": one}


def test_a_label_does_not_change_the_status(rest):
    assert page(rest.get(f"{TINY}/labels/stable")) == page(rest.get(TINY))


def test_the_status_of_nobody_is_404(rest):
    told = error_of(rest.get("/v1/models/no"), 404)
    assert told == "Could not find any versions of model no"
    told = error_of(rest.get(f"{TINY}/versions/9"), 404)
    assert told == "Could not find version 9 of model tiny"


def test_a_version_that_fails_to_load_is_a_page_all_the_same(rest, new_model):
    model = new_model()
    model.put(1)
    model.serve()
    broken = {}

    def cut(folder):
        (folder / "saved_model.pb").write_bytes(b"cut")

    model.put(2, extra=cut)

    def is_told():
        content = page(rest.get(f"/v1/models/{model.name}"))
        broken.update(content["model_version_status"][0])
        return broken["state"] == "END"

    model.target.until(is_told)
    assert broken["version"] == "2"
    assert broken["status"]["error_code"] != "OK"
    assert broken["status"]["error_message"]


def test_metadata_has_every_signature_with_types_and_shapes(rest):
    content = page(rest.get(f"{TINY}/metadata"))
    assert content["model_spec"]["name"] == "tiny"
    assert content["model_spec"]["version"] == "2"
    signatures = content["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) >= {"serving_default", "sum", "echo", "matmul", "slow"}
    assert "__saved_model_init_op" in signatures
    m = signatures["matmul"]["inputs"]["m"]
    assert m["dtype"] == "DT_FLOAT"
    assert [one["size"] for one in m["tensor_shape"]["dim"]] == ["-1", "3"]
    assert signatures["matmul"]["method_name"] == "tensorflow/serving/predict"


@pytest.mark.parametrize(
    ("path", "version"), [("/versions/1", "1"), ("/labels/canary", "2")]
)
def test_metadata_is_of_the_version_or_label_that_is_named(rest, path, version):
    content = page(rest.get(f"{TINY}{path}/metadata"))
    assert content["model_spec"]["version"] == version


def test_metadata_of_nobody_is_told(rest):
    told = error_of(rest.get("/v1/models/no/metadata"), 404)
    assert "Servable not found for request: Latest(no)" in told
    told = error_of(rest.get(f"{TINY}/labels/no/metadata"), 400)
    assert "Unrecognized servable version label: no" in told


def metrics_of(rest):
    response = rest.get(METRICS)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    return response.text


def test_the_metrics_page_has_types_and_counts_requests(rest, target):
    pattern = re.compile(
        r'^:tensorflow:serving:request_count\{model_name="tiny",\s*status="OK"\} (\S+)',
        re.MULTILINE,
    )

    def counted():
        found = pattern.search(metrics_of(rest))
        return float(found[1]) if found else 0.0

    before = counted()
    rest.post(f"{TINY}:predict", json={"instances": [1]}).raise_for_status()
    target.until(lambda: counted() >= before + 1)
    text = metrics_of(rest)
    assert "# TYPE :tensorflow:serving:request_count counter" in text


def test_the_metrics_page_is_at_its_exact_path_alone(rest):
    for path in (f"{METRICS}/", f"{METRICS}/x", "/monitoring", METRICS.upper()):
        assert rest.get(path).status_code == 404


ORIGIN = {"Origin": "http://shop.example"}


def test_other_origins_are_not_let_in_unless_told(rest):
    response = rest.get(TINY, headers=ORIGIN)
    assert "access-control-allow-origin" not in response.headers


def test_other_origins_are_let_in_where_told(serve_here):
    target = serve_here(rest_port=0, enable_cors=True)
    url = f"{target.rest}{TINY}"
    asked = httpx.options(
        f"{url}:predict", headers={**ORIGIN, "Access-Control-Request-Method": "POST"}
    )
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-methods"] == "POST, GET"
    response = httpx.get(url, headers=ORIGIN)
    assert response.headers["access-control-allow-origin"] == "*"
