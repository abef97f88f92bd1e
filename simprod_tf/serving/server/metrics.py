"""What a server counts, for Prometheus: TF Serving's names, and a few of our own.

TF Serving 2.15.1 writes `/tensorflow/serving/request_count` with colons for slashes;
dashboards made for it find the same names and labels here. Ours start with `simprod_`.

Source of names, labels and buckets: https://github.com/tensorflow/serving/blob/2.15.1/
tensorflow_serving/servables/tensorflow/util.cc and util/prometheus_exporter.cc.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from tensorflow_serving.apis import get_model_status_pb2

from simprod_tf.serving.status import ServingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from simprod_tf.serving.models.models import Models
    from simprod_tf.serving.server.limits import Gate

DEFAULT_PATH = "/monitoring/prometheus/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_COUNT = ":tensorflow:serving:request_count"
# TF Serving's: from 10 microseconds in steps of 1.8, to 25 minutes.
LATENCY_BUCKETS_US = tuple(10 * 1.8**step for step in range(33))
BATCH_BUCKETS = tuple(2**step for step in range(11))
# Of unit vectors; beyond 2 are only roundings.
DISTANCE_BUCKETS = np.round(np.arange(1, 21) * 0.1, 1)
# The label of names that no model has, so that guesses do not fill the memory.
UNKNOWN_MODEL = "_unknown"


class Metrics:
    """The counters of one server, in a registry of their own: safe from all threads.

    Counting a request takes about 5 microseconds.
    """

    def __init__(self) -> None:
        """Starts at nought."""
        self._registry = CollectorRegistry()
        self._known: set[str] = set()
        self._models: Models | None = None
        # A gauge, since a Counter would write its name with "_total"; see text().
        self._requests = Gauge(
            REQUEST_COUNT,
            "The total number of requests.",
            ["model_name", "status"],
            registry=self._registry,
        )
        self._latency = self._histogram(
            ":tensorflow:serving:request_latency",
            "Distribution of wall time (in microseconds) of requests.",
            ["model_name", "API", "entrypoint"],
        )
        self._runtime = self._histogram(
            ":tensorflow:serving:runtime_latency",
            "Distribution of wall time (in microseconds) of the graph's runs.",
            ["model_name", "API", "runtime"],
        )
        self._batches = self._histogram(
            "simprod_batch_size",
            "Rows of one run of the graph.",
            ["model_name"],
            buckets=BATCH_BUCKETS,
        )
        self._rows = Counter(
            "simprod_rows",
            "Rows answered, by the output `valid`: false is a picture that is none.",
            ["model_name", "valid"],
            registry=self._registry,
        )
        self._distances = _Distances()
        self._registry.register(self._distances)

    def request(self, model: str, entry: str, status: str, seconds: float) -> None:
        """Counts a request that is over.

        Args:
            model: The name that it asked for.
            entry: "GRPC" or "REST".
            status: The name of its code: "OK", "NOT_FOUND".
            seconds: From its first byte to its answer.
        """
        name = self._label(model)
        self._requests.labels(name, status).inc()
        self._latency.labels(name, "predict", entry).observe(seconds * 1e6)

    def runtime(self, model: str, seconds: float) -> None:
        """Counts one run of a model's graph."""
        self._runtime.labels(model, "predict", "TF1").observe(seconds * 1e6)

    def batch(self, model: str, rows: int) -> None:
        """Counts the rows of one run."""
        self._batches.labels(model).observe(rows)

    def observe_outputs(self, model: str, outputs: Mapping[str, np.ndarray]) -> None:
        """Counts what outputs named `distance` and `valid` say; others cost nothing."""
        distances, valid = outputs.get("distance"), outputs.get("valid")
        if distances is not None and distances.dtype.kind == "f":
            self._distances.observe(model, distances)
        if valid is not None and valid.dtype == bool:
            good = int(np.count_nonzero(valid))
            self._rows.labels(model, "true").inc(good)
            self._rows.labels(model, "false").inc(valid.size - good)

    def watch_gate(self, gate: Gate) -> None:
        """Shows how many requests run and wait, read when the page is asked for."""
        for name, text, count in (
            ("simprod_requests_running", "Requests that run.", lambda: gate.running),
            ("simprod_requests_waiting", "Requests that wait.", lambda: gate.waiting),
        ):
            Gauge(name, text, registry=self._registry).set_function(count)

    def watch_models(self, models: Models) -> None:
        """Shows which versions are available, read when the page is asked for."""
        self._models = models
        self._registry.register(_Versions(models))

    def text(self) -> bytes:
        """Returns the page in Prometheus' text format."""
        page = generate_latest(self._registry)
        header = f"# TYPE {REQUEST_COUNT}"
        return page.replace(f"{header} gauge".encode(), f"{header} counter".encode())

    def _histogram(
        self,
        name: str,
        text: str,
        labels: list[str],
        *,
        buckets: tuple[float, ...] = LATENCY_BUCKETS_US,
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)

    def _label(self, model: str) -> str:
        """Returns the name, or what stands for all names that no model has."""
        if model in self._known:
            return model
        if self._models is not None and model in self._models.names():
            self._known.add(model)
            return model
        return UNKNOWN_MODEL


class _Distances:
    """A histogram that takes many values at once, which the library's does not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, np.ndarray] = {}
        self._sums: dict[str, float] = {}

    def observe(self, model: str, distances: np.ndarray) -> None:
        values = distances[np.isfinite(distances)]
        # In the values' own type, whose 0.1 may be above a double's.
        places = np.searchsorted(DISTANCE_BUCKETS.astype(values.dtype), values)
        counts = np.bincount(places, minlength=len(DISTANCE_BUCKETS) + 1)
        with self._lock:
            self._counts[model] = self._counts.get(model, 0) + counts
            self._sums[model] = self._sums.get(model, 0.0) + float(
                values.sum(dtype=np.float64)
            )

    def collect(self) -> Iterator[Any]:
        family = HistogramMetricFamily(
            "simprod_distance", "Distances answered, 0 to 2.", labels=["model_name"]
        )
        limits = [*map(str, DISTANCE_BUCKETS), "+Inf"]
        with self._lock:
            for model, counts in self._counts.items():
                cumulated = list(zip(limits, np.cumsum(counts).tolist()))
                family.add_metric([model], cumulated, self._sums[model])
        yield family


class _Versions:
    """Which versions of which models can be asked."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterator[Any]:
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        family = GaugeMetricFamily(
            "simprod_model_version_available",
            "1 for a version that answers, 0 for one that loads, ended or failed.",
            labels=["model_name", "version"],
        )
        for name in self._models.names():
            try:
                versions = self._models.status(name, None)
            except ServingError:
                # Nothing is known of it yet.
                continue
            for status in versions:
                value = float(status.state == available)
                family.add_metric([name, str(status.version)], value)
        yield family

    def describe(self) -> list[Any]:
        """Returns nothing, so that registering does not ask the models already."""
        return []
