"""What a call that failed says: gRPC's status as a ServingError, with the way out."""

from __future__ import annotations

import re

import grpc

from simprod_tf.serving.client.channel import ChannelSettings
from simprod_tf.serving.status import ServingError


class DeadlineError(ServingError):
    """No answer came in time."""


class UnavailableError(ServingError):
    """The server cannot be reached, or does not take requests now."""


class NotFoundError(ServingError):
    """The server has no such model, version or product."""


class VersionChangedError(ServingError):
    """The answers of one call come from two versions of a model."""


_KINDS: dict[grpc.StatusCode, type[ServingError]] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
}

_NO_TLS = "the server there speaks no TLS: leave `tls` away"
_UNTRUSTED = (
    "the server's certificate is signed by none of the authorities known here: give "
    "its authority's file as Tls(ca=...)"
)
_OTHER_NAME = (
    "the server's certificate is for another name: use that name in the address or "
    "give it as Tls(host=...)"
)
_BAD_FILES = "a file of `tls` is damaged, or key and cert do not belong together"
_CLOSED_PLAIN = "the server closed the connection: it may want TLS, give Tls(ca=...)"
_CLOSED_TLS = (
    "the server closed the connection: it may want a certificate from the client, give "
    "Tls(ca, key, cert)"
)
_NOT_GRPC = (
    "what listens there is no gRPC server: give the gRPC port (8500 unless told), not "
    "the one of REST"
)
_BUSY = "it starts, stops or has too much to do; ask again later"
_NOBODY = (
    "nothing listens there: start a server (`simprod serve`, TensorFlow Serving) or "
    "give its address"
)
_NO_HOST = "the address is not found: give host:port, such as localhost:8500"
# What gRPC's details hold -> the way out; the first that fits.
_HINTS = (
    ("WRONG_VERSION_NUMBER", _NO_TLS),
    ("CERTIFICATE_VERIFY_FAILED", _UNTRUSTED),
    ("Hostname Verification", _OTHER_NAME),
    ("security handshaker", _BAD_FILES),
    ("HTTP/2|SETTINGS frame", _NOT_GRPC),
    ("Connection refused", _NOBODY),
    ("errors resolving|DNS resolution", _NO_HOST),
)


def serving_error(
    error: grpc.RpcError, channel: ChannelSettings, *, model: str, timeout: float
) -> ServingError:
    """Returns a failed call's status as an error that says what to do.

    Args:
        error: what the call raised.
        channel: where to.
        model: what was asked.
        timeout: seconds that the call had.
    """
    address = channel.address
    code, text = error.code(), (error.details() or "").rstrip(".")
    if code == grpc.StatusCode.UNAVAILABLE:
        text = _unavailable(text, channel)
    elif code == grpc.StatusCode.DEADLINE_EXCEEDED:
        text = (
            f"{address} did not answer within {timeout:g} s ({text}): raise `timeout`, "
            "or send fewer products at once (`chunk`)."
        )
    elif code == grpc.StatusCode.NOT_FOUND and "Servable not found" in text:
        text = (
            f"{address} does not serve what was asked for ({text}): `status()` tells "
            f"the versions of {model!r}; if there are none, ask for another model."
        )
    elif code == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in text:
        text = f"{text}: {_message_limit(text)}."
    elif code == grpc.StatusCode.UNIMPLEMENTED:
        text = (
            f"{address} does not offer this call ({text}): SimilarProducts is of "
            "`simprod serve --index`, TensorFlow Serving has PredictionService alone."
        )
    return _KINDS.get(code, ServingError)(code, text)


def may_be_outdated(error: ServingError) -> bool:
    """Whether a request may have failed because its model was replaced meanwhile."""
    return error.code in (
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INVALID_ARGUMENT,
    )


def require_not_ready(error: ServingError, *, waited: float, is_over: bool) -> None:
    """Raises what ends the waiting for a model: the time, or an error that stays.

    Args:
        error: what the model answered last.
        waited: seconds in all.
        is_over: whether the time is over.
    """
    # A label is set after its version is loaded; until then it is unknown.
    is_label = error.code == grpc.StatusCode.INVALID_ARGUMENT and "label" in str(error)
    if not (is_label or isinstance(error, tuple(_KINDS.values()))):
        raise error
    if is_over:
        raise DeadlineError(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            f"the model does not answer after {waited:g} s; at last: {error}",
        ) from error


def _unavailable(text: str, channel: ChannelSettings) -> str:
    address = channel.address
    for pattern, hint in _HINTS:
        if re.search(pattern, text):
            return f"{address}: {hint} ({text})."
    # Only before the first answer: later a server that stops closes likewise.
    if re.search("failed to connect.*(Socket closed|reset by peer|End of TCP)", text):
        return f"{address}: {_CLOSED_TLS if channel.tls else _CLOSED_PLAIN} ({text})."
    return f"{address} is not available ({text}): {_BUSY}."


def _message_limit(text: str) -> str:
    if text.startswith("SERVER"):
        return "the server's limit; send fewer products at once (`chunk`)"
    return "raise `max_message_bytes`"
