"""The command line in a process of its own, as a user runs it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys

import pytest

from simprod_tf.cli import main


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


@pytest.fixture
def simprod_here(monkeypatch, capsys):
    """Runs `simprod` in this process, which is quicker: what a user would see of it."""

    def run(*arguments, cwd):
        monkeypatch.chdir(cwd)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["simprod", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        told = capsys.readouterr()
        return subprocess.CompletedProcess(
            arguments, stop.value.code, told.out, told.err
        )

    return run


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
