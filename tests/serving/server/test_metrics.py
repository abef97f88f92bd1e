"""The page of Prometheus, read back by the library's own parser."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from simprod_tf.serving.server.limits import Gate, Limits
from simprod_tf.serving.server.metrics import Metrics
from simprod_tf.serving.status import ServingError


class TwoModels:
    """Models of two names; `new` has no version that is known."""

    def names(self):
        return ["shop", "new"]

    def status(self, name, version):
        if name == "new":
            raise ServingError(grpc.StatusCode.NOT_FOUND, "no versions")
        return [
            ModelVersionStatus(version=2, state=ModelVersionStatus.AVAILABLE),
            ModelVersionStatus(version=1, state=ModelVersionStatus.END),
        ]


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    metrics.watch_models(TwoModels())
    return metrics


def samples(metrics: Metrics) -> dict:
    """Returns every sample's value by its name and its labels' values, sorted."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): (
            sample.value
        )
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def test_requests_are_counted_by_model_and_status_in_tf_servings_names(metrics):
    for status in ("OK", "OK", "NOT_FOUND"):
        metrics.request("shop", "REST", status, 0.0001)
    metrics.request("shop", "GRPC", "OK", 3)
    page = metrics.text().decode()
    assert "# TYPE :tensorflow:serving:request_count counter\n" in page
    assert "# TYPE :tensorflow:serving:request_latency histogram\n" in page
    count = ":tensorflow:serving:request_count"
    assert f'{count}{{model_name="shop",status="OK"}} 3.0\n' in page
    assert f'{count}{{model_name="shop",status="NOT_FOUND"}} 1.0\n' in page
    found = samples(metrics)
    latency = ":tensorflow:serving:request_latency"
    assert found[f"{latency}_count", "predict", "REST", "shop"] == 3
    assert found[f"{latency}_sum", "predict", "REST", "shop"] == pytest.approx(300)
    assert found[f"{latency}_sum", "predict", "GRPC", "shop"] == pytest.approx(3e6)


def test_100_microseconds_lie_between_58_and_105(metrics):
    metrics.request("shop", "REST", "OK", 100e-6)
    # 10 * 1.8**3 = 58.32 and 10 * 1.8**4 = 104.976.
    found = {
        sample.labels["le"]: sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
        if sample.name == ":tensorflow:serving:request_latency_bucket"
    }
    assert len(found) == 34
    by_limit = {round(float(limit), 3): value for limit, value in found.items()}
    assert by_limit[58.32] == 0 and by_limit[104.976] == 1


def test_guessed_names_share_one_label(metrics):
    for number in range(1000):
        metrics.request(f"guess{number}", "REST", "NOT_FOUND", 0.001)
    page = metrics.text().decode()
    assert '_count{model_name="_unknown",status="NOT_FOUND"} 1000.0\n' in page
    assert "guess" not in page


def test_versions_are_shown_and_models_without_any_are_passed_over(metrics):
    found = samples(metrics)
    assert found["simprod_model_version_available", "shop", "2"] == 1
    assert found["simprod_model_version_available", "shop", "1"] == 0
    assert not any("new" in key for key in found)


def test_what_runs_and_waits_is_read_with_the_page(metrics):
    gate = Gate(Limits(concurrency=2, queue=0))
    metrics.watch_gate(gate)
    with gate.enter():
        assert samples(metrics)["simprod_requests_running",] == 1
    found = samples(metrics)
    assert found["simprod_requests_running",] == 0
    assert found["simprod_requests_waiting",] == 0


def test_runs_batches_and_outputs_are_counted(metrics):
    metrics.runtime("shop", 0.002)
    metrics.batch("shop", 3)
    metrics.batch("shop", 32)
    distances = np.float32([[0.05, 0.1], [1.95, np.nan]])
    metrics.observe_outputs("shop", {"distance": distances})
    metrics.observe_outputs("shop", {"valid": np.array([True, False, True])})
    metrics.observe_outputs("shop", {"embedding": np.zeros((2, 2))})
    found = samples(metrics)
    runtime = ":tensorflow:serving:runtime_latency_sum"
    assert found[runtime, "predict", "shop", "TF1"] == pytest.approx(2000)
    assert found["simprod_batch_size_sum", "shop"] == 35
    assert found["simprod_batch_size_bucket", "4.0", "shop"] == 1
    assert found["simprod_rows_total", "shop", "true"] == 2
    assert found["simprod_rows_total", "shop", "false"] == 1
    assert found["simprod_distance_bucket", "0.1", "shop"] == 2
    assert found["simprod_distance_bucket", "1.9", "shop"] == 2
    assert found["simprod_distance_bucket", "+Inf", "shop"] == 3
    assert found["simprod_distance_sum", "shop"] == pytest.approx(2.1)


def test_two_servers_of_one_process_count_apart(metrics):
    metrics.runtime("shop", 1)
    assert "TF1" not in Metrics().text().decode()
