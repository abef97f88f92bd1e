"""Finding the Java runtime that Spark needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from simprod_tf.errors import MissingLibraryError

# Spark 3.5 runs on 8, 11 and 17; pyspark 4 wants 17 at least.
OLDEST_JAVA = 17
_WAY_OUT = (
    f"install Java {OLDEST_JAVA} (Debian: `apt install openjdk-17-jre-headless`), and "
    "set JAVA_HOME if it is not on the PATH"
)


def find_java() -> Path:
    """Returns the program `java` of JAVA_HOME, or else of the PATH.

    Raises:
        MissingLibraryError: there is none, or it is older than 17.
    """
    home = os.environ.get("JAVA_HOME")
    found = f"{home}/bin/java" if home else shutil.which("java")
    if found is None or not os.access(found, os.X_OK):
        where = f"JAVA_HOME is {home}, and holds no bin/java" if home else "none found"
        raise MissingLibraryError(
            f"Spark needs Java {OLDEST_JAVA} or newer, {where}: {_WAY_OUT}."
        )
    version = _version(found)
    if version < OLDEST_JAVA:
        raise MissingLibraryError(
            f"Spark needs Java {OLDEST_JAVA} or newer, {found} is {version}: "
            f"{_WAY_OUT}."
        )
    return Path(found)


def _version(java: str) -> int:
    """Returns the major version; 8 for what calls itself 1.8."""
    ran = subprocess.run(
        [java, "-version"], capture_output=True, text=True, check=False, timeout=60
    )
    found = re.search(r'version "(?:1\.)?(\d+)', ran.stderr + ran.stdout)
    if found is None:
        raise MissingLibraryError(
            f"{java} -version does not tell a version; {_WAY_OUT}."
        )
    return int(found[1])
