"""The target of the contract suite: our server, or the one that the environment names.

SERVING_TARGET        host:port of gRPC; without it, our server in this process
SERVING_REST_TARGET   host:port of REST; by default the same host, port 8501
SERVING_MODELS        the folder that write_models.py filled, as these tests see it
SERVING_MODELS_THERE  the same folder as the server sees it; by default /models
SERVING_IS_OURS       set, if it is `simprod serve` all the same, in another process

A target of one's own is asked by one process: no pytest -n.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config.model_server_config_pb2 import (
    ModelConfig,
    ModelServerConfig,
)

SCRIPT = Path(__file__).with_name("write_models.py")
_spec = importlib.util.spec_from_file_location("write_models", SCRIPT)
write_models = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(write_models)

# Fails a test that hangs; none waits for it otherwise.
PATIENCE_S = 60
# A version that appears is seen by ours within this, by TensorFlow Serving within 1 s.
OUR_POLL_S = 0.05
METRICS_PATH = "/monitoring/prometheus/metrics"
STANDING = (
    "tiny",
    "model_version_policy { specific { versions: 1 versions: 2 } } "
    'version_labels { key: "stable" value: 1 } '
    'version_labels { key: "canary" value: 2 }',
)
State = get_model_status_pb2.ModelVersionStatus.State


@dataclass
class Target:
    """A server, what it is asked through, and the folder of its models.

    `folder` is None where these tests cannot see it: nothing can be published then.
    """

    address: str
    rest: str
    there: str
    folder: Path | None
    is_ours: bool
    channel: grpc.Channel
    predictions: Any = field(init=False)
    models: Any = field(init=False)

    def __post_init__(self) -> None:
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(
            self.channel
        )
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def request(
        self,
        model: str | None = "tiny",
        *,
        signature: str = "",
        version: int | None = None,
        label: str | None = None,
        output_filter: Sequence[str] = (),
        **inputs: Any,
    ) -> predict_pb2.PredictRequest:
        """Returns a Predict request; inputs are arrays or TensorProtos."""
        made = predict_pb2.PredictRequest(output_filter=output_filter)
        if model is not None:
            made.model_spec.CopyFrom(_model_spec(model, version, label))
            made.model_spec.signature_name = signature
        for alias, values in inputs.items():
            if not isinstance(values, tensor_pb2.TensorProto):
                values = tf.make_tensor_proto(values)
            made.inputs[alias].CopyFrom(values)
        return made

    def predict(
        self, model: str | None = "tiny", *, timeout: float = PATIENCE_S, **named: Any
    ) -> predict_pb2.PredictResponse:
        """Returns the response; the arguments are those of `request`."""
        return self.predictions.Predict(self.request(model, **named), timeout=timeout)

    def outputs(self, model: str = "tiny", **named: Any) -> dict[str, np.ndarray]:
        """Returns the outputs of Predict as arrays."""
        response = self.predict(model, **named)
        return {key: tf.make_ndarray(one) for key, one in response.outputs.items()}

    def metadata(
        self,
        model: str | None = "tiny",
        *,
        fields: Sequence[str] = ("signature_def",),
        version: int | None = None,
        label: str | None = None,
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Returns the response of GetModelMetadata."""
        made = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        if model is not None:
            made.model_spec.CopyFrom(_model_spec(model, version, label))
        return self.predictions.GetModelMetadata(made, timeout=PATIENCE_S)

    def status(
        self,
        model: str | None = "tiny",
        *,
        version: int | None = None,
        label: str | None = None,
    ) -> list[get_model_status_pb2.ModelVersionStatus]:
        """Returns the states of a model's versions, as they come."""
        made = get_model_status_pb2.GetModelStatusRequest()
        if model is not None:
            made.model_spec.CopyFrom(_model_spec(model, version, label))
        answer = self.models.GetModelStatus(made, timeout=PATIENCE_S)
        return list(answer.model_version_status)

    def states(self, model: str) -> dict[int, str]:
        """Returns the names of a model's states by version; {} for none."""
        try:
            found = self.status(model)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return {}
        return {one.version: State.Name(one.state) for one in found}

    def config_of(self, *models: ModelConfig) -> ModelServerConfig:
        """Returns a configuration of these models beside the standing ones."""
        config = ModelServerConfig()
        config.model_config_list.config.extend(
            [self.model_config(*STANDING), self.model_config("plain"), *models]
        )
        return config

    def model_config(self, name: str, settings: str = "") -> ModelConfig:
        """Returns a model of the target's folder, with settings in text format."""
        config = ModelConfig(
            name=name, base_path=f"{self.there}/{name}", model_platform="tensorflow"
        )
        return text_format.Merge(settings, config)

    def reload(self, *models: ModelConfig) -> model_management_pb2.ReloadConfigResponse:
        """Has these models served beside the standing ones."""
        return self.reload_as(self.config_of(*models))

    def reload_as(
        self, config: ModelServerConfig
    ) -> model_management_pb2.ReloadConfigResponse:
        """Has a configuration served."""
        request = model_management_pb2.ReloadConfigRequest(config=config)
        return self.models.HandleReloadConfigRequest(request, timeout=PATIENCE_S)

    def refused(
        self, code: grpc.StatusCode, call: Callable[..., Any], *given: Any, **named: Any
    ) -> str:
        """Returns the text that a call is refused with, under this code."""
        with pytest.raises(grpc.RpcError) as caught:
            call(*given, **named)
        assert caught.value.code() is code, caught.value.details()
        return str(caught.value.details())

    def until(self, condition: Callable[[], Any]) -> None:
        """Returns once a condition holds; the wire has no events to wait for."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, "the condition never came to hold"
            time.sleep(0.01)


@dataclass(frozen=True)
class Model:
    """A model of one test's own, in the target's folder; not served until reloaded."""

    target: Target
    name: str
    here: Path

    def put(self, version: int | str, *, add: float = 2.0, extra: Any = None) -> Path:
        """Publishes a version at once and whole; returns its folder.

        `extra(folder)` may change the copy before it appears.
        """
        self.here.mkdir(exist_ok=True)
        aside = self.here / f".{version}-being-copied"
        known = write_models.ADDS.index(add) + 1
        shutil.copytree(self.target.folder / "tiny" / str(known), aside)
        if extra is not None:
            extra(aside)
        return aside.rename(self.here / str(version))

    def config(self, settings: str = "") -> ModelConfig:
        """Returns the model's entry of a configuration, settings in text format."""
        return self.target.model_config(self.name, settings)

    def serve(self, settings: str = "") -> None:
        """Has the model served beside the standing ones."""
        self.target.reload(self.config(settings))

    def states(self) -> dict[int, str]:
        """Returns the names of the states by version."""
        return self.target.states(self.name)

    def answer(self, **choice: Any) -> tuple[int, float]:
        """Returns the version that answers, and its y for x = 0: what it adds."""
        response = self.target.predict(self.name, x=np.float32([0]), **choice)
        (y,) = tf.make_ndarray(response.outputs["y"])
        return response.model_spec.version.value, float(y)


