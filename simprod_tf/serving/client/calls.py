"""The calls of one channel: each with a deadline, failures as ServingErrors."""

from __future__ import annotations

from typing import Any

import grpc
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from simprod_tf.serving.client.channel import CallSettings, ChannelSettings
from simprod_tf.serving.client.error import serving_error
from simprod_tf.serving.client.messages import Prediction, Target, prediction
from simprod_tf.serving.protos.similar_products_pb2_grpc import SimilarProductsStub
from simprod_tf.serving.status import ServingError


class Calls:
    """The services behind one channel; threads may share it."""

    def __init__(
        self, target: Target, channel: ChannelSettings, *, calls: CallSettings
    ) -> None:
        """Opens the channel."""
        self.target, self.settings = target, calls
        self._channel_settings = channel
        self._channel = channel.open()
        self.prediction_service = PredictionServiceStub(self._channel)
        self.model_service = ModelServiceStub(self._channel)
        self.similar_products = SimilarProductsStub(self._channel)

    def close(self) -> None:
        """Closes the channel; calls under way are cancelled."""
        self._channel.close()

    def call(self, method: Any, request: Any, *, timeout: float | None = None) -> Any:
        """Returns what a stub's method answers.

        Args:
            method: such as `prediction_service.Predict`.
            request: its message.
            timeout: seconds, where other than the settings'.

        Raises:
            ServingError: it failed.
        """
        seconds = self.settings.timeout if timeout is None else timeout
        try:
            return method(request, timeout=seconds)
        except grpc.RpcError as error:
            raise self._error(error, seconds) from error

    def predict(self, request: PredictRequest) -> Prediction:
        """Returns the answer to a request."""
        return self._read(self.call(self.prediction_service.Predict, request))

    def start(self, request: PredictRequest) -> grpc.Future:
        """Returns a request under way, for `result`; its time runs from here on."""
        method = self.prediction_service.Predict
        return method.future(request, timeout=self.settings.timeout)

    def result(self, under_way: grpc.Future) -> Prediction:
        """Returns what `start` began, when it has come."""
        try:
            return self._read(under_way.result())
        except grpc.RpcError as error:
            raise self._error(error, self.settings.timeout) from error

    def _read(self, response: PredictResponse) -> Prediction:
        return prediction(response, max_bytes=self._channel_settings.max_message_bytes)

    def _error(self, error: grpc.RpcError, timeout: float) -> ServingError:
        return serving_error(
            error, self._channel_settings, model=self.target.model, timeout=timeout
        )
