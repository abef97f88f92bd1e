"""The options --engine, --master and --spark-conf, and the engine that they name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from simprod_tf.cli.console import options

if TYPE_CHECKING:
    from simprod_tf.engine.base import Engine

ENGINES = ("embedded", "spark")
_PANEL = "Where it runs"

EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        help="embedded: in this process. spark: on Apache Spark, for what one machine "
        "does not hold; needs Java 17 and `pip install 'simprod-tf[spark]'`.",
        rich_help_panel=_PANEL,
    ),
]
Master = Annotated[
    Optional[str],
    typer.Option(
        help="Of Spark: spark://HOST:7077, yarn, k8s://...; by default that of "
        "spark-submit, else all cores of this machine.",
        rich_help_panel=_PANEL,
    ),
]
SparkConf = Annotated[
    Optional[list[str]],
    typer.Option(
        help="A setting of Spark's: `spark.executor.memory=8g`; repeatable.",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True)
class EngineChoice:
    """Which engine was asked for.

    Raises:
        typer.BadParameter: there is no such engine, or it has no such options.
    """

    name: str
    master: str | None
    spark_conf: list[str] | None

    def __post_init__(self) -> None:
        """Refuses what there is not, before any work."""
        if self.name not in ENGINES:
            raise typer.BadParameter(
                f"--engine is one of {', '.join(ENGINES)}, got {self.name!r}."
            )
        if not self.is_spark and (self.master or self.spark_conf):
            raise typer.BadParameter(
                "--master and --spark-conf go with --engine spark."
            )
        self._settings()

    @property
    def is_spark(self) -> bool:
        """Whether it is Spark."""
        return self.name == "spark"

    def open(self, out: Path, *, memory_mb: int | None = None) -> Engine:
        """Returns the engine for a job that writes `out`, to be closed by the caller.

        Args:
            out: the job's output; beside it lie what Spark's tables need.
            memory_mb: of the embedded engine.
        """
        if self.is_spark:
            from simprod_tf.engine.spark import Spark

            return Spark(
                f"{os.path.abspath(out)}.unfinished",
                master=self.master,
                settings=self._settings(),
            )
        from simprod_tf.engine.embedded import Embedded

        with options():
            return Embedded(memory_limit_mb=memory_mb)

    def _settings(self) -> dict[str, str]:
        found = {}
        for text in self.spark_conf or ():
            key, equals, value = text.partition("=")
            if not equals or not key.startswith("spark."):
                raise typer.BadParameter(
                    f"--spark-conf is spark.NAME=VALUE, got {text!r}."
                )
            found[key] = value
        return found
