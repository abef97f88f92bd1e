"""What every engine can do: SQL on tables, and work units.

A work unit is a piece of a job that knows nothing of engines: a function takes it,
writes files (to a temporary name, then renamed) and returns a few numbers. Whoever runs
it may run it twice, here or elsewhere: the files come out the same.

SQL that is handed to an engine by its name here runs on DuckDB and on Spark SQL 3.5
alike. Both compare text by its UTF-8 bytes; quoting and functions beyond the common
ones differ.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from simprod_tf.errors import SimprodError

if TYPE_CHECKING:
    import pyarrow as pa

Unit = TypeVar("Unit")
Self = TypeVar("Self", bound="Engine")
# Told how far the work is: (done, in all).
Progress = Callable[[int, int], None]


class QueryError(SimprodError):
    """The engine refused the SQL, or the data that it was to read."""


class Engine(abc.ABC):
    """Where a job runs; use it in a `with` statement."""

    name: ClassVar[str]

    @abc.abstractmethod
    def query(self, sql: str) -> pa.Table:
        """Returns the rows of a query, which must fit in memory.

        Raises:
            QueryError: the SQL or the data is refused.
            SimprodError: memory or disk do not suffice.
        """

    @abc.abstractmethod
    def load(self, name: str, table: pa.Table) -> None:
        """Makes a small Arrow table the table `name`, in place of an older one."""

    @abc.abstractmethod
    def read(self, name: str, files: Sequence[str | os.PathLike[str]]) -> None:
        """Makes the rows of Parquet files of one schema the table `name`."""

    @abc.abstractmethod
    def define(self, name: str, sql: str) -> None:
        """Makes the rows of a query the table `name`: computed once, and kept.

        The name keeps what it meant in the query where it stands in it, too.
        """

    @abc.abstractmethod
    def view(self, name: str, sql: str) -> None:
        """Makes a query the table `name`, run anew wherever the table is read.

        The query may not read what it replaces.
        """

    @abc.abstractmethod
    def write(
        self, sql: str, folder: Path, *, partition_by: str | None = None
    ) -> list[Path]:
        """Writes the rows of a query as Parquet files; returns them in order.

        Args:
            sql: the query; its order is that of the files.
            folder: is made; one that is there is replaced.
            partition_by: a column of whole numbers: of each value the files lie in a
                folder of its own, `column=value`, and lack the column.
        """

    @abc.abstractmethod
    def each(
        self,
        work: Callable[[Unit], Any],
        units: Iterable[Unit],
        *,
        progress: Progress | None = None,
    ) -> list[Any]:
        """Returns what `work` returns for each unit, in the units' order.

        Args:
            work: a function of a module, or a partial of one; it may be run again for
                a unit that it was run for.
            units: what it is run for; all of them can be pickled.
            progress: called with (units done, units in all).

        Raises:
            SimprodError: as `work` raises it, or says where there was no room.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Forgets all tables; twice does no harm."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
