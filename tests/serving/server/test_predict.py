"""Predict and GetModelMetadata on a tiny SavedModel, without a network."""

from __future__ import annotations

import contextlib

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2, predict_pb2

from simprod_tf.serving.models.servable import Servable
from simprod_tf.serving.protos.server_config_pb2 import BatchingParameters
from simprod_tf.serving.server.limits import Limits
from simprod_tf.serving.server.predict import Predictor, refusal
from simprod_tf.serving.server.tensor_proto import write_tensor
from simprod_tf.serving.status import ServingError

INVALID = grpc.StatusCode.INVALID_ARGUMENT


class OneModel:
    """As `Models`, of one servable that is always there."""

    def __init__(self, servable):
        self.servable, self.leases = servable, 0

    @contextlib.contextmanager
    def lease(self, spec):
        if spec.name != self.servable.name:
            message = f"Servable not found for request: Latest({spec.name})"
            raise ServingError(grpc.StatusCode.NOT_FOUND, message)
        self.leases += 1
        try:
            yield self.servable
        finally:
            self.leases -= 1


class Counts:
    """As `Metrics`: what it was told."""

    def __init__(self):
        self.told = []

    def runtime(self, model, seconds):
        self.told.append(("runtime", model, seconds >= 0))

    def batch(self, model, rows):
        self.told.append(("batch", model, rows))

    def observe_outputs(self, model, outputs):
        self.told.append(("outputs", model, sorted(outputs)))


@pytest.fixture(scope="module")
def models(tiny_model, tmp_path_factory):
    folder = tiny_model(tmp_path_factory.mktemp("predict") / "tiny", 3)
    servable = Servable.load("tiny", 3, folder)
    yield OneModel(servable)
    servable.close()


@pytest.fixture(scope="module")
def predictor(models):
    return Predictor(models, limits=Limits(message_bytes=10_000))


def spec(signature="", name="tiny"):
    return model_pb2.ModelSpec(name=name, signature_name=signature)


def request(signature="", *, output_filter=(), **inputs):
    made = predict_pb2.PredictRequest(model_spec=spec(signature))
    for name, values in inputs.items():
        write_tensor(made.inputs[name], values)
    made.output_filter.extend(output_filter)
    return made


def refused(code, call, *arguments, **named):
    with pytest.raises(ServingError) as error:
        call(*arguments, **named)
    assert error.value.code is code, error.value
    return error.value.message


def floats(*values):
    return np.float32(values)


def test_arrays_in_arrays_out_with_what_answered(predictor):
    answer = predictor.run(spec(), {"x": floats(2, 4)})
    assert answer.outputs["y"].tolist() == [3.0, 4.0]
    assert answer.spec.name == "tiny"
    assert answer.spec.version.value == 3
    assert answer.spec.signature_name == "serving_default"


def test_a_request_is_answered_with_fields_of_the_dtype(predictor):
    response = predictor.predict(request(x=floats(2, 4)))
    assert list(response.outputs["y"].float_val) == [3.0, 4.0]
    assert response.outputs["y"].tensor_shape.dim[0].size == 2
    assert response.model_spec.signature_name == "serving_default"
    assert response.model_spec.version.value == 3


def test_tensor_content_is_read_too(predictor):
    sent = predict_pb2.PredictRequest(model_spec=spec("sum"))
    sent.inputs["a"].CopyFrom(tf.make_tensor_proto([1.0, 2.0]))
    sent.inputs["b"].CopyFrom(tf.make_tensor_proto([10.0, 20.0]))
    assert sent.inputs["a"].tensor_content
    response = predictor.predict(sent)
    assert tf.make_ndarray(response.outputs["total"]).tolist() == [11.0, 22.0]
    assert tf.make_ndarray(response.outputs["difference"]).tolist() == [-9.0, -18.0]


def test_strings_keep_their_bytes(predictor):
    words = np.array([b"a\x00", b"", "ü".encode()], object)
    response = predictor.predict(request("echo", text=words))
    assert list(response.outputs["text"].string_val) == words.tolist()


