"""Apache Spark: the same SQL and the same work units, on as many machines as it has.

Spark schedules work units and shuffles tables. Pictures and embeddings do not pass
through the JVM: units read and write files by themselves, so every machine must see
them under the same paths.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from simprod_tf.engine.base import Engine, Progress, Unit
from simprod_tf.engine.failure import Failure, caught
from simprod_tf.engine.java import find_java
from simprod_tf.engine.spark_errors import own_errors
from simprod_tf.errors import MissingLibraryError, SimprodError

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
T = TypeVar("T")

# local[2] gives up at the first lost task; local[2,4] tries each four times.
_LOCAL_TRIES = 4
_MASTERS = r"local(\[.+\]|-cluster\[.+\])?$|(spark|k8s|mesos)://.|yarn$"
_POLL_S = 0.1
_CONNECT_S = 5.0


class Spark(Engine):
    """A Spark application, started when it is made.

    Only one runs in a process. Tables that are kept lie in `scratch`, on a disk that
    all machines of the cluster see.
    """

    name: ClassVar[str] = "spark"

    def __init__(
        self,
        scratch: str | os.PathLike[str],
        *,
        master: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Starts the application.

        Args:
            scratch: a folder for tables; what this engine puts there goes when it is
                closed.
            master: `spark://host:7077`, `yarn`, `k8s://...`, `local[2]`; by default
                that of `spark-submit`, else this machine's cores.
            settings: Spark's own, such as {"spark.executor.memory": "8g"}.

        Raises:
            MissingLibraryError: there is no pyspark, or no Java.
            SimprodError: the master does not answer.
        """
        _require_pyspark()
        _require_master(master)
        find_java()
        self._scratch = Path(os.path.abspath(scratch)) / f"spark-{os.getpid()}"
        self._session = _start(master, settings or {})
        self._numbers: dict[str, int] = {}

    def query(self, sql: str) -> pa.Table:
        """Returns the rows of a query, which must fit in memory."""
        import pyarrow as pa

        frame = self._asked(lambda: self._session.sql(sql))
        # Not toPandas: numbers with gaps would become floats.
        batches = self._asked(frame._collect_as_arrow)
        schema = _arrow_schema(frame.schema)
        return (
            pa.Table.from_batches(batches).cast(schema)
            if batches
            else (schema.empty_table())
        )

    def load(self, name: str, table: pa.Table) -> None:
        """Makes a small Arrow table the table `name`, by way of a Parquet file."""
        import pyarrow.parquet as pq

        folder = self._folder(name)
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "part-00000.parquet")
        self.read(name, [folder / "part-00000.parquet"])

    def read(self, name: str, files: Sequence[str | os.PathLike[str]]) -> None:
        """Makes the rows of Parquet files, where they lie, the table `name`."""
        paths = [_url(file, is_pattern=True) for file in files]
        frame = self._asked(lambda: self._session.read.parquet(*paths))
        frame.createOrReplaceTempView(name)

    def define(self, name: str, sql: str) -> None:
        """Makes the rows of a query the table `name`, kept in the scratch folder."""
        self.read(name, self.write(sql, self._folder(name)))

    def view(self, name: str, sql: str) -> None:
        """Makes a query the table `name`, run anew wherever the table is read."""
        frame = self._asked(lambda: self._session.sql(sql))
        frame.createOrReplaceTempView(name)

    def write(
        self, sql: str, folder: Path, *, partition_by: str | None = None
    ) -> list[Path]:
        """Writes the rows of a query as Parquet files; returns them in order."""
        place = Path(os.path.abspath(folder))

        def write() -> None:
            writer = self._session.sql(sql).write.mode("overwrite")
            if partition_by is not None:
                writer = writer.partitionBy(partition_by)
            writer.parquet(_url(place))

        self._asked(write)
        return sorted(place.rglob("part-*.parquet"))

    def each(
        self,
        work: Callable[[Unit], Any],
        units: Iterable[Unit],
        *,
        progress: Progress | None = None,
    ) -> list[Any]:
        """Returns what `work` returns for each unit: one task a unit.

        A task whose machine is lost is run again elsewhere; one whose `work` says what
        is wrong is not, and ends the job.
        """
        waiting = list(units)
        if not waiting:
            return []
        context = self._session.sparkContext
        failures = context.accumulator([], _collected())

        def run(part: Iterator[Unit]) -> Iterator[Any]:
            for unit in part:
                found = caught(work, unit)
                if isinstance(found, Failure):
                    failures.add([found])
                yield found

        rdd = context.parallelize(waiting, len(waiting)).mapPartitions(run)
        found = self._asked(rdd.collect, failures=failures, progress=progress)
        for one in found:
            if isinstance(one, Failure):
                raise one.error()
        return list(found)

    def close(self) -> None:
        """Ends the application and removes its tables; twice does no harm."""
        self._session.stop()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _folder(self, name: str) -> Path:
        """Returns a new folder: an older table of this name may be in use yet."""
        number = self._numbers[name] = self._numbers.get(name, -1) + 1
        return self._scratch / f"{name}-{number}"

    def _asked(
        self,
        ask: Callable[[], T],
        *,
        failures: Any = None,
        progress: Progress | None = None,
    ) -> T:
        """Returns what Spark answers; Ctrl-C, or a unit that failed, ends its job."""
        context = self._session.sparkContext
        group = f"simprod-{threading.get_ident()}-{id(ask)}"

        def answer() -> T:
            context.setJobGroup(group, "simprod", interruptOnCancel=True)
            return ask()

        with own_errors(), ThreadPoolExecutor(1) as thread:
            future = thread.submit(answer)
            try:
                self._watch(future, group, failures=failures, progress=progress)
                return future.result()
            except BaseException:
                context.cancelJobGroup(group)
                wait([future], timeout=10)
                raise

    def _watch(
        self,
        future: Future[Any],
        group: str,
        *,
        failures: Any,
        progress: Progress | None,
    ) -> None:
        """Waits for the answer, tells how far it is, and raises a unit's failure."""
        tracker = self._session.sparkContext.statusTracker()
        while not future.done():
            wait([future], timeout=_POLL_S)
            if failures is not None and failures.value:
                raise failures.value[0].error()
            if progress is not None:
                _tell(tracker, group, progress)


