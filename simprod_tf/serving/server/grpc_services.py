"""TF Serving's services over gRPC: PredictionService and ModelService."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import grpc
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from simprod_tf.serving.status import ServingError

if TYPE_CHECKING:
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        predict_pb2,
    )

    from simprod_tf.serving.models.models import Models
    from simprod_tf.serving.server.metrics import Metrics
    from simprod_tf.serving.server.predict import Predictor

Response = TypeVar("Response")

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"

# TF Serving cuts an error's text so (util/status_util.cc). These are bytes: a status of
# a few thousand does not reach the client, who is told of "metadata size" instead.
MAX_MESSAGE = 1024
TRUNCATED = "...TRUNCATED"
# A request without a deadline has one beyond the sun's.
_NO_DEADLINE_S = 1e8


def message_of(error: ServingError) -> str:
    """Returns an error's text as it goes over the wire, cut as TF Serving cuts it."""
    encoded = error.message.encode("utf-8", "replace")
    if len(encoded) <= MAX_MESSAGE:
        return error.message
    return encoded[:MAX_MESSAGE].decode("utf-8", "ignore") + TRUNCATED


def timeout_of(context: grpc.ServicerContext) -> float | None:
    """Returns the seconds until a request's deadline, None where it has none."""
    left = context.time_remaining()
    return None if left is None or left > _NO_DEADLINE_S else left


@contextmanager
def aborting(context: grpc.ServicerContext) -> Iterator[None]:
    """Ends the request with the code and the text of a ServingError."""
    try:
        yield
    except ServingError as error:
        context.abort(error.code, message_of(error))


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; the rest is told to be not there."""

    def __init__(self, predictor: Predictor, *, metrics: Metrics | None = None) -> None:
        """Answers out of `predictor`; counts each Predict in `metrics`."""
        self._predictor, self._metrics = predictor, metrics

    def Predict(  # noqa: N802 - the name of the rpc
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Returns the outputs of one run of a signature."""
        start = time.perf_counter()
        status = grpc.StatusCode.OK
        try:
            return self._predictor.predict(
                request, timeout=timeout_of(context), is_active=context.is_active
            )
        except ServingError as error:
            status = error.code
            context.abort(status, message_of(error))
        finally:
            if self._metrics is not None:
                took = time.perf_counter() - start
                name = request.model_spec.name
                self._metrics.request(name, "GRPC", status.name, took)

    def GetModelMetadata(  # noqa: N802
        self,
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        context: grpc.ServicerContext,
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Returns the signatures of a model."""
        with aborting(context):
            return self._predictor.metadata(request)

    def Classify(self, request: Any, context: grpc.ServicerContext) -> NoReturn:  # noqa: N802
        """Is not there: it wants signatures over tf.Example."""
        _not_there(context, "Classify")

    def Regress(self, request: Any, context: grpc.ServicerContext) -> NoReturn:  # noqa: N802
        """Is not there, like Classify."""
        _not_there(context, "Regress")

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> NoReturn:  # noqa: N802
        """Is not there, like Classify."""
        _not_there(context, "MultiInference")


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Which versions there are, and a change of the models while they serve."""

    def __init__(self, models: Models) -> None:
        """Tells about `models` and changes them."""
        self._models = models

    def GetModelStatus(  # noqa: N802
        self,
        request: get_model_status_pb2.GetModelStatusRequest,
        context: grpc.ServicerContext,
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Returns the state of one version or of all; a label is not looked at."""
        with aborting(context):
            if not request.HasField("model_spec"):
                raise ServingError(
                    grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec"
                )
            spec = request.model_spec
            version = spec.version.value if spec.HasField("version") else None
            return get_model_status_pb2.GetModelStatusResponse(
                model_version_status=self._models.status(spec.name, version)
            )

    def HandleReloadConfigRequest(  # noqa: N802
        self,
        request: model_management_pb2.ReloadConfigRequest,
        context: grpc.ServicerContext,
    ) -> model_management_pb2.ReloadConfigResponse:
        """Serves these models from now on, and no others; answers once they do.

        An error is the RPC's status and stands in the response too, as TF Serving has
        it; what gRPC shows to a client is the status.
        """
        response = model_management_pb2.ReloadConfigResponse()
        try:
            if request.config.WhichOneof("config") != "model_config_list":
                raise ServingError(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    "ServerModelConfig type not supported by "
                    "HandleReloadConfigRequest. Only ModelConfigList is currently "
                    "supported",
                )
            self._models.reload(request.config)
        except ServingError as error:
            response.status.error_code = error.code.value[0]
            response.status.error_message = error.message
            context.set_code(error.code)
            context.set_details(message_of(error))
        return response


def add_services(
    server: grpc.Server, predictor: Predictor, *, metrics: Metrics | None = None
) -> list[str]:
    """Adds both services to a gRPC server; returns their names."""
    for stubs in ("prediction_service_pb2", "model_service_pb2"):
        # Reflection looks the services up where these modules put them, which they do
        # before their last line, one that protobuf 4 refuses.
        with contextlib.suppress(AttributeError):
            importlib.import_module(f"tensorflow_serving.apis.{stubs}")
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(predictor, metrics=metrics), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        ModelService(predictor.models), server
    )
    return [PREDICTION_SERVICE, MODEL_SERVICE]


def _not_there(context: grpc.ServicerContext, method: str) -> NoReturn:
    context.abort(
        grpc.StatusCode.UNIMPLEMENTED,
        f"{method} is not served here: use Predict with a signature's own inputs.",
    )
    raise AssertionError("abort raises")
