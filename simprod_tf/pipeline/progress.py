"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

# Called with what is being done, how much is done, and how much there is.
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Tells nobody."""


def about(progress: Progress, what: str) -> Callable[[int, int], None]:
    """Returns a callable of (done, total) that says what it is about."""
    return partial(progress, what)
