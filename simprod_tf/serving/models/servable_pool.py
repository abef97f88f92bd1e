"""The versions that serve, and who is still using those that no longer do."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc

from simprod_tf.serving.models.servable import Servable
from simprod_tf.serving.status import ServingError


@dataclass
class _Held:
    """A version and the requests that run on it."""

    servable: Servable
    leases: int = 0
    retired: bool = False


class ServablePool:
    """Servables by model and version. Safe in threads; nothing slow under its lock."""

    def __init__(self, on_idle: Callable[[], None]) -> None:
        """Holds nothing.

        Args:
            on_idle: called by whoever ends the last request of a retired version.
        """
        self._on_idle = on_idle
        self._lock = threading.Lock()
        self._serving: dict[str, dict[int, _Held]] = defaultdict(dict)
        self._retired: list[_Held] = []

    def add(self, servable: Servable) -> None:
        """Lets a version serve; one of the same name and number is retired."""
        with self._lock:
            before = self._serving[servable.name].get(servable.version)
            self._serving[servable.name][servable.version] = _Held(servable)
            self._retire(before)

    def retire(self, name: str, version: int) -> None:
        """Gives a version no new requests; those that run on it go on."""
        with self._lock:
            self._retire(self._serving[name].pop(version, None))
            if not self._serving[name]:
                del self._serving[name]

    def take_idle(self) -> list[Servable]:
        """Returns the retired versions without requests, each once: to be closed."""
        with self._lock:
            idle = [held.servable for held in self._retired if not held.leases]
            self._retired = [held for held in self._retired if held.leases]
        return idle

    def names(self) -> list[str]:
        """Returns the models that serve."""
        with self._lock:
            return list(self._serving)

    def serving(self, name: str) -> dict[int, Servable]:
        """Returns the versions of a model that serve."""
        with self._lock:
            held = self._serving.get(name, {})
            return {version: one.servable for version, one in held.items()}

    @contextlib.contextmanager
    def lease(self, name: str, version: int | None) -> Iterator[Servable]:
        """Yields a version, the newest for None; it is not closed within the block.

        Raises:
            ServingError: NOT_FOUND.
        """
        with self._lock:
            held = self._found(name, version)
            held.leases += 1
        try:
            yield held.servable
        finally:
            with self._lock:
                held.leases -= 1
                is_idle = held.retired and not held.leases
            if is_idle:
                self._on_idle()

    def _found(self, name: str, version: int | None) -> _Held:
        versions = self._serving.get(name)
        if versions:
            chosen = max(versions) if version is None else version
            if chosen in versions:
                return versions[chosen]
        request = (
            f"Latest({name})" if version is None else f"Specific({name}, {version})"
        )
        raise ServingError(
            grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {request}"
        )

    def _retire(self, held: _Held | None) -> None:
        if held is not None:
            held.retired = True
            self._retired.append(held)
