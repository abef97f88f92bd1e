"""What lies between client and server: sizes, deadlines, cancels, sockets, TLS."""

from __future__ import annotations

import subprocess

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import prediction_service_pb2_grpc

from simprod_tf.serving.models.config import read_ssl
from simprod_tf.serving.server.limits import Limits

MIB = 1024**2
LATE = grpc.StatusCode.DEADLINE_EXCEEDED
PATIENCE_S = 60
# Of about 40 us each: seconds in all.
MANY_STEPS = np.int32(10**5)
UNBOUNDED = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


def predict_over(channel):
    """Returns Predict of a channel other than the target's own."""
    return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict


def answers(target):
    return list(target.outputs(version=1, x=np.float32([4]))["y"]) == [4]


def test_a_message_above_four_mebibytes_passes_both_ways(target):
    x = np.arange(2 * MIB, dtype=np.float32)
    with grpc.insecure_channel(target.address, options=UNBOUNDED) as channel:
        request = target.request(version=1, x=x)
        assert request.ByteSize() > 8 * MIB
        response = predict_over(channel)(request, timeout=PATIENCE_S)
    np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), x / 2 + 2)


def test_a_client_of_pythons_default_cannot_receive_that_much(target):
    x = np.zeros(2 * MIB, np.float32)
    target.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, target.predict, x=x)
    assert answers(target)


def test_ours_has_a_limit_of_its_own(serve_here):
    target = serve_here(limits=Limits(message_bytes=MIB))
    x = np.zeros(MIB // 4, np.float32)
    text = target.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, target.predict, x=x)
    assert "larger than max" in text
    assert answers(target)


def test_compressed_requests_are_read(target):
    request = target.request(version=1, x=np.zeros(1000, np.float32))
    compressed = target.predictions.Predict(
        request, timeout=PATIENCE_S, compression=grpc.Compression.Gzip
    )
    assert set(tf.make_ndarray(compressed.outputs["y"])) == {2.0}


def test_a_deadline_ends_a_request(target):
    target.refused(
        LATE, target.predict, signature="slow", steps=MANY_STEPS, timeout=0.2
    )
    assert answers(target)


def test_a_cancelled_request_harms_nobody(target):
    request = target.request(signature="slow", steps=np.int32(1000))
    running = [
        target.predictions.Predict.future(request, timeout=PATIENCE_S) for _ in range(3)
    ]
    for future in running:
        assert future.cancel()
    for future in running:
        with pytest.raises(grpc.FutureCancelledError):
            future.result()
    assert answers(target)


def test_an_unknown_service_is_unimplemented(target):
    call = target.channel.unary_unary("/tensorflow.serving.Nobody/Predict")
    target.refused(grpc.StatusCode.UNIMPLEMENTED, call, b"", timeout=PATIENCE_S)


def test_a_message_that_is_none_is_refused_and_harms_nobody(target):
    call = target.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError):
        call(b"\xff\xff\xff", timeout=PATIENCE_S)
    assert answers(target)


def test_ours_tells_its_health_by_both_names(target):
    if not target.is_ours:
        pytest.skip("TensorFlow Serving needs --enable_grpc_healthcheck_service")
    stub = health_pb2_grpc.HealthStub(target.channel)
    for service in ("", "ModelService", "tensorflow.serving.PredictionService"):
        request = health_pb2.HealthCheckRequest(service=service)
        assert stub.Check(request, timeout=PATIENCE_S).status == 1


def test_a_unix_socket_answers_too(serve_here, tmp_path):
    target = serve_here(unix_socket=tmp_path / "socket")
    request = target.request(version=1, x=np.float32([4]))
    with grpc.insecure_channel(f"unix:{tmp_path}/socket") as channel:
        response = predict_over(channel)(request, timeout=PATIENCE_S)
    assert list(tf.make_ndarray(response.outputs["y"])) == [4]


def signed_by_itself(folder, name):
    """Returns key and certificate for localhost, in PEM."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", f"{name}.key", "-out", f"{name}.crt"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return tuple((folder / f"{name}.{kind}").read_bytes() for kind in ("key", "crt"))


def quoted(pem):
    return text_format.text_encoding.CEscape(pem, as_utf8=True)


@pytest.mark.parametrize("verified", [False, True], ids=["tls", "mtls"])
def test_the_ssl_config_file_makes_it_tls(serve_here, tmp_path, verified):
    key, certificate = signed_by_itself(tmp_path, "server")
    client = signed_by_itself(tmp_path, "client")
    path = tmp_path / "ssl.config"
    path.write_text(
        f'server_key: "{quoted(key)}" server_cert: "{quoted(certificate)}" '
        f'custom_ca: "{quoted(client[1])}" client_verify: {str(verified).lower()}'
    )
    target = serve_here(host="localhost", ssl=read_ssl(path))
    place = f"localhost:{target.address.rpartition(':')[2]}"
    request = target.request(version=1, x=np.float32([4]))
    shown = grpc.ssl_channel_credentials(certificate, *client)
    nameless = grpc.ssl_channel_credentials(certificate)
    with grpc.secure_channel(place, shown) as channel:
        response = predict_over(channel)(request, timeout=PATIENCE_S)
        assert list(tf.make_ndarray(response.outputs["y"])) == [4]
    with grpc.secure_channel(place, nameless) as channel:
        call = predict_over(channel)
        if verified:
            target.refused(
                grpc.StatusCode.UNAVAILABLE, call, request, timeout=PATIENCE_S
            )
        else:
            assert call(request, timeout=PATIENCE_S).model_spec.name == "tiny"
    target.refused(grpc.StatusCode.UNAVAILABLE, target.predict, x=np.float32([1]))
