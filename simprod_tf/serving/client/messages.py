"""Messages of TensorFlow Serving's API: requests from arrays, answers to arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.get_model_metadata_pb2 import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    SignatureDefMap,
)
from tensorflow_serving.apis.get_model_status_pb2 import (
    GetModelStatusRequest,
    GetModelStatusResponse,
    ModelVersionStatus,
)
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

from simprod_tf.errors import ModelError
from simprod_tf.serving.server.tensor_proto import read_tensor
from simprod_tf.serving.status import ServingError

DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Target:
    """A model on a server: its newest version, unless a version or a label is given."""

    model: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        """Checks that there is one way to the version."""
        if not self.model:
            raise ValueError("model must be the name of a served model, got ''.")
        if self.version is not None and self.label is not None:
            raise ValueError(
                f"give version or label, not both; got version {self.version} and "
                f"label {self.label!r}."
            )

    def spec(self, signature: str = "") -> ModelSpec:
        """Returns the part of a request that says which model is meant."""
        spec = ModelSpec(name=self.model, signature_name=signature)
        if self.version is not None:
            spec.version.value = self.version
        if self.label is not None:
            spec.version_label = self.label
        return spec


@dataclass(frozen=True, eq=False)
class Prediction:
    """An answer: arrays by name, read-only, text as bytes.

    `version` gave it; None where the server does not tell.
    """

    version: int | None
    outputs: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Metadata:
    """The signatures of one version of a model; None where the server tells none."""

    version: int | None
    signatures: Mapping[str, SignatureDef]


@dataclass(frozen=True)
class VersionStatus:
    """The state of a version: START, LOADING, AVAILABLE, UNLOADING or END.

    `error` says why it could not be loaded, "" where nothing is wrong.
    """

    version: int
    state: str
    error: str = ""

    @property
    def is_available(self) -> bool:
        """Whether it takes requests."""
        return self.state == "AVAILABLE"


def predict_request(
    target: Target,
    inputs: Mapping[str, np.ndarray],
    *,
    signature: str = DEFAULT_SIGNATURE,
    outputs: Sequence[str] = (),
) -> PredictRequest:
    """Returns the request for some outputs, or all.

    Args:
        target: the model.
        inputs: arrays by name; text as bytes or str of dtype object, for NumPy's own
            drops zero bytes at the end.
        signature: what is asked of the model.
        outputs: those wanted.
    """
    request = PredictRequest(
        model_spec=target.spec(signature), output_filter=list(outputs)
    )
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    return request


def prediction(response: PredictResponse, *, max_bytes: int) -> Prediction:
    """Returns an answer's arrays, sent as tensor_content or value by value.

    Args:
        response: the answer.
        max_bytes: what an array may take.

    Raises:
        ModelError: a tensor is malformed.
    """
    try:
        arrays = {
            name: read_tensor(tensor, name=name, max_bytes=max_bytes)
            for name, tensor in response.outputs.items()
        }
    except ServingError as error:
        raise ModelError(
            f"the server's answer cannot be read: {error.message}."
        ) from error
    return Prediction(_version(response.model_spec), arrays)


def metadata_request(target: Target) -> GetModelMetadataRequest:
    """Returns the request for the signatures."""
    return GetModelMetadataRequest(
        model_spec=target.spec(), metadata_field=["signature_def"]
    )


def metadata(response: GetModelMetadataResponse) -> Metadata:
    """Returns the signatures; ModelError where the answer holds none."""
    packed = response.metadata["signature_def"]
    signatures = SignatureDefMap()
    if not packed.Unpack(signatures):
        raise ModelError(
            "expected the model's signatures from the server, got "
            f"{packed.type_url or 'nothing'}."
        )
    return Metadata(_version(response.model_spec), dict(signatures.signature_def))


def status_request(target: Target) -> GetModelStatusRequest:
    """Returns the request for the states; a server looks at no label here."""
    return GetModelStatusRequest(model_spec=target.spec())


def statuses(response: GetModelStatusResponse) -> list[VersionStatus]:
    """Returns the states, the newest version first."""
    found = [
        VersionStatus(
            one.version,
            ModelVersionStatus.State.Name(one.state),
            one.status.error_message,
        )
        for one in response.model_version_status
    ]
    return sorted(found, key=lambda one: one.version, reverse=True)


def _version(spec: ModelSpec) -> int | None:
    return spec.version.value if spec.HasField("version") else None
