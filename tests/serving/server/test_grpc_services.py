"""TF Serving's services, health and reflection, over a channel."""

from __future__ import annotations

import threading

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from simprod_tf.serving.models.config import models_of
from simprod_tf.serving.server.grpc_services import message_of
from simprod_tf.serving.server.limits import Limits
from simprod_tf.serving.server.server import ServeOptions, Server
from simprod_tf.serving.server.tensor_proto import write_tensor
from simprod_tf.serving.status import ServingError

PATIENCE_S = 20
SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(scope="module")
def served(tiny_model, tmp_path_factory):
    """A server of the tiny model, version 7, that runs one request at a time."""
    folder = tmp_path_factory.mktemp("grpc") / "tiny"
    tiny_model(folder, 7)
    options = ServeOptions(
        models=models_of({"tiny": folder}),
        port=0,
        rest_port=None,
        limits=Limits(concurrency=1, queue=0, message_bytes=100_000),
    )
    with Server(options) as server:
        yield server


@pytest.fixture(scope="module")
def channel(served):
    with grpc.insecure_channel(f"127.0.0.1:{served.port}") as opened:
        yield opened


@pytest.fixture(scope="module")
def predict(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def ask(signature="", *, timeout=PATIENCE_S, name="tiny", **inputs):
        made = predict_pb2.PredictRequest()
        made.model_spec.name = name
        made.model_spec.signature_name = signature
        for alias, values in inputs.items():
            write_tensor(made.inputs[alias], values)
        return stub.Predict.future(made, timeout=timeout)

    return ask


@pytest.fixture(scope="module")
def status(channel):
    stub = model_service_pb2_grpc.ModelServiceStub(channel)

    def ask(name, version=None):
        made = get_model_status_pb2.GetModelStatusRequest()
        made.model_spec.name = name
        if version is not None:
            made.model_spec.version.value = version
        return stub.GetModelStatus(made, timeout=PATIENCE_S).model_version_status

    return ask


def refused(code, call, *arguments, **named):
    with pytest.raises(grpc.RpcError) as error:
        call(*arguments, **named)
    assert error.value.code() is code, error.value.details()
    return error.value.details()


def floats(*values):
    return np.float32(values)


def steps(count):
    return np.int32(count).reshape(())


def test_predict_answers(predict):
    response = predict(x=floats(2, 4)).result()
    assert list(response.outputs["y"].float_val) == [3.0, 4.0]
    assert response.model_spec.version.value == 7


def test_errors_have_tf_servings_code_and_text(predict):
    assert refused(
        grpc.StatusCode.NOT_FOUND, predict(name="other", x=floats(1)).result
    ).startswith("Servable not found for request: Latest(other)")
    assert refused(
        grpc.StatusCode.FAILED_PRECONDITION, predict("S", x=floats(1)).result
    ) == ('Serving signature key "S" not found.')
    assert refused(
        grpc.StatusCode.INVALID_ARGUMENT, predict(name="", x=floats(1)).result
    ) == ("ModelSpec has no name specified.")


def test_a_long_text_is_cut(predict):
    names = {f"input_{number:04}": floats(1) for number in range(200)}
    text = refused(grpc.StatusCode.INVALID_ARGUMENT, predict(**names).result)
    assert text.startswith(
        "input size does not match signature: 200!=1 len({input_0000"
    )
    assert text.endswith("...TRUNCATED")
    assert len(text) == 1024 + len("...TRUNCATED")
    short = ServingError(grpc.StatusCode.UNKNOWN, "a" * 1024)
    assert message_of(short) == "a" * 1024


def test_a_long_text_of_long_characters_is_cut_in_bytes_and_arrives(predict):
    # As sent, each of its bytes takes three, and a client takes 8 KB.
    call = predict(name="\N{GRINNING FACE}" * 2000, x=floats(1))
    text = refused(grpc.StatusCode.NOT_FOUND, call.result)
    assert text.startswith("Servable not found for request: Latest(\N{GRINNING FACE}")
    assert 1020 < len(text.removesuffix("...TRUNCATED").encode()) <= 1024


def test_beyond_the_limits_is_resource_exhausted(served, predict):
    full = grpc.StatusCode.RESOURCE_EXHAUSTED
    with served.predictor.gate.enter():
        assert "1 requests are running and 0 wait" in refused(
            full, predict(x=floats(1)).result
        )
    big = np.zeros(30_000, np.float32)
    assert "larger than max" in refused(full, predict(x=big).result)


def test_a_deadline_ends_a_run_and_the_place_is_free_again(served, predict):
    late = grpc.StatusCode.DEADLINE_EXCEEDED
    refused(late, predict("slow", steps=steps(10**6), timeout=0.1).result)
    for _ in range(20_000):
        if served.predictor.gate.running == 0:
            break
        threading.Event().wait(0.001)
    assert predict(x=floats(0)).result().outputs["y"].float_val[0] == 2.0


def test_requests_are_counted_with_their_status(served, predict):
    predict(x=floats(1)).result()
    page = served.metrics.text().decode()
    assert 'request_count{model_name="tiny",status="OK"}' in page
    assert 'status="FAILED_PRECONDITION"' in page


def test_what_is_not_there_says_so(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    for name, request in (
        ("Classify", classification_pb2.ClassificationRequest()),
        ("Regress", regression_pb2.RegressionRequest()),
        ("MultiInference", inference_pb2.MultiInferenceRequest()),
    ):
        text = refused(
            grpc.StatusCode.UNIMPLEMENTED,
            getattr(stub, name),
            request,
            timeout=PATIENCE_S,
        )
        assert text == (
            f"{name} is not served here: use Predict with a signature's own inputs."
        )


def test_metadata_over_the_wire(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "tiny"
    assert "at least one metadata_field" in refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        stub.GetModelMetadata,
        request,
        timeout=PATIENCE_S,
    )
    request.metadata_field.append("signature_def")
    response = stub.GetModelMetadata(request, timeout=PATIENCE_S)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    assert found.signature_def["sum"].inputs["a"].name == "sum_a:0"


def test_status_of_one_version_of_all_and_of_none(status, channel):
    (found,) = status("tiny")
    assert (found.version, found.state) == (7, 30)
    assert [each.version for each in status("tiny", 7)] == [7]
    gone = grpc.StatusCode.NOT_FOUND
    assert refused(gone, status, "other") == (
        "Could not find any versions of model other"
    )
    assert refused(gone, status, "tiny", 8) == (
        "Could not find version 8 of model tiny"
    )
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    empty = get_model_status_pb2.GetModelStatusRequest()
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert refused(invalid, stub.GetModelStatus, empty) == "Missing ModelSpec"


def test_a_reload_that_cannot_be_changes_nothing(channel, predict):
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    request = model_management_pb2.ReloadConfigRequest()
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    reload = stub.HandleReloadConfigRequest
    assert refused(invalid, reload, request) == (
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
        "ModelConfigList is currently supported"
    )
    request.config.model_config_list.config.add(
        name="tiny", base_path="relative", model_platform="tensorflow"
    )
    assert refused(invalid, reload, request) == (
        "Expected model tiny to have an absolute path or URI; got base_path()=relative"
    )
    assert predict(x=floats(0)).result().outputs["y"].float_val[0] == 2.0


def test_health_knows_all_names(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in (
        "",
        "ModelService",
        "PredictionService",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    ):
        request = health_pb2.HealthCheckRequest(service=service)
        assert stub.Check(request, timeout=PATIENCE_S).status == SERVING
    request = health_pb2.HealthCheckRequest(service="other")
    refused(grpc.StatusCode.NOT_FOUND, stub.Check, request, timeout=PATIENCE_S)


def test_reflection_lists_the_services(channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest
    answers = stub.ServerReflectionInfo(
        iter(
            [
                asked(list_services=""),
                asked(file_containing_symbol="tensorflow.serving.PredictionService"),
                asked(file_containing_symbol="tensorflow.serving.ModelService"),
            ]
        ),
        timeout=PATIENCE_S,
    )
    listed, *described = answers
    assert sorted(each.name for each in listed.list_services_response.service) == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    ]
    for each in described:
        assert each.file_descriptor_response.file_descriptor_proto
