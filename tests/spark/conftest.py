"""Spark for the tests: two local cores for a session, a real cluster on loopback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyspark
import pytest

from simprod_tf.engine.embedded import Embedded
from simprod_tf.engine.java import find_java
from simprod_tf.engine.spark import Spark
from simprod_tf.errors import MissingLibraryError

SETTINGS = {
    "spark.driver.memory": "1g",
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
}
_WAIT_S = 240


@pytest.fixture(scope="session")
def java() -> None:
    """Skips, and says so, where there is no Java that Spark runs on."""
    try:
        find_java()
    except MissingLibraryError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def spark(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    with Spark(
        tmp_path_factory.mktemp("spark"), master="local[2]", settings=SETTINGS
    ) as engine:
        yield engine


@pytest.fixture
def embedded() -> Iterator[Embedded]:
    with Embedded() as engine:
        yield engine


class Cluster:
    """A standalone cluster on 127.0.0.1: a master, and workers of one core each."""

    def __init__(self, folder: Path) -> None:
        """Starts the master, from pyspark's own jars."""
        self._folder = folder
        self._daemons: list[subprocess.Popen[str]] = []
        self.workers: list[subprocess.Popen[str]] = []
        master, found = self._daemon(
            ["master.Master", "--host", "127.0.0.1", "--port", "0"],
            until=r"Starting Spark master at (spark://\S+)",
        )
        self._daemons.append(master)
        self.url = found[1]

    def need_workers(self, count: int) -> None:
        """Starts workers until so many are alive, each registered with the master."""
        self.workers = [one for one in self.workers if one.poll() is None]
        while len(self.workers) < count:
            worker, _ = self._daemon(
                ["worker.Worker", "--host", "127.0.0.1", "--cores", "1"]
                + ["--memory", "1g", "--work-dir", str(self._folder), self.url],
                until="Successfully registered with master",
            )
            self.workers.append(worker)

    def kill_worker(self) -> None:
        """Kills a worker with its executors and their Python, as a lost machine is."""
        kill_tree(self.workers.pop().pid)

    def command(self, *arguments: str) -> list[str]:
        """Returns the command that runs a job of ours on this cluster."""
        conf = {
            **SETTINGS,
            "spark.executor.memory": "512m",
            "spark.cores.max": "2",
            "spark.task.maxFailures": "4",
        }
        settings = [f"--spark-conf={key}={value}" for key, value in conf.items()]
        program = [sys.executable, "-m", "simprod_tf", *arguments]
        return [*program, "--engine", "spark", "--master", self.url, *settings]

    def stop(self) -> None:
        """Ends all of it."""
        for daemon in (*self.workers, *self._daemons):
            kill_tree(daemon.pid)
            daemon.wait()

    def _daemon(
        self, arguments: list[str], *, until: str
    ) -> tuple[subprocess.Popen[str], re.Match[str]]:
        """Starts a part of the cluster, and waits for a line of its log."""
        home = Path(pyspark.__file__).parent
        environment = {
            **os.environ,
            "SPARK_HOME": str(home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_LOCAL_DIRS": str(self._folder),
        }
        process = subprocess.Popen(
            [str(home / "bin" / "spark-class")]
            + [f"org.apache.spark.deploy.{arguments[0]}", "--webui-port", "0"]
            + arguments[1:],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            found = re.search(until, line)
            if found is not None:
                # Nobody reads on: a full pipe would stop it.
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return process, found
        raise AssertionError(f"{arguments} ended: {''.join(lines[-20:])}")


@pytest.fixture(scope="session")
def whole_cluster(
    java: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(whole_cluster: Cluster) -> Cluster:
    """A cluster with two workers alive, whatever the test before did to it."""
    whole_cluster.need_workers(2)
    return whole_cluster


class Job:
    """A command of ours that is running, and may be disturbed."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._log = log.open("w+")
        self._process = subprocess.Popen(
            command,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            # A driver is killed with its Java, without the tests.
            start_new_session=True,
        )

    def wait_for(self, happened: Callable[[], bool]) -> None:
        """Waits until something happened, which must be before the job ends."""
        pause = threading.Event()
        for _ in range(_WAIT_S * 50):
            if happened():
                return
            assert self._process.poll() is None, f"it ended before: {self.output()}"
            pause.wait(0.02)
        raise AssertionError(f"it never happened: {self.output()}")

    def kill(self) -> None:
        """Kills the driver, Python and Java."""
        kill_tree(self._process.pid)
        self._process.wait()

    def succeeded(self) -> str:
        """Waits for its end, which must be a good one; returns what it printed."""
        code = self._process.wait(timeout=_WAIT_S)
        assert code == 0, self.output()
        return self.output()

    def failed(self) -> str:
        """Waits for its end, which must be an error; returns what it printed."""
        assert self._process.wait(timeout=_WAIT_S) == 1, self.output()
        return self.output()

    def output(self) -> str:
        """Returns what it printed so far."""
        self._log.flush()
        return Path(self._log.name).read_text(encoding="utf-8")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[list[str]], Job]]:
    """Starts a command; what still runs at the end of the test is killed."""
    jobs: list[Job] = []

    def started(command: list[str]) -> Job:
        jobs.append(Job(command, tmp_path / f"job-{len(jobs)}.log"))
        return jobs[-1]

    yield started
    for job in jobs:
        job.kill()


def kill_tree(pid: int) -> None:
    """Kills a process and all that descend from it, the parents first."""
    for one in [pid, *_descendants(pid)]:
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            pass


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(one) for one in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *_descendants(child)]
    return found
