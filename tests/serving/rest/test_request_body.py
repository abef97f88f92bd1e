"""gzip of requests: whole streams, and bombs that are not inflated."""

from __future__ import annotations

import gzip
import zlib

import pytest
from starlette.exceptions import HTTPException

from simprod_tf.serving.rest.request_body import inflated
from simprod_tf.serving.status import ServingError


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_a_plain_body_is_left_as_it_is(encoding):
    assert inflated(b"{}", encoding, max_bytes=1) == b"{}"


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_gzip_is_inflated_up_to_the_limit_itself(size):
    packed = gzip.compress(b"x" * size)
    assert inflated(packed, "GZIP", max_bytes=size) == b"x" * size


def test_a_bomb_is_not_inflated_beyond_the_limit():
    bomb = gzip.compress(b"0" * 50_000_000)
    with pytest.raises(HTTPException) as caught:
        inflated(bomb, "gzip", max_bytes=1000)
    assert caught.value.status_code == 413
    assert "larger than 1000 bytes once inflated" in caught.value.detail


@pytest.mark.parametrize(
    ("body", "encoding", "text"),
    [
        (b"{}", "gzip", "The body is not what gzip wrote"),
        (zlib.compress(b"{}"), "gzip", "The body is not what gzip wrote"),
        (gzip.compress(b"{}", mtime=0)[:-1], "gzip", "one stream, whole"),
        (gzip.compress(b"{}", mtime=0) * 2, "gzip", "one stream, whole"),
        (
            b"{}",
            "br",
            "Expected a body without Content-Encoding or with gzip, got 'br'",
        ),
    ],
)
def test_other_encodings_and_broken_streams_are_refused(body, encoding, text):
    with pytest.raises(ServingError, match=text):
        inflated(body, encoding, max_bytes=100)
