"""What the sub-commands share: the screen, progress bars, bad input."""

from __future__ import annotations

import contextlib
import csv
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from simprod_tf.data.catalog import Catalog, read_catalog
from simprod_tf.data.pairs import CONFLICTING, Pairs, read_pairs
from simprod_tf.data.tables import write_bad_rows

screen = Console(stderr=True)


def quiet(verbose: bool) -> None:
    """Keeps TensorFlow's start-up noise off the screen, or shows the log."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        handlers=[_log_handler()],
    )
    if verbose:
        return
    # 3 hides even the "errors" that a machine without a GPU reports at import.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)


class LineHandler(logging.Handler):
    """Prints a record on one line of stderr, however long: files keep it whole."""

    def __init__(self) -> None:
        """Prints the time and the level first."""
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Prints it."""
        say(self.format(record))


def _log_handler() -> logging.Handler:
    if not screen.is_terminal:
        return LineHandler()
    columns = RichHandler(console=screen, show_path=False)
    columns.setFormatter(logging.Formatter("%(message)s"))
    return columns


def print_error(message: str) -> None:
    """Prints one line on stderr, with no markup read into it."""
    screen.print(
        f"simprod: {message}",
        style="bold red",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def say(message: str) -> None:
    """Prints a line about the work on stderr."""
    screen.print(message, markup=False, highlight=False, soft_wrap=True)


class Bars:
    """A progress bar for each thing that is told about: `(what, done, total)`."""

    def __init__(self, progress: Progress) -> None:
        """Draws on `progress`."""
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Moves the bar of `what`; a bar that was full begins anew."""
        task = self._tasks.get(what)
        if task is None or (self._progress.tasks[task].finished and done < total):
            task = self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def bars() -> Iterator[Bars]:
    """Yields progress bars on stderr, for as long as the block runs."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=screen,
    ) as progress:
        yield Bars(progress)


@contextlib.contextmanager
def options() -> Iterator[None]:
    """Turns the ValueError of a setting out of range into a usage error."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def read_products(
    path: Path,
    *,
    skip_bad: bool,
    progress: Bars,
    need_content: bool = True,
    check_pictures: bool = True,
) -> Catalog:
    """Reads a catalogue; rows set aside go to a file beside it, or to this folder."""

    def told(done: int, total: int) -> None:
        progress("Checking pictures", done, total)

    found = read_catalog(
        path,
        skip_bad=skip_bad,
        need_content=need_content,
        check_pictures=check_pictures,
        progress=told,
    )
    if found.bad:
        name = f"{path.stem}.rejected.csv"
        place = path.parent if os.access(path.parent, os.W_OK) else Path.cwd()
        write_bad_rows(found.bad, place / name)
        say(f"{len(found.bad)} bad rows set aside, with reasons, in {place / name}")
    return found.catalog


def labelled_pairs(path: Path | None, source: str, ids: np.ndarray) -> Pairs | None:
    """Reads labelled pairs of known products, where there is a file of them."""
    if path is None:
        return None
    found = read_pairs(path, source=source, known_ids=ids)
    for reason, count in found.dropped.items():
        # Of contradictions the log warns, with an example.
        if reason != CONFLICTING:
            say(f"{path}: {count} pairs left out: {reason}")
    return found


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table on a terminal, and CSV into a pipe or a file."""
    if not sys.stdout.isatty():
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows(rows)
        return
    table = Table(*columns)
    for row in rows:
        # Titles may hold square brackets; they are no markup.
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    Console().print(table)
