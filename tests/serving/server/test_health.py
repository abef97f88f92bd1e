"""Health follows the models."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2
from tensorflow_serving.apis import get_model_status_pb2

from simprod_tf.serving.server.health import ModelHealth
from simprod_tf.serving.status import ServingError

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class ChangingModels:
    """As `Models`: one model, whose only version is in `state`."""

    def __init__(self):
        self.state = get_model_status_pb2.ModelVersionStatus.LOADING

    def names(self):
        return ["tiny"]

    def status(self, name, version):
        if self.state is None:
            raise ServingError(grpc.StatusCode.NOT_FOUND, "none")
        return [get_model_status_pb2.ModelVersionStatus(version=1, state=self.state)]


def test_health_follows_the_models():
    models = ChangingModels()
    health = ModelHealth(models, services=["full.Name"], seconds=1000)

    def check():
        request = health_pb2.HealthCheckRequest(service="full.Name")
        return health.Check(request, None).status

    assert check() == NOT_SERVING
    models.state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert check() == SERVING
    models.state = None
    assert check() == NOT_SERVING
    models.state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert check() == SERVING
    health.stop()
    assert check() == NOT_SERVING
