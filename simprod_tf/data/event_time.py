"""Times of events: microseconds since 1970 in UTC, from what logs hold."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "USMALLINT", "UINTEGER")


def instant_us(text: str | None, name: str) -> int | None:
    """Returns microseconds since 1970 of an ISO 8601 time; None stays None."""
    if text is None:
        return None
    try:
        # Python before 3.11 does not know the Z.
        instant = datetime.fromisoformat(re.sub("[Zz]$", "+00:00", text.strip()))
    except ValueError as error:
        raise ValueError(
            f"{name} must be a time like 2024-05-01 or 2024-05-01T12:30:00Z, "
            f"got {text!r}."
        ) from error
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=timezone.utc)
    return (instant - EPOCH) // timedelta(microseconds=1)


def time_us_sql(column: str, column_type: str) -> str:
    """Returns the SQL for microseconds since 1970, NULL where a time is no time."""
    if column_type == "TIMESTAMP WITH TIME ZONE":
        return f"epoch_us({column})"
    if column_type.startswith(("TIMESTAMP", "DATE")):
        return f"epoch_us(CAST({column} AS TIMESTAMP))"
    if column_type in _INTEGERS:
        return _whole_us(f"CAST({column} AS BIGINT)")
    text = f"trim(CAST({column} AS VARCHAR))"
    whole, real = f"TRY_CAST({text} AS BIGINT)", f"TRY_CAST({text} AS DOUBLE)"
    # Whole numbers keep to integers: a double cannot hold nanoseconds since 1970.
    return f"""CASE
        WHEN {real} IS NULL THEN epoch_us(TRY_CAST({text} AS TIMESTAMPTZ))
        WHEN contains({text}, '.') THEN TRY_CAST(round(CASE
            WHEN abs({real}) < 1e11 THEN {real} * 1e6
            WHEN abs({real}) < 1e14 THEN {real} * 1e3
            WHEN abs({real}) < 1e17 THEN {real}
            ELSE {real} / 1e3 END) AS BIGINT)
        ELSE {_whole_us(whole)} END"""


def _whole_us(number: str) -> str:
    """Returns the SQL for microseconds of a BIGINT in any of the units."""
    return f"""CASE
        WHEN abs({number}) < 100000000000 THEN {number} * 1000000
        WHEN abs({number}) < 100000000000000 THEN {number} * 1000
        WHEN abs({number}) < 100000000000000000 THEN {number}
        ELSE {number} // 1000 END"""
