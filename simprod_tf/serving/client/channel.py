"""The channel of a client: TLS, limits, deadlines, retries, keepalive."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from typing import Any, Union

import grpc

from simprod_tf.errors import InputError

FilePath = Union[str, "os.PathLike[str]"]

# Embeddings are small, pictures are not: 256 MiB are 60 of 4 MiB and some air.
MAX_MESSAGE_BYTES = 256 << 20
# Reading twice does no harm. A change (Add, Remove) whose answer was lost may have been
# made: whether to make it again is the caller's to say.
_RETRIED = (
    {"service": "tensorflow.serving.PredictionService"},
    {"service": "tensorflow.serving.ModelService", "method": "GetModelStatus"},
    {"service": "simprod.v1.SimilarProducts", "method": "Similar"},
    {"service": "simprod.v1.SimilarProducts", "method": "Status"},
)
# gRPC allows five.
MOST_ATTEMPTS = 5


@dataclass(frozen=True)
class Tls:
    """How a client and a server prove who they are: paths of PEM files.

    Attributes:
        ca: the authorities that may have signed the server's certificate; None for
            those that gRPC brings.
        key, cert: the client's own, where the server asks for one (mTLS).
        host: the name in the server's certificate, where it is not the address's.
    """

    ca: FilePath | None = None
    key: FilePath | None = None
    cert: FilePath | None = None
    host: str | None = None

    def __post_init__(self) -> None:
        """Checks that key and certificate come together."""
        if (self.key is None) != (self.cert is None):
            raise ValueError("key and cert of Tls belong together: give both or none.")

    def credentials(self) -> grpc.ChannelCredentials:
        """Returns what gRPC makes of the files.

        Raises:
            InputError: names the file that cannot be read or is not PEM.
        """
        ca, key, cert = (_pem(path) for path in (self.ca, self.key, self.cert))
        return grpc.ssl_channel_credentials(ca, key, cert)


@dataclass(frozen=True)
class ChannelSettings:
    """One long-lived connection to a server.

    Attributes:
        address: `host:port` of gRPC, or what else gRPC resolves (`unix:/path`).
        tls: None for a connection in plain text.
        max_message_bytes: of a request and of an answer.
        attempts: how often a call is tried while the answer is UNAVAILABLE, between 1
            and 5; gRPC waits about 0.1, 0.2, 0.4 s between them, with jitter.
    """

    address: str
    tls: Tls | None = None
    max_message_bytes: int = MAX_MESSAGE_BYTES
    attempts: int = 4

    def __post_init__(self) -> None:
        """Checks the address and the numbers."""
        if not re.fullmatch(r"(?!https?:)[^\s]*:[^\s]+", self.address):
            raise ValueError(
                "address must be host:port of a gRPC server, such as localhost:8500, "
                f"got {self.address!r}."
            )
        if self.max_message_bytes < 1:
            raise ValueError(
                f"max_message_bytes must be at least 1, got {self.max_message_bytes}."
            )
        if not 1 <= self.attempts <= MOST_ATTEMPTS:
            raise ValueError(
                f"attempts must be between 1 and {MOST_ATTEMPTS}, got {self.attempts}."
            )

    def open(self) -> grpc.Channel:
        """Returns a channel for calls that block."""
        if self.tls is None:
            return grpc.insecure_channel(self.address, options=self.options())
        return grpc.secure_channel(
            self.address, self.tls.credentials(), options=self.options()
        )

    def open_async(self) -> grpc.aio.Channel:
        """Returns a channel for asyncio; the loop must be running."""
        if self.tls is None:
            return grpc.aio.insecure_channel(self.address, options=self.options())
        return grpc.aio.secure_channel(
            self.address, self.tls.credentials(), options=self.options()
        )

    def options(self) -> list[tuple[str, Any]]:
        """Returns the channel's arguments, by gRPC's names.

        They are described in grpc/grpc/include/grpc/impl/channel_arg_names.h, retries
        in gRFC A6 (https://github.com/grpc/proposal), keepalive in doc/keepalive.md.
        """
        options: list[tuple[str, Any]] = [
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.service_config", json.dumps(_service_config(self.attempts))),
            # A request above this (256 KiB unless told) is sent once, never again.
            ("grpc.per_rpc_retry_buffer_size", self.max_message_bytes),
            # A server that comes back is found within seconds, not two minutes.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 5_000),
            # Servers drop who pings oftener than each 300 s; gateways (AWS) forget a
            # connection that was silent for 350 s.
            ("grpc.keepalive_time_ms", 330_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
        ]
        if self.tls is not None and self.tls.host:
            options.append(("grpc.ssl_target_name_override", self.tls.host))
        return options


@dataclass(frozen=True)
class CallSettings:
    """How calls are made.

    Attributes:
        timeout: seconds that a call has, all attempts together.
        chunk: products in a request, at most.
        in_flight: requests under way at the same time, for one `encode`.
        chunk_bytes: of pictures in a request, about; one picture may have more.
    """

    timeout: float = 10.0
    chunk: int = 32
    in_flight: int = 4
    chunk_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        """Checks that all are above 0."""
        if not 0 < self.timeout < math.inf:
            raise ValueError(
                f"timeout must be a number of seconds above 0, got {self.timeout}."
            )
        for name in ("chunk", "in_flight", "chunk_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}."
                )

    def chunk_of(self, batch_size: int | None) -> int:
        """Returns the products in a request, where a call may say its own number."""
        if batch_size is None:
            return self.chunk
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        return batch_size


def _service_config(attempts: int) -> dict[str, Any]:
    if attempts == 1:
        return {}
    policy = {
        "maxAttempts": attempts,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return {"methodConfig": [{"name": list(_RETRIED), "retryPolicy": policy}]}


def _pem(path: FilePath | None) -> bytes | None:
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", path=path) from error
    if b"-----BEGIN " not in content:
        raise InputError(
            "expected a certificate or key as PEM (-----BEGIN ...), got other content; "
            "`openssl x509 -inform der` and `openssl pkey -inform der` convert DER.",
            path=path,
        )
    return content
