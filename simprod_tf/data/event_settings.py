"""How a log names its columns and its events, and which of them count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from simprod_tf.data.event_time import instant_us

KINDS = ("view", "purchase", "cart", "return", "ignored")

DEFAULT_EVENT_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("view", "views", "click", "clicks", "pageview"), "view"),
    **dict.fromkeys(
        ("purchase", "purchases", "order", "orders", "buy", "transaction"), "purchase"
    ),
    **dict.fromkeys(("cart", "carts", "addtocart", "add_to_cart"), "cart"),
    **dict.fromkeys(
        ("return", "returns", "returned", "refund", "refunds", "refunded"), "return"
    ),
}

EVENT_ID = "event_id"


@dataclass(frozen=True)
class EventSettings:
    """How a log names its columns and its events.

    Args:
        session: the column of the session's key. A customer's key will do as well: the
            session gap alone then cuts the customer's events into sessions.
        id: the column of the product's id.
        event: the column that says what happened.
        time: the column of the time: ISO 8601 text (UTC where it names no zone), a
            timestamp, or a number since 1970. The number's size decides its unit:
            seconds below 1e11, milliseconds below 1e14, microseconds below 1e17, else
            nanoseconds.
        event_id: the column of a unique whole number for each event; rows that repeat
            one are dropped, and it breaks ties in time. `event_id` is used where the
            file has such a column; with None, or without it, the order of the rows
            breaks ties.
        event_names: names of events beyond DEFAULT_EVENT_NAMES, or against them, each
            with 'view', 'purchase', 'cart', 'return' or 'ignored'; upper and lower case
            are one. Returns are ignored, too, with a count of their own.
        since: ISO 8601 time (UTC where it names no zone); events before it are left
            out as though they had never been logged. None for no bound.
        until: likewise; events at this time or later are left out. Two logs cut at
            one time, up to it and from it on, share no event and no session.
    """

    session: str = "session"
    id: str = "id"
    event: str = "event"
    time: str = "time"
    event_id: str | None = EVENT_ID
    event_names: Mapping[str, str] = field(default_factory=dict)
    since: str | None = None
    until: str | None = None

    def __post_init__(self) -> None:
        for name, kind in self.event_names.items():
            if kind not in KINDS:
                raise ValueError(
                    f"event name {name!r} must mean one of {', '.join(KINDS)}, "
                    f"got {kind!r}."
                )
        start, end = instant_us(self.since, "since"), instant_us(self.until, "until")
        if start is not None and end is not None and start >= end:
            raise ValueError(
                f"since must be before until, got {self.since} and {self.until}."
            )

    @property
    def in_period(self) -> str:
        """The SQL, for every engine, of whether time_us lies in the period."""
        start, end = instant_us(self.since, "since"), instant_us(self.until, "until")
        bounds = [f"time_us >= {start}"] if start is not None else []
        bounds += [f"time_us < {end}"] if end is not None else []
        return " AND ".join(bounds) or "true"
