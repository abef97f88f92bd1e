"""Predict: from a request to the outputs of a signature, for gRPC and REST alike."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2, predict_pb2

from simprod_tf.serving.models.signature import Signature, signature_of
from simprod_tf.serving.server.batching import Batcher
from simprod_tf.serving.server.limits import Deadline, Gate, Limits
from simprod_tf.serving.server.tensor_proto import read_tensor, write_tensor
from simprod_tf.serving.status import ServingError

if TYPE_CHECKING:
    from simprod_tf.serving.models.models import Models
    from simprod_tf.serving.models.servable import Servable
    from simprod_tf.serving.protos.server_config_pb2 import BatchingParameters
    from simprod_tf.serving.server.metrics import Metrics

Value = TypeVar("Value")

SIGNATURE_DEF = "signature_def"

_CODES = {code.value[0]: code for code in grpc.StatusCode}
# A run with a timeout is handed to TensorFlow's threads, for 0.1 ms of CPU (measured):
# only what may take longer than this is worth it.
_QUICK_S = 0.01
# What a Python Session adds to the runtime's own words.
_ADDED = ("\n\nOriginal stack trace for ", "\n\nDetected at node ")


@dataclass(frozen=True)
class Answer:
    """The outputs of one run, by name, and what ran: name, version, signature."""

    spec: model_pb2.ModelSpec
    outputs: dict[str, np.ndarray]


@dataclass
class _Ready:
    """A signature of a servable made ready, and how long its last run took.

    `spec` names it in every answer; nobody may change it.
    """

    signature: Signature
    spec: model_pb2.ModelSpec
    seconds: float = math.inf


class Predictor:
    """Answers Predict and GetModelMetadata out of the models, within the limits.

    It is used from many threads.
    """

    def __init__(
        self,
        models: Models,
        *,
        batching: BatchingParameters | None = None,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
        gate: Gate | None = None,
    ) -> None:
        """Joins requests into batches where `batching` is given.

        `gate` is one that other services go through, too; it brings its limits.
        """
        self.models = models
        self.gate = Gate(limits or Limits()) if gate is None else gate
        self.limits = self.gate.limits
        self._metrics = metrics
        self._batcher = None
        if batching is not None:
            self._batcher = Batcher(batching, run=self._run)
        self._ready: weakref.WeakKeyDictionary[Servable, dict[str, _Ready]]
        self._ready = weakref.WeakKeyDictionary()

    def run(
        self,
        spec: model_pb2.ModelSpec,
        inputs: Mapping[str, np.ndarray],
        *,
        output_filter: Sequence[str] = (),
        timeout: float | None = None,
    ) -> Answer:
        """Returns the outputs for arrays.

        Args:
            spec: the model, perhaps a version or a label, perhaps a signature.
            inputs: by name; strings as bytes, dtype object.
            output_filter: the outputs wanted; none named, all of them.
            timeout: seconds until the request's deadline.

        Raises:
            ServingError: with TF Serving's code, and its text where it is known.
        """
        return self._answer(
            spec, inputs, lambda _, array: array, output_filter, timeout
        )

    def predict(
        self,
        request: predict_pb2.PredictRequest,
        *,
        timeout: float | None = None,
        is_active: Callable[[], bool] = lambda: True,
    ) -> predict_pb2.PredictResponse:
        """Returns the response; a request that is not active any more is not run.

        Raises:
            ServingError: with TF Serving's code, and its text where it is known;
                CANCELLED where nobody waits for the answer.
        """
        if not request.HasField("model_spec"):
            raise _invalid("Missing ModelSpec")

        def read(name: str, proto: Any) -> np.ndarray:
            return read_tensor(proto, name=name, max_bytes=self.limits.message_bytes)

        answer = self._answer(
            request.model_spec,
            request.inputs,
            read,
            request.output_filter,
            timeout,
            is_active,
        )
        response = predict_pb2.PredictResponse(model_spec=answer.spec)
        for name, array in answer.outputs.items():
            write_tensor(response.outputs[name], array)
        return response

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Returns every signature of a model.

        Raises:
            ServingError: the model is not there, or a field is asked for that is not.
        """
        if not request.HasField("model_spec"):
            raise _invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise _invalid(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise _invalid(f"Metadata field {field} is not supported")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self.models.lease(request.model_spec) as servable:
            signatures = get_model_metadata_pb2.SignatureDefMap(
                signature_def=dict(servable.signatures)
            )
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response

    def close(self) -> None:
        """Ends the threads that run batches."""
        if self._batcher is not None:
            self._batcher.close()

    def _answer(
        self,
        spec: model_pb2.ModelSpec,
        inputs: Mapping[str, Value],
        read: Callable[[str, Value], np.ndarray],
        output_filter: Sequence[str],
        timeout: float | None,
        is_active: Callable[[], bool] = lambda: True,
    ) -> Answer:
        deadline = Deadline(timeout)
        with self.gate.enter(timeout), self.models.lease(spec) as servable:
            if not is_active():
                raise ServingError(
                    grpc.StatusCode.CANCELLED, "The client cancelled the request."
                )
            ready = self._ready_for(servable, spec.signature_name)
            signature = ready.signature
            signature.check_inputs(inputs)
            arrays = {**signature.defaults}
            for name in inputs:
                arrays[name] = read(name, inputs[name])
            fetched = signature.fetched(output_filter)
            signature.check_dtypes(arrays)
            try:
                if self._batcher is None:
                    outputs = self._run(
                        servable,
                        signature.name,
                        arrays,
                        fetched,
                        timeout=deadline.left(),
                    )
                else:
                    outputs = self._batcher.run(
                        servable, signature.name, arrays, fetched, deadline=deadline
                    )
            except tf.errors.OpError as error:
                raise refusal(error) from error
            answer = Answer(ready.spec, dict(zip(fetched, outputs)))
        if self._metrics is not None:
            self._metrics.observe_outputs(answer.spec.name, answer.outputs)
        return answer

    def _run(
        self,
        servable: Servable,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str],
        *,
        timeout: float | None,
    ) -> list[np.ndarray]:
        """Runs a servable once, and counts it.

        What last took milliseconds is run without its timeout, in this thread; but not
        what may loop, as long as a request says.
        """
        ready = self._ready_for(servable, signature)
        if ready.seconds < _QUICK_S and not servable.has_loops:
            timeout = None
        start = time.perf_counter()
        try:
            return servable.run(signature, inputs, outputs, timeout=timeout)
        finally:
            ready.seconds = time.perf_counter() - start
            if self._metrics is not None:
                self._metrics.runtime(servable.name, ready.seconds)
                rows = (len(array) for array in inputs.values() if array.ndim)
                self._metrics.batch(servable.name, max(rows, default=1))

    def _ready_for(self, servable: Servable, name: str) -> _Ready:
        known = self._ready.get(servable)
        if known is None:
            known = self._ready.setdefault(servable, {})
        found = known.get(name)
        if found is None:
            # Two threads may make it; they make the same. Names that are none raise.
            signature = signature_of(servable.signatures, name)
            spec = model_pb2.ModelSpec(
                name=servable.name, signature_name=signature.name
            )
            spec.version.value = servable.version
            found = known[name] = _Ready(signature, spec)
        return found


def refusal(error: tf.errors.OpError) -> ServingError:
    """Returns a runtime's error as a server tells it: same code, the runtime's text."""
    message = error.message or type(error).__name__
    for added in _ADDED:
        message = message.split(added, 1)[0]
    return ServingError(_CODES.get(error.error_code, grpc.StatusCode.UNKNOWN), message)


def _invalid(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)
