"""A lock that many readers hold at the same time, or one writer alone."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class ReadersWriterLock:
    """Readers share it; a writer waits for them and keeps new ones out meanwhile.

    New readers wait for a writer that waits, or searches that overlap would keep it out
    for ever. So a reader that holds it must not ask for it again.
    """

    def __init__(self) -> None:
        """Nobody holds it."""
        self._free = threading.Condition()
        self._num_readers = 0
        self._num_waiting = 0
        self._is_writing = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Holds it beside other readers."""
        with self._free:
            while self._is_writing or self._num_waiting:
                self._free.wait()
            self._num_readers += 1
        try:
            yield
        finally:
            with self._free:
                self._num_readers -= 1
                if not self._num_readers:
                    self._free.notify_all()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Holds it alone."""
        with self._free:
            self._num_waiting += 1
            try:
                while self._is_writing or self._num_readers:
                    self._free.wait()
                self._is_writing = True
            finally:
                self._num_waiting -= 1
        try:
            yield
        finally:
            with self._free:
                self._is_writing = False
                self._free.notify_all()
