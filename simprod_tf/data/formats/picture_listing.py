"""Listings of pictures: lines of words with blanks between, and what they name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from simprod_tf.data.formats.conversion import Progress
from simprod_tf.data.formats.source import Source
from simprod_tf.errors import InputError

_CHECKED_AT_ONCE = 1000


@dataclass(frozen=True)
class Listing:
    """A listing as read: its columns by name, and each line's row from 1."""

    path: Path
    columns: dict[str, list[str]]
    rows: list[int]


def read_listing(
    path: Path, columns: Sequence[str], *, source: Source, counted: bool = False
) -> Listing:
    """Returns the columns of a listing with a header line.

    Args:
        path: the file; UTF-8, blanks or tabs between words.
        columns: what the header names, in this order.
        source: whose layout it is.
        counted: the number of rows stands in a line above the header.

    Raises:
        InputError: the file is missing, empty, not of the layout, or cut short.
    """
    with source.require(path).open("rb") as file:
        count = _count(_words(file.readline(), path, None), path, source, counted)
        header = _words(file.readline(), path, None) if counted else count.words
        if header != list(columns):
            raise source.misfit(
                path, f"the header must read {' '.join(columns)!r}, got {header}."
            )
        lines = list(_rows(file, path, len(columns)))
    if not lines:
        raise InputError("no row stands below the header.", path=path)
    if counted and len(lines) != count.rows:
        raise InputError(
            f"the first line promises {count.rows} rows, but {len(lines)} are there: "
            "the file is cut short or was edited.",
            path=path,
        )
    values = zip(*(words for _, words in lines))
    return Listing(
        path, dict(zip(columns, map(list, values))), [row for row, _ in lines]
    )


def require_pictures(
    pictures: Sequence[Path],
    rows: Sequence[int],
    listing: Path,
    *,
    source: Source,
    progress: Progress,
) -> None:
    """Refuses a listing that names a picture that is not there; rows say where."""
    absent = []
    for done, (row, picture) in enumerate(zip(rows, pictures), start=1):
        if not os.path.isfile(picture):
            absent.append((row, picture))
        if done % _CHECKED_AT_ONCE == 0 or done == len(pictures):
            progress(f"Looking for pictures of {listing.name}", done, len(pictures))
    if absent:
        row, picture = absent[0]
        more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
        raise source.misfit(
            listing, f"picture {picture} does not exist{more}.", row=row
        )


@dataclass(frozen=True)
class _Count:
    words: list[str]
    rows: int


def _count(words: list[str], path: Path, source: Source, counted: bool) -> _Count:
    """Returns the first line, and the number in it where there must be one."""
    if not counted:
        return _Count(words, 0)
    if len(words) != 1 or not words[0].isdecimal():
        raise source.misfit(
            path, f"the first line must be the number of rows, got {words}."
        )
    return _Count(words, int(words[0]))


def _rows(
    file: Iterator[bytes], path: Path, width: int
) -> Iterator[tuple[int, list[str]]]:
    for row, line in enumerate(file, start=1):
        words = _words(line, path, row)
        if words and len(words) != width:
            raise InputError(
                f"expected {width} words with blanks between, got {len(words)}.",
                path=path,
                row=row,
            )
        if words:
            yield row, words


def _words(line: bytes, path: Path, row: int | None) -> list[str]:
    try:
        return line.decode("utf-8-sig" if row is None else "utf-8").split()
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text.", path=path, row=row) from error
