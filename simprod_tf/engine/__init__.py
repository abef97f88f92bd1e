"""Where the work runs: DuckDB inside this process, or Apache Spark."""

from __future__ import annotations

from simprod_tf.engine.base import Engine, QueryError
from simprod_tf.engine.embedded import Embedded
from simprod_tf.engine.spark import Spark

__all__ = ["Embedded", "Engine", "QueryError", "Spark"]
