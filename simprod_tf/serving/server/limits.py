"""How much a server takes on at once: one gate for gRPC and REST."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType

import grpc

from simprod_tf.serving.status import ServingError

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What a server bears.

    `concurrency` requests run at once and `queue` more wait their turn; beyond them a
    request is refused at once. `message_bytes` bounds one request or answer of gRPC,
    and the memory that one input tensor may take. TF Serving takes messages of up to
    2 GiB; 64 MiB are 32 pictures of 2 MiB.
    """

    concurrency: int = 8
    queue: int = 64
    message_bytes: int = 64 * MIB

    def __post_init__(self) -> None:
        """Checks that something can run, and that gRPC can hold the message's size."""
        if self.concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, got {self.concurrency}.")
        if self.queue < 0:
            raise ValueError(f"queue must not be negative, got {self.queue}.")
        if not 1 <= self.message_bytes < 2**31:
            raise ValueError(
                f"message_bytes must lie between 1 and {2**31 - 1}, "
                f"got {self.message_bytes}."
            )


class Gate:
    """Lets `limits.concurrency` requests in at once, in the order of their coming.

    with gate.enter(timeout):
        ...
    """

    def __init__(self, limits: Limits) -> None:
        """Starts with nobody inside."""
        self.limits = limits
        self._lock = threading.Lock()
        self._running = 0
        self._closed = False
        # A place in the queue is a lock that is held until the place is called.
        self._waiting: deque[threading.Lock] = deque()

    @property
    def running(self) -> int:
        """The requests inside."""
        return self._running

    @property
    def waiting(self) -> int:
        """The requests in the queue."""
        return len(self._waiting)

    def enter(self, timeout: float | None = None) -> Gate:
        """Waits for a place inside; leave it by the `with` that this belongs into.

        Args:
            timeout: seconds until the request's deadline, None where it has none.

        Raises:
            ServingError: RESOURCE_EXHAUSTED where the queue is full, DEADLINE_EXCEEDED
                where the deadline passes first, UNAVAILABLE once the gate is closed.
        """
        if timeout is not None and timeout <= 0:
            raise _too_late()
        with self._lock:
            if self._closed:
                raise ServingError(
                    grpc.StatusCode.UNAVAILABLE, "The server is stopping."
                )
            if self._running < self.limits.concurrency:
                self._running += 1
                return self
            if len(self._waiting) >= self.limits.queue:
                raise ServingError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"{self._running} requests are running and {len(self._waiting)} "
                    "wait, as many as this server takes (--concurrency, --queue); "
                    "try again later.",
                )
            place = threading.Lock()
            place.acquire()
            self._waiting.append(place)
        self._wait(place, timeout)
        return self

    def close(self) -> None:
        """Lets nobody in any more; those in the queue still have their turn."""
        with self._lock:
            self._closed = True

    def _wait(self, place: threading.Lock, timeout: float | None) -> None:
        # Longer than a lock can wait is as good as for ever.
        seconds = -1.0 if timeout is None else min(timeout, threading.TIMEOUT_MAX)
        if place.acquire(timeout=seconds):
            return
        with self._lock:
            if place in self._waiting:
                self._waiting.remove(place)
                raise _too_late()
        # It was called in the very moment: the place inside is its own, to be given on.
        self._leave()
        raise _too_late()

    def _leave(self) -> None:
        with self._lock:
            if self._waiting:
                # The place inside goes to the next; `running` stays as it is.
                self._waiting.popleft().release()
            else:
                self._running -= 1

    def __enter__(self) -> None:
        """Is inside already."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives the place to the next in the queue."""
        self._leave()


class Deadline:
    """A moment by which a request must be answered, or none."""

    def __init__(self, timeout: float | None) -> None:
        """Counts `timeout` seconds from now."""
        self._end = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """Returns the seconds that are left, 0 once they are over, None without end."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())


def _too_late() -> ServingError:
    return ServingError(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "The request's deadline passed before its turn came.",
    )
