"""What a channel is made of; TLS by certificates made here."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from concurrent import futures

import grpc
import pytest
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

from simprod_tf import serving
from simprod_tf.errors import InputError
from simprod_tf.serving import Client, Tls
from simprod_tf.serving.client.channel import ChannelSettings
from simprod_tf.serving.client.error import UnavailableError


class OneVersion(model_service_pb2_grpc.ModelServiceServicer):
    def GetModelStatus(self, request, context):  # noqa: N802
        response = GetModelStatusResponse()
        response.model_version_status.add(version=7)
        return response


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder with ca.pem, and server.pem and client.pem that it signed, and keys."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(
            ["openssl", *arguments], cwd=folder, check=True, capture_output=True
        )

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for name in ("ca", "other"):
        new = ["req", "-x509", *curve, "-keyout", f"{name}.key", "-subj", f"/CN={name}"]
        openssl(*new, "-out", f"{name}.pem", "-days", "2")
    (folder / "names").write_text("subjectAltName=DNS:shop.example", encoding="utf-8")
    for name in ("server", "client"):
        request = ["req", *curve, "-keyout", f"{name}.key", "-subj", f"/CN={name}"]
        openssl(*request, "-out", f"{name}.csr")
        signing = ["x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem"]
        signing += ["-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
        openssl(*signing, "-days", "2", "-out", f"{name}.pem")
    return folder


@pytest.fixture(scope="module")
def addresses(certificates):
    """Addresses of servers that speak plain text, TLS, and mutual TLS."""
    pair = [(certificates / name).read_bytes() for name in ("server.key", "server.pem")]
    authority = (certificates / "ca.pem").read_bytes()
    credentials = {
        "tls": grpc.ssl_server_credentials([pair]),
        "mtls": grpc.ssl_server_credentials([pair], authority, True),
    }
    server = grpc.server(futures.ThreadPoolExecutor(2))
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(OneVersion(), server)
    ports = {"plain": server.add_insecure_port("127.0.0.1:0")}
    for name, one in credentials.items():
        ports[name] = server.add_secure_port("127.0.0.1:0", one)
    server.start()
    yield {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    server.stop(None).wait()


def status(address, tls):
    with Client(address, model="shop", tls=tls, attempts=1) as client:
        return client.status()


def test_a_server_proves_itself_by_its_certificate(addresses, certificates):
    tls = Tls(certificates / "ca.pem", host="shop.example")
    assert status(addresses["tls"], tls)[0].version == 7


def test_both_sides_prove_themselves(addresses, certificates):
    tls = Tls(
        certificates / "ca.pem",
        certificates / "client.key",
        certificates / "client.pem",
        "shop.example",
    )
    assert status(addresses["mtls"], tls)[0].version == 7


@pytest.mark.parametrize(
    ("server", "files", "host", "told"),
    [
        ("plain", ("ca.pem",), "shop.example", "leave `tls` away"),
        ("tls", None, None, r"may want TLS, give Tls\(ca"),
        ("tls", ("other.pem",), "shop.example", r"none of the authorities .*Tls\(ca"),
        ("tls", ("ca.pem",), None, r"for another name: .*Tls\(host"),
        (
            "mtls",
            ("ca.pem",),
            "shop.example",
            r"certificate from the client, .*ca, key",
        ),
        (
            "mtls",
            ("ca.pem", "server.key", "client.pem"),
            "shop.example",
            "key and cert do not belong together",
        ),
    ],
)
def test_what_does_not_fit_is_told_with_the_way_out(
    addresses, certificates, server, files, host, told
):
    tls = None
    if files is not None:
        tls = Tls(*(certificates / name for name in files), host=host)
    with pytest.raises(UnavailableError, match=told):
        status(addresses[server], tls)


def test_the_port_of_rest_is_told():
    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with pytest.raises(
            UnavailableError, match="no gRPC server: give the gRPC port"
        ):
            status(f"127.0.0.1:{server.server_address[1]}", None)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_address_that_does_not_exist_is_told():
    with pytest.raises(UnavailableError, match="the address is not found: give host"):
        status("localhost:port", None)


def test_files_of_tls_are_looked_at_before_the_first_call(tmp_path):
    with pytest.raises(InputError, match="no-such.pem: cannot be read: No such file"):
        Client("localhost:1", model="shop", tls=Tls(tmp_path / "no-such.pem"))
    binary = tmp_path / "ca.der"
    binary.write_bytes(b"\x30\x82")
    with pytest.raises(InputError, match=r"ca.der: expected .* PEM .*openssl x509"):
        Client("localhost:1", model="shop", tls=Tls(binary))


def test_key_and_certificate_come_together():
    with pytest.raises(ValueError, match="key and cert of Tls belong together"):
        Tls(key="client.key")


def test_only_unavailable_is_tried_again_and_no_change_of_the_index_is():
    settings = ChannelSettings("localhost:8500", attempts=3)
    config = json.loads(dict(settings.options())["grpc.service_config"])
    (method,) = config["methodConfig"]
    assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert method["retryPolicy"]["maxAttempts"] == 3
    names = {(one["service"], one.get("method", "*")) for one in method["name"]}
    assert ("tensorflow.serving.PredictionService", "*") in names
    assert {one[1] for one in names} == {"*", "GetModelStatus", "Similar", "Status"}


def test_one_attempt_means_no_policy():
    options = dict(ChannelSettings("localhost:8500", attempts=1).options())
    assert json.loads(options["grpc.service_config"]) == {}


def test_the_room_offers_its_names_and_loads_no_tensorflow_for_errors():
    code = (
        "import sys, simprod_tf.serving as serving;"
        "from simprod_tf.serving import ServingError, Tls;"
        "assert 'tensorflow' not in sys.modules;"
        "assert not hasattr(serving, 'Clients')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    for name in serving.__all__:
        assert getattr(serving, name).__name__ == name