def local_with_tries(master: str) -> str:
    """Returns a local master that tries a lost task again, as a cluster does."""
    found = re.fullmatch(r"local(?:\[([\d*]+)\])?", master)
    if found is None:
        return master
    return f"local[{found[1] or 1},{_LOCAL_TRIES}]"


def _url(path: str | os.PathLike[str], *, is_pattern: bool = False) -> str:
    """Returns a file as Hadoop names it; where it takes a pattern, this one alone."""
    text = os.path.abspath(path)
    return "file://" + (re.sub(r"([][{}*?\\])", r"\\\1", text) if is_pattern else text)


def _start(master: str | None, settings: Mapping[str, str]) -> Any:
    """Returns the session of a new application."""
    from pyspark.sql import SparkSession

    # Workers run the Python that has our packages: this one's, on every machine.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    is_submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    chosen = master or (None if is_submitted else "local[*]")
    builder = SparkSession.builder.appName("simprod_tf")
    if chosen is not None:
        builder = builder.master(local_with_tries(chosen))
    if chosen is not None and _is_here(chosen):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        builder = builder.config("spark.driver.host", "127.0.0.1")
    for key, value in {**_SETTINGS, **_quiet(), **settings}.items():
        builder = builder.config(key, value)
    with own_errors():
        session = builder.getOrCreate()
    if is_submitted:
        # Its Java runs already, with a log that is not ours.
        session.sparkContext.setLogLevel("ERROR")
    return session


# What a user states comes on top of these.
_SETTINGS = {
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "false",
    # A value of a partition's column stays the number that it is.
    "spark.sql.sources.partitionColumnTypeInference.enabled": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # One thread a task: the scheduler gives each core a task of its own.
    "spark.executorEnv.OMP_NUM_THREADS": "1",
    "spark.executorEnv.TF_NUM_INTRAOP_THREADS": "1",
    "spark.executorEnv.TF_NUM_INTEROP_THREADS": "1",
    "spark.executorEnv.TF_CPP_MIN_LOG_LEVEL": "3",
}


def _quiet() -> dict[str, str]:
    """Returns the settings by which Spark's log is ours."""
    file = Path(__file__).with_name("log4j2.properties")
    level = "warn" if log.isEnabledFor(logging.INFO) else "fatal"
    options = f"-Dlog4j2.configurationFile={file.as_uri()} -Dsimprod.log={level}"
    return {"spark.driver.extraJavaOptions": options}


def _require_pyspark() -> None:
    try:
        import pyspark  # noqa: F401
    except ImportError as error:
        raise MissingLibraryError(
            "--engine spark needs pyspark: `pip install 'simprod-tf[spark]'`."
        ) from error


def _require_master(master: str | None) -> None:
    """Asks a standalone master first: Spark itself would try for a minute."""
    if master is not None and not re.match(_MASTERS, master):
        raise SimprodError(
            f"--master is spark://HOST:7077, yarn, k8s://... or local[2], got {master}."
        )
    if master is None or not master.startswith("spark://"):
        return
    for place in master.removeprefix("spark://").split(","):
        parts = urlsplit(f"spark://{place}")
        try:
            with socket.create_connection(
                (parts.hostname, parts.port or 7077), timeout=_CONNECT_S
            ):
                return
        except (OSError, ValueError) as error:
            reason = error
    raise SimprodError(
        f"the Spark master {master} does not answer ({reason}); start it, or give "
        "another --master."
    )


def _is_here(master: str) -> bool:
    """Returns whether all of the cluster is this machine."""
    return master.startswith(("local", "spark://127.0.0.1", "spark://localhost"))


def _tell(tracker: Any, group: str, progress: Progress) -> None:
    for job in tracker.getJobIdsForGroup(group):
        info = tracker.getJobInfo(job)
        for stage in info.stageIds if info is not None else ():
            found = tracker.getStageInfo(stage)
            if found is not None:
                progress(found.numCompletedTasks, found.numTasks)


def _collected() -> Any:
    """Returns how an accumulator gathers lists."""
    from pyspark.accumulators import AccumulatorParam

    class Collected(AccumulatorParam):
        def zero(self, value: list[Any]) -> list[Any]:
            return []

        def addInPlace(self, one: list[Any], other: list[Any]) -> list[Any]:  # noqa: N802
            return one + other

    return Collected()


def _arrow_schema(schema: Any) -> pa.Schema:
    from pyspark.sql.pandas.types import to_arrow_schema

    return to_arrow_schema(schema)
