"""One file of a write-ahead log: records in frames, each vouched for by checksums.

    file   = frame...           the first holds one record: the header, as JSON
    frame  = b"SPW1", length of the body, CRC-32 of the body, CRC-32 of these 12 bytes
             (each 4 bytes, little-endian), body
    body   = (length of a record, the record)...

A frame is written and synced before the next one is begun. So a write that was cut
short leaves one bad frame at the end, and a bad frame before a whole one is damage.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from simprod_tf.errors import InputError, SimprodError

_MAGIC = b"SPW1"
_HEAD = struct.Struct("<4sII")
_HEAD_CHECK = struct.Struct("<I")
_HEAD_BYTES = _HEAD.size + _HEAD_CHECK.size
_LENGTH = struct.Struct("<I")
MAX_FRAME_BYTES = (1 << 32) - 1


class LogError(SimprodError):
    """The log could not be written: what was to be logged did not happen."""


@dataclass(frozen=True)
class LogHeader:
    """What the changes in a file were made on top of.

    Attributes:
        index_version: the version of the index.
        encoder_fingerprint: of the encoder that made the embeddings in the file.
    """

    index_version: int
    encoder_fingerprint: str


@dataclass(frozen=True)
class Extent:
    """What a file holds.

    Attributes:
        header: of the file.
        num_records: how many there are after the header.
        num_bytes: up to the end of the last whole frame.
    """

    header: LogHeader
    num_records: int
    num_bytes: int


def create_log_file(path: Path, header: LogHeader) -> None:
    """Writes a file without records, whole and on disk or not at all."""
    aside = path.with_name(f".{path.name}")
    try:
        with open(aside, "wb") as file:
            file.write(_frame([json.dumps(asdict(header)).encode()]))
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
        sync_folder(path.parent)
    except OSError as error:
        # A full disk names no file.
        error.filename = error.filename or os.fspath(path)
        raise


def measured(path: Path, *, is_last: bool) -> Extent:
    """Returns what a file holds; of the last one, a torn end is cut off.

    What is cut off is kept beside the file, as `<name>.torn`.

    Args:
        path: the file.
        is_last: whether the log ends here; where it goes on, nothing can be torn.

    Raises:
        InputError: a record is damaged; names file and offset.
    """
    end = num_records = 0
    header = None
    for frame_end, records in _frames(path):
        if header is None:
            header = _header(records, path)
            records = records[1:]
        end, num_records = frame_end, num_records + len(records)
    size = path.stat().st_size
    if header is None or (end < size and not (is_last and _is_torn(path, end))):
        raise InputError(
            f"the log is damaged at byte {end} of {size}: the record there does not "
            "match its checksum, and it is none that a kill cut short. Put the file "
            "back from a copy; or move it away, whereby the changes in it are lost.",
            path=path,
        )
    if end < size:
        _cut_off(path, end)
    return Extent(header, num_records, end)


def read_records(path: Path) -> Iterator[bytes]:
    """Yields the records of a file that was measured."""
    is_header = True
    for _, records in _frames(path):
        yield from records[1:] if is_header else records
        is_header = False


class LogWriter:
    """Appends frames to the end of one file; not for several threads at once."""

    def __init__(self, path: Path, num_bytes: int) -> None:
        """Opens a file of this length for appending."""
        self._file: BinaryIO = open(path, "r+b", buffering=0)
        self._file.seek(num_bytes)
        self._broken = ""
        self.path, self.num_bytes = path, num_bytes

    def append(self, records: Sequence[bytes]) -> None:
        """Writes records as one frame; they are on disk when it returns.

        Raises:
            LogError: they are not in the log (the disk is full, say), or nobody knows
                whether they are on disk: then every further call fails as well.
        """
        if self._broken:
            raise LogError(self._broken)
        frame = _frame(records)
        try:
            self._write(frame)
        except OSError as error:
            self._take_back(error)
        try:
            os.fdatasync(self._file.fileno())
        except OSError as error:
            # The kernel may have dropped the pages: a second sync would promise more
            # than it can know.
            self._break(error)
        self.num_bytes += len(frame)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, frame: bytes) -> None:
        left = memoryview(frame)
        while left:
            left = left[self._file.write(left) :]

    def _take_back(self, error: OSError) -> None:
        try:
            self._file.truncate(self.num_bytes)
            self._file.seek(self.num_bytes)
        except OSError:
            self._break(error)
        raise LogError(
            f"The log {self.path} cannot be written ({error}); nothing was changed."
        ) from error

    def _break(self, error: OSError) -> None:
        self._broken = (
            f"The log {self.path} failed ({error}); whether the last change is on disk "
            "is not known. Changes are refused until the server is started again."
        )
        raise LogError(self._broken) from error


def sync_folder(folder: Path) -> None:
    """Brings a folder's entries to disk: names that came, and went."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Brings a file's content to disk, whoever wrote it."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_tree(folder: Path) -> None:
    """Brings a folder to disk with all that is in it."""
    for place, _, names in os.walk(folder):
        for name in names:
            sync_file(Path(place) / name)
        sync_folder(Path(place))


