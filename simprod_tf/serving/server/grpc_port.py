"""A port of gRPC, plain or with TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from simprod_tf.errors import SimprodError

if TYPE_CHECKING:
    from simprod_tf.serving.protos.server_config_pb2 import SSLConfig


def listen(server: grpc.Server, address: str, ssl: SSLConfig | None) -> int:
    """Has a gRPC server listen on an address; returns the port.

    Args:
        server: not started yet.
        address: `host:port`, port 0 being any free one, or `unix:path`.
        ssl: key, certificate and whether clients must show one; None is plain text.

    Raises:
        SimprodError: the address is taken, or a key or certificate is none.
    """
    try:
        if ssl is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, _credentials(ssl))
    except RuntimeError as error:
        raise _cannot_listen(address, ssl) from error
    # Older releases of grpc do not raise.
    if port == 0:
        raise _cannot_listen(address, ssl)
    return port


def _cannot_listen(address: str, ssl: SSLConfig | None) -> SimprodError:
    keys = "" if ssl is None else ", or the SSL config's key and certificate do not fit"
    return SimprodError(
        f"gRPC cannot listen on {address}: the port is taken, or the host is not this "
        f"machine's{keys}."
    )


def _credentials(ssl: SSLConfig) -> grpc.ServerCredentials:
    if not ssl.server_key or not ssl.server_cert:
        raise SimprodError(
            "the SSL config must hold server_key and server_cert, in PEM."
        )
    if ssl.client_verify and not ssl.custom_ca:
        raise SimprodError(
            "the SSL config asks clients for certificates (client_verify) and must "
            "hold custom_ca, the authority that signed them."
        )
    return grpc.ssl_server_credentials(
        [(ssl.server_key.encode(), ssl.server_cert.encode())],
        root_certificates=ssl.custom_ca.encode() or None,
        require_client_auth=ssl.client_verify,
    )
