"""The command line in a process of its own, as a user runs it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys

import pytest


def _simprod(*arguments, cwd=None):
    environment = {**os.environ, "COLUMNS": "200"}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return subprocess.run(
        [sys.executable, "-m", "simprod_tf", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _rows_of(done):
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(done.stdout.splitlines()))


@pytest.fixture(scope="session")
def simprod():
    """Runs `simprod` with these arguments; returns the finished process."""
    return _simprod


@pytest.fixture(scope="session")
def rows_of():
    """Returns the table that a finished process printed."""
    return _rows_of
