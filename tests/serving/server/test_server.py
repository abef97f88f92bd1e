"""The server as a whole: ports, TLS, REST beside gRPC, its end."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import threading
import urllib.request

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from simprod_tf.errors import SimprodError
from simprod_tf.serving.models.config import models_of
from simprod_tf.serving.protos.server_config_pb2 import SSLConfig
from simprod_tf.serving.server.limits import Gate, Limits
from simprod_tf.serving.server.server import ServeOptions, Server, signalled
from simprod_tf.serving.server.tensor_proto import write_tensor
from simprod_tf.serving.status import ServingError

PATIENCE_S = 20


@pytest.fixture(scope="module")
def models(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server") / "tiny"
    tiny_model(folder, 1)
    return models_of({"tiny": folder})


def options(models, **changes):
    return ServeOptions(models=models, **{"port": 0, "rest_port": None, **changes})


def request(x=4.0):
    made = predict_pb2.PredictRequest()
    made.model_spec.name = "tiny"
    write_tensor(made.inputs["x"], np.float32([x]))
    return made


def predicted(channel, x=4.0):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.Predict(request(x), timeout=PATIENCE_S)
    return response.outputs["y"].float_val[0]


def fetched(url, body=None):
    with urllib.request.urlopen(url, data=body, timeout=PATIENCE_S) as answer:
        return answer.read().decode()


def test_grpc_rest_metrics_a_socket_and_services_of_ones_own(models, tmp_path):
    def hello(request):
        return PlainTextResponse("hello")

    def add(server):
        handler = grpc.unary_unary_rpc_method_handler(lambda body, _: body[::-1])
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("own.Service", {"Turn": handler}),)
        )
        return ["own.Service"]

    limits = Limits(concurrency=2)
    gate = Gate(limits)
    chosen = options(
        models,
        rest_port=0,
        metrics_path="/metrics",
        unix_socket=tmp_path / "socket",
        limits=limits,
    )
    server = Server(chosen, servicers=[add], routes=[Route("/hello", hello)], gate=gate)
    with server:
        rest = f"http://127.0.0.1:{server.rest_port}"
        answer = fetched(f"{rest}/v1/models/tiny:predict", b'{"instances": [4.0]}')
        assert json.loads(answer) == {"predictions": [4.0]}
        assert fetched(f"{rest}/hello") == "hello"
        for address in (f"127.0.0.1:{server.port}", f"unix:{tmp_path}/socket"):
            with grpc.insecure_channel(address) as channel:
                assert predicted(channel) == 4.0
                assert channel.unary_unary("/own.Service/Turn")(b"ab") == b"ba"
                stub = health_pb2_grpc.HealthStub(channel)
                own = health_pb2.HealthCheckRequest(service="own.Service")
                assert stub.Check(own, timeout=PATIENCE_S).status == 1
        page = fetched(f"{rest}/metrics")
        assert 'request_count{model_name="tiny",status="OK"} 3.0' in page
        assert server.predictor.gate is gate
    with pytest.raises(OSError, match="refused"):
        fetched(f"{rest}/hello")


def test_a_port_is_known_once_started(models):
    with pytest.raises(ValueError, match="must be started before its port is known"):
        _ = Server(options(models)).port


def test_a_taken_port_is_told_before_models_load(models):
    with Server(options(models)) as server:
        second = Server(options(models, port=server.port))
        with pytest.raises(SimprodError, match=f"listen on 127.0.0.1:{server.port}: "):
            second.start()
        assert second.models.names() == ["tiny"]
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            assert predicted(channel) == 4.0


def test_a_taken_rest_port_is_told_before_models_load(models, caplog):
    with Server(options(models, rest_port=0)) as server:
        second = Server(options(models, rest_port=server.rest_port))
        caplog.clear()
        with (
            caplog.at_level(logging.INFO),
            pytest.raises(
                ServingError,
                match=f"REST cannot listen on 127.0.0.1:{server.rest_port}: ",
            ),
        ):
            second.start()
    assert "Loading" not in caplog.text


def test_a_model_that_cannot_be_loaded_ends_the_start(tmp_path):
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "saved_model.pb").write_bytes(b"nonsense")
    broken = models_of({"broken": tmp_path / "broken"})
    server = Server(options(broken, poll_seconds=0))
    with pytest.raises(ServingError, match="broken"):
        server.start()
    # Ended, not half started.
    server.wait()


class Certificates:
    """An authority, and keys with certificates that it signed."""

    def __init__(self, folder):
        self._folder = folder
        self._openssl(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority "
            "-keyout ca.key -out ca.crt"
        )
        self.authority = (folder / "ca.crt").read_bytes()

    def _openssl(self, arguments):
        subprocess.run(
            ["openssl", *arguments.split()],
            cwd=self._folder,
            check=True,
            capture_output=True,
        )

    def signed(self, name):
        """Returns key and certificate for `localhost`."""
        self._openssl(
            f"req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout {name}.key "
            f"-out {name}.csr"
        )
        (self._folder / "names").write_text("subjectAltName=DNS:localhost")
        self._openssl(
            f"x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial "
            f"-days 2 -extfile names -out {name}.crt"
        )
        return tuple(
            (self._folder / f"{name}.{kind}").read_bytes() for kind in ("key", "crt")
        )


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


def test_tls_and_clients_that_must_show_a_certificate(models, certificates):
    key, certificate = certificates.signed("server")
    ssl = SSLConfig(server_key=key.decode(), server_cert=certificate.decode())
    plain = grpc.ssl_channel_credentials(certificates.authority)
    with Server(options(models, host="localhost", ssl=ssl)) as server:
        with grpc.secure_channel(f"localhost:{server.port}", plain) as channel:
            assert predicted(channel) == 4.0
        with grpc.insecure_channel(f"localhost:{server.port}") as channel:
            with pytest.raises(grpc.RpcError) as error:
                predicted(channel)
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    ssl.client_verify, ssl.custom_ca = True, certificates.authority.decode()
    shown = grpc.ssl_channel_credentials(
        certificates.authority, *certificates.signed("client")
    )
    with Server(options(models, host="localhost", ssl=ssl)) as server:
        with grpc.secure_channel(f"localhost:{server.port}", shown) as channel:
            assert predicted(channel) == 4.0
        with grpc.secure_channel(f"localhost:{server.port}", plain) as channel:
            with pytest.raises(grpc.RpcError) as error:
                predicted(channel)
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_drain_finishes_what_runs_and_takes_nothing_new(models):
    server = Server(options(models))
    server.start()
    inside, go_on = threading.Event(), threading.Event()
    real = server.predictor._run

    def held(*arguments, **named):
        inside.set()
        assert go_on.wait(PATIENCE_S)
        return real(*arguments, **named)

    server.predictor._run = held
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        watched = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(), timeout=PATIENCE_S
        )
        assert next(watched).status == 1
        running = stub.Predict.future(request(), timeout=PATIENCE_S)
        assert inside.wait(PATIENCE_S)
        drain = threading.Thread(target=server.drain, args=(PATIENCE_S,))
        drain.start()
        # Who watches is told, and the stream ends: it must not hold the server up.
        assert [each.status for each in watched] == [2]
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as late:
            with pytest.raises(grpc.RpcError) as error:
                predicted(late)
            # grpc cancels what it had accepted and not begun when it was told to stop.
            ended = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
            assert error.value.code() in ended
        go_on.set()
        assert running.result().outputs["y"].float_val[0] == 4.0
    drain.join(PATIENCE_S)
    assert not drain.is_alive()
    server.wait()
    # Nothing is left to close.
    server.close()


def test_a_signal_is_waited_for_and_the_next_one_is_the_systems():
    kept = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        assert signalled() is signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    finally:
        for each, handler in kept.items():
            signal.signal(each, handler)
