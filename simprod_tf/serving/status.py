"""What a server refuses with: a status code of gRPC and a text."""

from __future__ import annotations

import grpc

from simprod_tf.errors import SimprodError


class ServingError(SimprodError):
    """A request that is refused; its code is gRPC's, which REST has numbers for."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        """Keeps the code and the text."""
        self.code, self.message = code, message
        super().__init__(f"{code.name}: {message}")