def _model_spec(
    model: str, version: int | None, label: str | None
) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=model)
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label
    return spec


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory):
    """A folder with the models, whose models.config has this machine's paths."""
    folder = tmp_path_factory.mktemp("contract")
    write_models.write_models(folder, there=str(folder))
    return folder


@contextlib.contextmanager
def _ours(folder: Path, **options: Any) -> Iterator[Target]:
    """Serves the models of a folder in this process, at free ports."""
    from simprod_tf.serving.models.config import read_models_config
    from simprod_tf.serving.server.server import ServeOptions, Server

    chosen = {
        "models": read_models_config(folder / "models.config"),
        "port": 0,
        "rest_port": None,
        "poll_seconds": OUR_POLL_S,
        **options,
    }
    with Server(ServeOptions(**chosen)) as server:
        address = f"127.0.0.1:{server.port}"
        rest = f"http://127.0.0.1:{server.rest_port}"
        with grpc.insecure_channel(address) as channel:
            yield Target(address, rest, str(folder), folder, True, channel)


@pytest.fixture(scope="session")
def target(request):
    """The server that is asked; `tiny` has its labels."""
    named = os.environ.get("SERVING_TARGET")
    if named:
        with grpc.insecure_channel(named) as channel:
            yield _ready(_named_target(named, channel))
        return
    folder = request.getfixturevalue("models_folder")
    with _ours(folder, rest_port=0, metrics_path=METRICS_PATH) as ours:
        yield _ready(ours)


def _named_target(address: str, channel: grpc.Channel) -> Target:
    host = address.rpartition(":")[0]
    rest = os.environ.get("SERVING_REST_TARGET", f"{host}:8501")
    there = os.environ.get("SERVING_MODELS_THERE", "/models")
    here = os.environ.get("SERVING_MODELS")
    return Target(
        address,
        f"http://{rest}",
        there.rstrip("/"),
        Path(here).absolute() if here else None,
        bool(os.environ.get("SERVING_IS_OURS")),
        channel,
    )


def _ready(target: Target) -> Target:
    """Returns the target once it serves and `tiny` has its labels."""
    grpc.channel_ready_future(target.channel).result(PATIENCE_S)
    target.until(lambda: target.states("tiny").get(2) == "AVAILABLE")
    target.reload()
    return target


@pytest.fixture
def new_model(target):
    """`new_model()` returns a model of the test's own; it is taken away after it."""
    if target.folder is None:
        pytest.skip("SERVING_MODELS does not name the folder of the target's models")
    made = []

    def make() -> Model:
        name = f"own-{uuid.uuid4().hex[:12]}"
        made.append(Model(target, name, target.folder / name))
        return made[-1]

    yield make
    target.reload()
    for model in made:
        shutil.rmtree(model.here, ignore_errors=True)


@pytest.fixture
def serve_here(models_folder):
    """`serve_here(**options)` starts our server with options of its own.

    It returns a Target; the models are the standing ones unless `models` says else.
    """
    if os.environ.get("SERVING_TARGET"):
        pytest.skip("this needs a start of its own: SERVING_TARGET is started already")
    with contextlib.ExitStack() as started:
        yield lambda **options: started.enter_context(_ours(models_folder, **options))
