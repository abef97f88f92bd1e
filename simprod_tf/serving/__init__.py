"""An embedded server that answers as TensorFlow Serving does, and a client."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simprod_tf.serving.client.async_client import AsyncClient
    from simprod_tf.serving.client.channel import Tls
    from simprod_tf.serving.client.client import Client
    from simprod_tf.serving.client.error import (
        DeadlineError,
        NotFoundError,
        UnavailableError,
        VersionChangedError,
    )
    from simprod_tf.serving.status import ServingError

__all__ = [
    "AsyncClient",
    "Client",
    "DeadlineError",
    "NotFoundError",
    "ServingError",
    "Tls",
    "UnavailableError",
    "VersionChangedError",
]

_HOMES = {
    "AsyncClient": "client.async_client",
    "Client": "client.client",
    "DeadlineError": "client.error",
    "NotFoundError": "client.error",
    "ServingError": "status",
    "Tls": "client.channel",
    "UnavailableError": "client.error",
    "VersionChangedError": "client.error",
}


def __getattr__(name: str) -> Any:
    # Imported when asked for: a client loads TensorFlow, not all of this room does.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