def test_the_filter_chooses_outputs(predictor):
    two = {"a": floats(1), "b": floats(2)}
    response = predictor.predict(request("sum", output_filter=["total"], **two))
    assert list(response.outputs) == ["total"]
    wrong = request("sum", output_filter=["X"], **two)
    assert refused(INVALID, predictor.predict, wrong) == (
        "output tensor alias not found in signature: X Outputs expected to be in the "
        "set {difference,total}."
    )


def test_a_scalar_goes_in_and_comes_out(predictor):
    response = predictor.predict(request("slow", steps=np.int32(2).reshape(())))
    assert tf.make_ndarray(response.outputs["done"]) == 2
    assert not response.outputs["done"].tensor_shape.dim


def test_an_empty_batch_has_an_empty_answer(predictor):
    assert predictor.run(spec(), {"x": floats()}).outputs["y"].shape == (0,)


def test_no_model_spec_and_no_such_model(predictor):
    sent = predict_pb2.PredictRequest()
    assert refused(INVALID, predictor.predict, sent) == "Missing ModelSpec"
    sent.model_spec.name = "other"
    gone = refused(grpc.StatusCode.NOT_FOUND, predictor.predict, sent)
    assert gone == "Servable not found for request: Latest(other)"


def test_no_such_signature(predictor):
    unmet = grpc.StatusCode.FAILED_PRECONDITION
    for _ in range(2):
        assert refused(unmet, predictor.predict, request("S", x=floats(1))) == (
            'Serving signature key "S" not found.'
        )


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (
            request("sum", a=floats(1)),
            "input size does not match signature: 1!=2 len({a}) != len({a,b}). "
            "Sent extra: {}. Missing but required: {b}.",
        ),
        (
            request("sum", a=floats(1), c=floats(1)),
            "Signature input alias: b(feed name: sum_b:0) not found in request and no "
            "default value provided. Inputs expected to be in the request {a,c}, or "
            "default input alias set: ",
        ),
        (
            request(x=np.int32([1])),
            "Expects arg[0] to be float but int32 is provided",
        ),
        (
            request("sum", a=floats(1), b=np.array([b"1"], object)),
            "Expects arg[1] to be float but string is provided",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_told_as_tf_serving_tells_them(
    predictor, sent, text
):
    assert refused(INVALID, predictor.predict, sent) == text


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((2, 5), "Matrix size-incompatible: In[0]: [2,5], In[1]: [3,2]\n\t [[{{node "),
        ((3,), "In[0] ndims must be >= 2"),
    ],
)
def test_shapes_are_the_ops_matter_and_so_is_the_text(predictor, shape, text):
    sent = request("matmul", m=np.zeros(shape, np.float32))
    message = refused(INVALID, predictor.predict, sent)
    assert message.startswith(text)
    assert "Cannot feed value" not in message


def test_a_proto_that_is_no_tensor_names_the_input(predictor):
    sent = request(x=floats(1))
    sent.inputs["x"].tensor_shape.dim[0].size = 10**9
    message = refused(INVALID, predictor.predict, sent)
    assert message.startswith("tensor parsing error: x (shape [1000000000] takes more")


def test_a_request_that_nobody_waits_for_is_not_run(models, predictor):
    cancelled = grpc.StatusCode.CANCELLED
    message = refused(
        cancelled, predictor.predict, request(x=floats(1)), is_active=lambda: False
    )
    assert message == "The client cancelled the request."
    assert models.leases == 0


def test_a_passed_deadline_is_told_before_anything_runs(predictor):
    late = grpc.StatusCode.DEADLINE_EXCEEDED
    refused(late, predictor.predict, request(x=floats(1)), timeout=0.0)
    assert predictor.gate.running == 0


@pytest.mark.parametrize("quick_before", [0, 3])
def test_a_long_run_is_stopped_at_its_deadline(models, quick_before):
    predictor = Predictor(models)
    for _ in range(quick_before):
        quick = request("slow", steps=np.int32(1).reshape(()))
        assert predictor.predict(quick).outputs["done"].int_val[0] == 1
    slow = request("slow", steps=np.int32(1_000_000).reshape(()))
    late = grpc.StatusCode.DEADLINE_EXCEEDED
    refused(late, predictor.predict, slow, timeout=0.05)


