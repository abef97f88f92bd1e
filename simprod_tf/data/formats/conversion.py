"""What a converter returns, how it tells of its work, and how it writes."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from simprod_tf.errors import InputError

# What is being done, how much of it is done, and of how much.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Conversion:
    """The files that a converter wrote, and what is to be said of them.

    Attributes:
        paths: the files, catalogues first.
        notes: sentences for the user, without a full stop.
    """

    paths: tuple[Path, ...]
    notes: tuple[str, ...]


def silent(what: str, done: int, total: int) -> None:
    """Tells nobody of the progress."""


@contextlib.contextmanager
def whole_files(out: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a folder to write into; its files move to `out` if the block succeeds.

    They replace those of an earlier conversion. A block that fails leaves `out` as it
    was.

    Raises:
        InputError: `out` is a file, or holds other files beside one that would be lost.
    """
    final = Path(out)
    if final.exists() and not final.is_dir():
        raise InputError("is a file; name a folder to write into.", path=final)
    final.parent.mkdir(parents=True, exist_ok=True)
    # Beside the final place: a file is then renamed, never copied.
    temporary = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}-"))
    try:
        yield temporary
        final.mkdir(exist_ok=True)
        _require_own(final, {path.name for path in temporary.iterdir()})
        for path in sorted(temporary.iterdir()):
            os.replace(path, final / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _require_own(folder: Path, names: set[str]) -> None:
    """Refuses to replace a file in a folder that is not a conversion's alone."""
    there = {path.name for path in folder.iterdir()}
    lost, others = sorted(there & names), sorted(there - names)
    if lost and others:
        raise InputError(
            f"holds {others[0]!r}, which this conversion does not write, and its "
            f"{lost[0]!r} would be replaced; name a new or empty folder.",
            path=folder,
        )
