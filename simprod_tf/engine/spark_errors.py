"""Spark's errors as ours: one line that says what to do, the rest in the log."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator

from simprod_tf.engine.base import QueryError
from simprod_tf.errors import SimprodError

log = logging.getLogger(__name__)

_LONGEST = 500


@contextlib.contextmanager
def own_errors() -> Iterator[None]:
    """Turns what Spark and its Java raise into ours."""
    from py4j.protocol import Py4JError, Py4JJavaError
    from pyspark.errors import PySparkException
    from pyspark.errors.exceptions.captured import (
        AnalysisException,
        ParseException,
    )

    try:
        yield
    except (AnalysisException, ParseException) as error:
        raise QueryError(_first_line(str(error))) from error
    except (PySparkException, Py4JJavaError) as error:
        log.info("%s", error)
        raise SimprodError(_described(str(error))) from error
    except (Py4JError, ConnectionError) as error:
        raise SimprodError(
            f"Spark's driver is gone ({_first_line(str(error))}); if it ran out of "
            "memory, raise spark.driver.memory; run the command again to go on."
        ) from error


def _described(text: str) -> str:
    """Returns the cause, and for the usual causes the way out."""
    for pattern, way_out in _WAYS_OUT.items():
        found = re.search(pattern, text)
        if found is not None:
            return f"Spark: {found[0].strip()}; {way_out}."
    # Of a chain of causes the last one began it.
    causes = re.findall(
        r"(?:Caused by: |^)([\w.$]+(?:Error|Exception): .*)", text, re.M
    )
    return f"Spark: {_first_line(causes[-1] if causes else text)}"


def _first_line(text: str) -> str:
    line = next(iter(text.strip().splitlines()), "")
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


_WAYS_OUT = {
    "No space left on device": (
        "make room in spark.local.dir and where the output lies, or name another disk "
        "with --spark-conf spark.local.dir=..., and run the command again to go on"
    ),
    r"[^\n]*is not a Parquet file[^\n]*": "write that file again",
    r"Could not read footer for file: ?[^\n]*": "write that file again",
    r"[^\n]*FileNotFoundException[^\n]*": (
        "every machine of the cluster must see the files under the same path"
    ),
    r"java\.lang\.OutOfMemoryError[^\n]*": (
        "raise spark.executor.memory or spark.driver.memory by --spark-conf"
    ),
    r"Container killed by YARN[^\n]*|Python worker exited unexpectedly[^\n]*": (
        "raise spark.executor.memoryOverhead by --spark-conf: Python's memory lies "
        "outside of Java's"
    ),
    "All masters are unresponsive": "start the master, or give another --master",
}
