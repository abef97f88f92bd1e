"""Ports that cannot be listened on; test_server.py has those that can."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from simprod_tf.errors import SimprodError
from simprod_tf.serving.protos.server_config_pb2 import SSLConfig
from simprod_tf.serving.server.grpc_port import listen


@pytest.mark.parametrize(
    ("ssl", "text"),
    [
        (SSLConfig(server_key="k"), "must hold server_key and server_cert, in PEM"),
        (
            SSLConfig(server_key="k", server_cert="c", client_verify=True),
            "must hold custom_ca",
        ),
        (SSLConfig(server_key="k", server_cert="c"), "key and certificate do not fit"),
    ],
)
def test_an_ssl_config_that_cannot_be_is_told(ssl, text):
    with pytest.raises(SimprodError, match=text):
        listen(grpc.server(ThreadPoolExecutor(1)), "127.0.0.1:0", ssl)


def test_a_host_that_is_not_this_machines_is_told():
    server = grpc.server(ThreadPoolExecutor(1))
    with pytest.raises(SimprodError, match="gRPC cannot listen on 192.0.2.1:0: the"):
        listen(server, "192.0.2.1:0", None)
