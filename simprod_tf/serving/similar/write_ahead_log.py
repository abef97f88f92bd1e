"""A write-ahead log: changes that are on disk before they are acknowledged.

    <folder>/1.log, 2.log, ...   as `log_file` writes them; the last is appended to
    <folder>/.lock               held by the one process that writes

The records of all files, one after the other, are the changes since the last
checkpoint. A checkpoint begins a new file, saves what all the others hold elsewhere,
and then drops them, the oldest first. Wherever it is killed, what is left are the last
changes without a gap; and to repeat changes, in order, that are saved already leads to
the same state: of each product the last change decides.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from simprod_tf.errors import InputError
from simprod_tf.serving.similar.log_file import (
    LogHeader,
    LogWriter,
    create_log_file,
    measured,
    read_records,
    sync_folder,
)

_LOCK_NAME = ".lock"


class WriteAheadLog:
    """The log in one folder. One thread at a time may change it."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Opens the log, made where there is none; the first `begin` is the caller's.

        Raises:
            InputError: another process writes it, or a record is damaged.
        """
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.folder / _LOCK_NAME, "w")
        self._writer: LogWriter | None = None
        try:
            self._take_lock()
            numbers = self._numbers()
            self._extents = {
                number: measured(self._path(number), is_last=number == numbers[-1])
                for number in numbers
            }
        except BaseException:
            self._lock.close()
            raise

    @property
    def num_records(self) -> int:
        """The number of records in all files."""
        return sum(one.num_records for one in list(self._extents.values()))

    @property
    def num_bytes(self) -> int:
        """The length of all files."""
        return sum(one.num_bytes for one in list(self._extents.values()))

    def records(self) -> Iterator[tuple[int, LogHeader, bytes]]:
        """Yields every record with the number and the header of its file, in order."""
        for number, extent in self._extents.items():
            for record in read_records(self._path(number)):
                yield number, extent.header, record

    def begin(self, header: LogHeader) -> int:
        """Returns the number of the file that is written from here on.

        A last file with the same header and no records is taken again.

        Raises:
            OSError: it cannot be made; the log stays as it was.
        """
        last = max(self._extents, default=0)
        extent = self._extents.get(last)
        if extent is None or extent.num_records or extent.header != header:
            last += 1
            create_log_file(self._path(last), header)
            extent = measured(self._path(last), is_last=True)
        writer = LogWriter(self._path(last), extent.num_bytes)
        self._extents[last] = extent
        if self._writer is not None:
            self._writer.close()
        self._writer = writer
        return last

    def append(self, records: Sequence[bytes]) -> None:
        """Writes records to the current file; they are on disk when it returns.

        All of them, or none.

        Raises:
            LogError: they could not be written.
        """
        if self._writer is None:
            raise ValueError("begin a file before records are appended.")
        self._writer.append(records)
        number = max(self._extents)
        before = self._extents[number]
        self._extents[number] = type(before)(
            before.header, before.num_records + len(records), self._writer.num_bytes
        )

    def drop_before(self, number: int, *, keep: Collection[int] = ()) -> None:
        """Deletes the files before this one, whose changes are saved elsewhere.

        Args:
            number: of a file, as `begin` gave it.
            keep: files that hold what is saved nowhere else: they are taken out of the
                log, and stay in the folder as `<n>.log.left`.
        """
        # The oldest first: an old change repeated without the later ones undoes them.
        for old in [one for one in self._extents if one < number]:
            path = self._path(old)
            if old in keep:
                os.replace(path, path.with_name(f"{path.name}.left"))
            else:
                path.unlink()
            sync_folder(self.folder)
            del self._extents[old]

    def close(self) -> None:
        """Lets go of the folder; twice does no harm."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        self._lock.close()

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                "another server writes this log; stop it, or give this one an index "
                "and a log of its own.",
                path=self.folder,
            ) from None

    def _numbers(self) -> list[int]:
        matches = (
            re.fullmatch(r"([1-9][0-9]*)\.log", name)
            for name in os.listdir(self.folder)
        )
        return sorted(int(one[1]) for one in matches if one)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.log"