def _frame(records: Sequence[bytes]) -> bytes:
    body = b"".join(_LENGTH.pack(len(one)) + one for one in records)
    head = _HEAD.pack(_MAGIC, len(body), zlib.crc32(body))
    return head + _HEAD_CHECK.pack(zlib.crc32(head)) + body


def _frames(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Yields the end and the records of each frame, up to the first bad one."""
    with open(path, "rb") as file:
        while True:
            length = _checked_length(file.read(_HEAD_BYTES))
            if length is None:
                return
            body = file.read(length[0])
            if len(body) != length[0] or zlib.crc32(body) != length[1]:
                return
            yield file.tell(), _records(body)


def _checked_length(head: bytes) -> tuple[int, int] | None:
    """Returns length and checksum of a body, or None where this is no frame's head."""
    if len(head) < _HEAD_BYTES:
        return None
    magic, length, check = _HEAD.unpack_from(head)
    (own,) = _HEAD_CHECK.unpack_from(head, _HEAD.size)
    if magic != _MAGIC or own != zlib.crc32(head[: _HEAD.size]):
        return None
    return length, check


def _records(body: bytes) -> list[bytes]:
    found, start = [], 0
    while start < len(body):
        (length,) = _LENGTH.unpack_from(body, start)
        start += _LENGTH.size
        found.append(body[start : start + length])
        start += length
    return found


def _is_torn(path: Path, end: int) -> bool:
    """Whether the bad frame that begins at `end` can be a write that was cut short."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        file.seek(end)
        head = file.read(_HEAD_BYTES)
        found = _checked_length(head)
        if found is not None or len(head) < _HEAD_BYTES:
            # Nothing stands behind it.
            return found is None or end + _HEAD_BYTES + found[0] >= size
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return not _holds_frame(content, end + 1)


def _holds_frame(content: mmap.mmap, start: int) -> bool:
    at = content.find(_MAGIC, start)
    while at >= 0:
        found = _checked_length(content[at : at + _HEAD_BYTES])
        if found is not None:
            body = content[at + _HEAD_BYTES : at + _HEAD_BYTES + found[0]]
            if len(body) == found[0] and zlib.crc32(body) == found[1]:
                return True
        at = content.find(_MAGIC, at + 1)
    return False


def _cut_off(path: Path, end: int) -> None:
    with open(path, "r+b") as file:
        file.seek(end)
        path.with_name(f"{path.name}.torn").write_bytes(file.read())
        file.truncate(end)
        os.fsync(file.fileno())


def _header(records: Sequence[bytes], path: Path) -> LogHeader:
    try:
        content = json.loads(records[0])
        return LogHeader(
            int(content["index_version"]), str(content["encoder_fingerprint"])
        )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"is no log of this simprod_tf ({type(error).__name__}: {error}); move it "
            "away, or name another folder for the log.",
            path=path,
        ) from error
