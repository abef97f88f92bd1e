"""DuckDB inside this process: runs the SQL it is handed, in bounded memory."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import duckdb

from simprod_tf.engine.base import Engine, Progress, QueryError, Unit
from simprod_tf.errors import SimprodError

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
# As the system says it, whatever DuckDB puts around it.
_NO_ROOM = "No space left on device"


class Embedded(Engine):
    """A private DuckDB database in a temporary folder, gone when it is closed.

    What outgrows `memory_limit_mb` lies in that folder alone. Use it in a `with`
    statement.
    """

    name: ClassVar[str] = "embedded"

    def __init__(
        self,
        *,
        memory_limit_mb: int | None = None,
        temp_directory: str | os.PathLike[str] | None = None,
        threads: int | None = None,
    ) -> None:
        """Opens the database.

        Args:
            memory_limit_mb: what DuckDB may hold in memory; four fifths of the
                machine's where None. It bounds DuckDB, not this process.
            temp_directory: an existing folder with room for what does not fit in
                memory; the system's own where None.
            threads: one for each core where None.
        """
        for name, value in (("memory_limit_mb", memory_limit_mb), ("threads", threads)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}.")
        try:
            self._folder = tempfile.TemporaryDirectory(
                prefix="simprod-", dir=temp_directory
            )
        except OSError as error:
            raise SimprodError(
                f"{temp_directory} cannot hold temporary files: {error}."
            ) from error
        config: dict[str, str | bool | int | float | list[str]] = {
            "temp_directory": self._folder.name,
            # A library must not fetch code from the network behind its user's back.
            "autoinstall_known_extensions": False,
        }
        if memory_limit_mb is not None:
            config["memory_limit"] = f"{memory_limit_mb}MB"
        if threads is not None:
            config["threads"] = threads
        # A database on disk keeps tables compressed; one in memory does not.
        database = os.path.join(self._folder.name, "tables.duckdb")
        self._connection = duckdb.connect(database, config=config)
        self.run("SET enable_progress_bar = false")
        # A time without a zone is UTC on every machine.
        self.run("SET TimeZone = 'UTC'")

    def run(self, sql: str) -> None:
        """Runs a statement whose rows nobody wants."""
        self._asked(lambda: self._connection.execute(sql).fetchall())

    def query(self, sql: str) -> pa.Table:
        """Returns the rows of a query.

        Raises:
            QueryError: DuckDB refuses the SQL or the data.
            SimprodError: memory or disk do not suffice.
        """
        # Relations give Arrow under the same name in DuckDB 1.4 and 2.0.
        return self._asked(lambda: self._connection.sql(sql).to_arrow_table())

    def _asked(self, ask: Callable[[], T]) -> T:
        """Returns what DuckDB answers; Ctrl-C stops it at once.

        It answers in a thread of its own: in the main thread DuckDB takes Ctrl-C for
        itself, and at times it does nothing about it.
        """
        with _own_errors(), ThreadPoolExecutor(1) as thread:
            answer = thread.submit(ask)
            try:
                return answer.result()
            except KeyboardInterrupt:
                while not answer.done():
                    self._connection.interrupt()
                    wait([answer], timeout=0.05)
                raise

    def load(self, name: str, table: pa.Table) -> None:
        """Copies an Arrow table into the table `name`, in place of an older one."""
        with _own_errors():
            self._connection.register("arriving", table)
        try:
            self.define(name, "SELECT * FROM arriving")
        finally:
            self._connection.unregister("arriving")

    def read(self, name: str, files: Sequence[str | os.PathLike[str]]) -> None:
        """Makes the rows of Parquet files, where they lie, the table `name`."""
        listed = ", ".join(sql_text(os.fspath(file)) for file in files)
        self._forget(name)
        self.run(
            f"CREATE VIEW {sql_name(name)} AS SELECT * FROM read_parquet([{listed}], "
            # A folder above the files that is called `id=5` is no column.
            "hive_partitioning = false)"
        )

    def define(self, name: str, sql: str) -> None:
        """Makes the rows of a query the table `name`."""
        # Under a name of its own first: the query may read the table that it replaces.
        self.run(f"CREATE OR REPLACE TABLE coming AS {sql}")
        self._forget(name)
        self.run(f"ALTER TABLE coming RENAME TO {sql_name(name)}")

    def view(self, name: str, sql: str) -> None:
        """Makes a query the table `name`, run anew wherever the table is read."""
        self._forget(name)
        self.run(f"CREATE VIEW {sql_name(name)} AS {sql}")

    def _forget(self, name: str) -> None:
        """Drops the table or view of this name, if there is one."""
        found = self.query(
            f"SELECT table_type FROM information_schema.tables WHERE table_name = "
            f"{sql_text(name)}"
        )["table_type"].to_pylist()
        for kind in found:
            word = "VIEW" if kind == "VIEW" else "TABLE"
            self.run(f"DROP {word} {sql_name(name)}")

    def write(
        self, sql: str, folder: Path, *, partition_by: str | None = None
    ) -> list[Path]:
        """Writes the rows of a query as Parquet files; returns them in order."""
        shutil.rmtree(folder, ignore_errors=True)
        target, options = folder / "part-00000.parquet", "FORMAT parquet"
        if partition_by is not None:
            target, options = folder, f"{options}, PARTITION_BY ({partition_by})"
            folder.parent.mkdir(parents=True, exist_ok=True)
        else:
            folder.mkdir(parents=True)
        self.run(f"COPY ({sql}) TO {sql_text(str(target))} ({options})")
        return sorted(folder.rglob("*.parquet"))

    def each(
        self,
        work: Callable[[Unit], Any],
        units: Iterable[Unit],
        *,
        progress: Progress | None = None,
    ) -> list[Any]:
        """Returns what `work` returns for each unit: one after the other, here."""
        waiting, found = list(units), []
        for unit in waiting:
            found.append(work(unit))
            if progress is not None:
                progress(len(found), len(waiting))
        return found

    def close(self) -> None:
        """Forgets all tables and removes the temporary folder; twice does no harm."""
        self._connection.close()
        self._folder.cleanup()


def sql_text(text: str) -> str:
    """Returns `text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def sql_name(name: str) -> str:
    """Returns `name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


@contextlib.contextmanager
def _own_errors() -> Iterator[None]:
    """Turns DuckDB's errors into ours."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise SimprodError(
            "DuckDB ran out of memory or of room for its temporary files: raise "
            "memory_limit_mb, use fewer threads, or name a temp_directory with more "
            f"room ({str(error).splitlines()[0]})."
        ) from error
    except duckdb.IOException as error:
        if _NO_ROOM not in str(error):
            raise QueryError(str(error)) from error
        found = re.search(r'file \\?"([^"\\]+)', str(error))
        where = "" if found is None else f"{found[1]}: "
        raise SimprodError(
            f"{where}{_NO_ROOM}; make room, or name another place, and run it again."
        ) from error
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
