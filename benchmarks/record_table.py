"""The table of `record.py`: a row a measure, appended to a CSV or Markdown file."""

from __future__ import annotations

import csv
import math
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from simprod_tf.evaluation.interval import Interval

SUFFIXES = (".csv", ".md")
_REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Row:
    """One measure of one stage.

    Attributes:
        date: ISO, UTC.
        commit: Of the code, with "+" where files were changed since.
        seed: Of the stage; empty where nothing in it is random.
        data_set, split: What was judged.
        stage, settings: What was done, and how.
        metric, value, low, high: The measure with its 95 % bounds.
        seconds, peak_mb: Of the stage's own process, imports included.
    """

    date: str
    commit: str
    seed: str
    data_set: str
    split: str
    stage: str
    settings: str
    metric: str
    value: str
    low: str
    high: str
    seconds: str
    peak_mb: str


COLUMNS = tuple(field.name for field in fields(Row))


def figures(interval: Interval) -> dict[str, str]:
    """Returns a row's value, low and high; empty where there is none."""
    numbers = (interval.value, interval.low, interval.high)
    texts = ["" if math.isnan(one) else f"{one:.4f}" for one in numbers]
    return dict(zip(("value", "low", "high"), texts))


def append_rows(path: Path, rows: Sequence[Row]) -> None:
    """Appends to a table, which is begun where there is none.

    Raises:
        ValueError: the file's ending is neither .csv nor .md, or it has other columns.
    """
    check_table(path)
    begun = path.is_file() and path.stat().st_size > 0
    with open(path, "a", newline="", encoding="utf-8") as file:
        if path.suffix == ".md":
            if not begun:
                file.write(_line(COLUMNS) + _line(["---"] * len(COLUMNS)))
            file.writelines(_line(list(asdict(row).values())) for row in rows)
            return
        writer = csv.DictWriter(file, COLUMNS)
        if not begun:
            writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def check_table(path: Path) -> None:
    """Refuses, by ValueError, a file that rows cannot be appended to."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"--table must end in {' or '.join(SUFFIXES)}, got {path}.")
    if not path.is_file() or not path.stat().st_size:
        return
    with open(path, encoding="utf-8") as file:
        header = file.readline()
    wanted = _line(COLUMNS) if path.suffix == ".md" else ",".join(COLUMNS)
    if header.strip() != wanted.strip():
        raise ValueError(f"{path} has other columns; give --table another file.")


def commit() -> str:
    """Returns the short hash of the code's commit, "+" where files were changed."""
    try:
        found = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found + ("+" if changed else "")


def _git(*command: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(_REPOSITORY), *command],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |\n"