class Quick:
    """A servable that answers at once and keeps the timeouts that it was given."""

    name, version, folder = "tiny", 3, None

    def __init__(self, real, *, has_loops):
        self.signatures, self.has_loops, self.timeouts = real.signatures, has_loops, []

    def run(self, signature, inputs, outputs, *, timeout):
        self.timeouts.append(timeout)
        return [np.float32([0]) for _ in outputs]


def test_what_is_quick_and_cannot_loop_is_run_without_its_timeout(models):
    timeouts = {}
    for has_loops in (False, True):
        quick = Quick(models.servable, has_loops=has_loops)
        predictor = Predictor(OneModel(quick))
        for _ in range(2):
            predictor.predict(request(x=floats(1)), timeout=1000.0)
        timeouts[has_loops] = [each is not None for each in quick.timeouts]
    assert timeouts == {False: [True, False], True: [True, True]}


def test_beyond_the_gate_is_refused(models):
    narrow = Predictor(models, limits=Limits(concurrency=1, queue=0))
    with narrow.gate.enter():
        full = grpc.StatusCode.RESOURCE_EXHAUSTED
        refused(full, narrow.predict, request(x=floats(1)))
    assert narrow.predict(request(x=floats(1))).outputs["y"].float_val[0] == 2.5


def test_runs_and_outputs_are_counted(models):
    counts = Counts()
    counted = Predictor(models, metrics=counts)
    counted.predict(request(x=floats(1, 2, 3)))
    counted.predict(request("slow", steps=np.int32(1).reshape(())))
    assert counts.told == [
        ("runtime", "tiny", True),
        ("batch", "tiny", 3),
        ("outputs", "tiny", ["y"]),
        ("runtime", "tiny", True),
        ("batch", "tiny", 1),
        ("outputs", "tiny", ["done"]),
    ]


def test_batches_answer_as_single_requests_do(models):
    joined = Predictor(
        models, batching=BatchingParameters(num_batch_threads={"value": 1})
    )
    try:
        assert joined.run(spec(), {"x": floats(2, 4)}).outputs["y"].tolist() == [3, 4]
        wrong = request("matmul", m=np.zeros((2, 5), np.float32))
        assert refused(INVALID, joined.predict, wrong).startswith("Matrix size-incomp")
        done = joined.predict(request("slow", steps=np.int32(2).reshape(())))
        assert done.outputs["done"].int_val[0] == 2
    finally:
        joined.close()


def asked(*fields, name="tiny"):
    return get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=spec(name=name), metadata_field=fields
    )


def test_metadata_holds_every_signature(predictor, models):
    response = predictor.metadata(asked("signature_def"))
    assert (response.model_spec.name, response.model_spec.version.value) == ("tiny", 3)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    assert dict(found.signature_def) == models.servable.signatures
    assert "__saved_model_init_op" in found.signature_def


def test_metadata_refuses_what_it_has_not(predictor):
    empty = get_model_metadata_pb2.GetModelMetadataRequest()
    assert refused(INVALID, predictor.metadata, empty) == "Missing ModelSpec"
    assert refused(INVALID, predictor.metadata, asked()) == (
        "GetModelMetadataRequest must specify at least one metadata_field"
    )
    assert refused(INVALID, predictor.metadata, asked("signature_def", "X")) == (
        "Metadata field X is not supported"
    )
    gone = grpc.StatusCode.NOT_FOUND
    refused(gone, predictor.metadata, asked("signature_def", name="other"))


def test_a_runtimes_error_keeps_its_code_and_loses_pythons_additions():
    error = tf.errors.OutOfRangeError(
        None, None, "too far\n\nOriginal stack trace for 'x':\n  File a"
    )
    told = refusal(error)
    assert told.code is grpc.StatusCode.OUT_OF_RANGE
    assert told.message == "too far"
