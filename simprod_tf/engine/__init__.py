"""Where the work runs: here DuckDB inside this process."""

from __future__ import annotations

from simprod_tf.engine.embedded import Embedded, QueryError

__all__ = ["Embedded", "QueryError"]
