"""The body of an HTTP request, never larger than allowed, inflated where gzipped."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import grpc
from starlette.exceptions import HTTPException

from simprod_tf.serving.status import ServingError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Middleware that refuses bodies above a limit with 413, without reading on.

    Whoever reads the body gets an HTTPException once too much has come; where the
    header Content-Length says so beforehand, nothing is read at all.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        """Wraps `app`; `max_bytes` counts what is sent, before any inflating."""
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the app with a `receive` that counts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        # Where it is no number, the server has refused it or goes by what comes.
        too_large = announced.isdigit() and int(announced) > self._max_bytes
        read = 0

        async def counted() -> Message:
            nonlocal read
            if too_large:
                raise self._too_large()
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_bytes:
                raise self._too_large()
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> HTTPException:
        return HTTPException(
            413,
            f"The request's body is larger than {self._max_bytes} bytes; send fewer "
            "rows at once.",
        )


def inflated(body: bytes, encoding: str, *, max_bytes: int) -> bytes:
    """Returns what a body holds, by the header Content-Encoding.

    Args:
        body: As it came.
        encoding: "" or "identity" for a body as it is, "gzip".
        max_bytes: What it may grow to; no more than that is inflated.

    Raises:
        ServingError: INVALID_ARGUMENT, for other encodings and for what is no gzip.
        HTTPException: 413, for bodies that would grow larger.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise _invalid(
            "Expected a body without Content-Encoding or with gzip, got "
            f"{encoding[:40]!r}."
        )
    # 16 asks for gzip's header.
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        plain = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise _invalid(f"The body is not what gzip wrote: {error}") from error
    if len(plain) > max_bytes:
        raise HTTPException(
            413, f"The request's body is larger than {max_bytes} bytes once inflated."
        )
    if not stream.eof or stream.unused_data:
        raise _invalid("The body is not what gzip wrote: one stream, whole")
    return plain


def _invalid(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)
