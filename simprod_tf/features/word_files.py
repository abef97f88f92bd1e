"""The usual files of word vectors, read a block at a time: only the words that are
wanted ever stay in memory.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import zipfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from gensim.models import KeyedVectors

from simprod_tf.errors import InputError
from simprod_tf.features.wanted_words import WantedWords, put

Progress = Callable[[int, int], None]

# Read at once: small enough for the processor's cache, large enough to hide the call.
_BLOCK = 1 << 20
# No line or word of a sound file is longer; without a bound a file of another kind
# would be taken in whole while we look for its first line's end.
_MAX_LINE = 1 << 22
_MAX_WORD = 4096
MAX_DIM = 1 << 16


class Blocks:
    """A stream read in blocks, as values, lines and records."""

    def __init__(self, stream: IO[bytes], tick: Callable[[], None]) -> None:
        """Reads nothing yet; `tick` is called at each block."""
        self._stream, self._tick = stream, tick
        self._block, self._start = b"", 0
        self.at_end = False

    def more(self) -> None:
        """Reads a block more; sets `at_end` where there is none."""
        found = self._stream.read(_BLOCK)
        self.at_end = not found
        self._block, self._start = self._block[self._start :] + found, 0
        self._tick()

    def take(self, size: int) -> bytes:
        """Returns the next `size` bytes, or fewer where the stream ends."""
        while len(self._block) - self._start < size and not self.at_end:
            self.more()
        start = self._start
        self._start = min(start + size, len(self._block))
        return self._block[start : self._start]

    def line(self) -> bytes:
        """Returns the bytes up to the next line's end, of the first block at most."""
        while not self._block and not self.at_end:
            self.more()
        end = self._block.find(b"\n", self._start)
        return self.take((end + 1 or len(self._block)) - self._start)

    def records(
        self, count: int, *, end: bytes, size: int
    ) -> Iterator[tuple[bytes, memoryview]]:
        """Yields up to `count` words, each ended by `end`, and the `size` bytes after.

        It stops early where the stream ends or where a word is too long to be one.
        """
        block, start = self._block, self._start
        view = memoryview(block)
        for _ in range(count):
            stop = block.find(end, start, start + _MAX_WORD)
            while stop < 0 or stop + 1 + size > len(block):
                if len(block) - start > _MAX_WORD + size or self.at_end:
                    return
                self.more()
                block, view, start = self._block, memoryview(self._block), 0
                stop = block.find(end, 0, _MAX_WORD)
            after = stop + 1 + size
            yield block[start:stop], view[stop + 1 : after]
            start = self._start = after


@contextlib.contextmanager
def opened(
    path: Path, progress: Progress | None
) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """Yields the file unpacked, and a function that tells `progress` the bytes read."""
    size = path.stat().st_size

    def tick() -> None:
        if progress is not None:
            progress(raw.tell(), size)

    with open(path, "rb") as raw:
        packed = path.name.lower().endswith(".gz")
        yield (gzip.GzipFile(fileobj=raw) if packed else raw), tick  # type: ignore[misc]


def read_word2vec(
    path: Path, wanted: WantedWords, progress: Progress | None
) -> np.ndarray:
    """Returns [V, E] float32 vectors of the wanted words of a word2vec binary file."""
    with opened(path, progress) as (stream, tick):
        blocks = Blocks(stream, tick)
        count, dim = _binary_header(blocks.line(), path)
        data, row = bytearray(), 0
        # Mapping the file instead would count each page touched as ours.
        for row, (word, vector) in enumerate(
            blocks.records(count, end=b" ", size=4 * dim), 1
        ):
            # word2vec's own writer ends each vector with a newline.
            word = word.lstrip(b"\n")
            try:
                key = wanted.key(word)
            except UnicodeDecodeError as error:
                raise _not_utf8(error, path, row) from error
            if key is not None:
                put(data, wanted.place(key, word), vector)
        if row < count:
            raise InputError(
                f"its header promises {count:,} words of dimension {dim}, it has "
                f"{row:,}: it is damaged or was cut short, or the header is wrong.",
                path=path,
            )
        if blocks.take(_BLOCK).strip():
            raise InputError(
                f"it goes on after the {count:,} words of dimension {dim} that its "
                "header promises: the header is wrong.",
                path=path,
            )
    return _rows_of(data, dim)


def _not_utf8(error: UnicodeDecodeError, path: Path, row: int) -> InputError:
    return InputError(
        f"its word is not UTF-8 ({error.reason}): the file is in another encoding, "
        "damaged, or its vectors have another dimension than it says.",
        path=path,
        row=row,
    )


def _binary_header(line: bytes, path: Path) -> tuple[int, int]:
    """Returns the number of words and the dimension, checked against the file."""
    if not line:
        raise InputError("it is empty.", path=path)
    numbers = _two_numbers(line)
    if numbers is None:
        raise InputError(
            "cannot be read as word vectors: its first line should be two numbers, "
            f"words and dimension, and is {line[:40]!r}.",
            path=path,
        )
    count, dim = numbers
    if not 0 < dim <= MAX_DIM:
        raise InputError(f"dimension must be 1 to {MAX_DIM}, got {dim}.", path=path)
    size, needed = path.stat().st_size, count * (4 * dim + 1)
    if size < needed and not path.name.lower().endswith(".gz"):
        raise InputError(
            f"its header promises {count:,} words of dimension {dim}, at least "
            f"{needed:,} bytes, and it has {size:,}: it is damaged or was cut short.",
            path=path,
        )
    return count, dim


def _two_numbers(line: bytes) -> tuple[int, int] | None:
    parts = line.split()
    # Longer numbers are no header, and Python refuses to parse very long ones.
    if len(parts) != 2 or not all(p.isdigit() and len(p) < 20 for p in parts):
        return None
    return int(parts[0]), int(parts[1])


def read_text(path: Path, wanted: WantedWords, progress: Progress | None) -> np.ndarray:
    """Returns [V, E] float32 vectors of the wanted words of a word2vec or GloVe text.

    A word2vec file starts with a line of two numbers, a GloVe file does not. Words with
    a space in them (GloVe's 840B has a few) are left out.
    """
    with opened(path, progress) as (stream, tick):
        lines: Iterable[bytes] = iter(partial(stream.readline, _MAX_LINE), b"")
        first = next(iter(lines), b"")
        if not first.strip():
            raise InputError("it is empty.", path=path)
        numbers = _two_numbers(first)
        count, dim = numbers or (None, len(first.split()) - 1)
        if not dim:
            raise InputError(
                "its first line should be a word and numbers, or two numbers, words "
                f"and dimension, and is {first[:40]!r}.",
                path=path,
            )
        if numbers is None:
            lines = itertools.chain([first], lines)
        data, row, last = bytearray(), 0, b""
        for line in lines:
            if line.isspace():
                continue
            row, last = row + 1, line
            if row % 4096 == 0:
                tick()
            word = line[: max(line.find(b" "), 0)]
            try:
                key = wanted.key(word)
            except UnicodeDecodeError as error:
                raise _not_utf8(error, path, row) from error
            if key is not None:
                vector = _floats(line, dim, path, row)
                if vector is not None:
                    put(data, wanted.place(key, word), vector)
        # The row that a cut leaves short, wanted or not.
        if row:
            _floats(last, dim, path, row)
        if count is not None and row != count:
            raise InputError(
                f"its header promises {count:,} words, it has {row:,}: it is damaged "
                "or was cut short.",
                path=path,
            )
        tick()
    return _rows_of(data, dim)


def _floats(line: bytes, dim: int, path: Path, row: int) -> bytes | None:
    """Returns a line's numbers as float32, or None where its word holds a space."""
    fields = line.rstrip().split(b" ")[1:]
    try:
        numbers = array("f", map(float, fields[-dim:]))
    except ValueError as error:
        raise InputError(
            f"a number was expected: {error}.", path=path, row=row
        ) from error
    if len(fields) > dim and not all(map(_is_number, fields[:-dim])):
        return None
    if len(fields) != dim:
        raise InputError(
            f"expected a word and {dim} numbers, got {len(fields)} numbers.",
            path=path,
            row=row,
        )
    return numbers.tobytes()


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_npz(path: Path, wanted: WantedWords, progress: Progress | None) -> np.ndarray:
    """Returns [V, E] float32 vectors of the wanted words of a NumPy archive."""
    with zipfile.ZipFile(path) as archive:
        words = _Member(archive, "words")
        vectors = _Member(archive, "vectors")
        if words.shape != vectors.shape[:1] or len(vectors.shape) != 2:
            raise InputError(
                "expected `words` [V] and `vectors` [V, E], got shapes "
                f"{words.shape} and {vectors.shape}.",
                path=path,
            )
        if words.dtype.kind not in "US" or vectors.dtype.kind not in "fiu":
            raise InputError(
                "expected `words` of text and `vectors` of numbers, got "
                f"{words.dtype} and {vectors.dtype}.",
                path=path,
            )
        data, (count, dim) = bytearray(), vectors.shape
        step = max(1, 4 * _BLOCK // max(1, vectors.row_bytes))
        for start in range(0, count, step):
            size = min(step, count - start)
            names, rows = words.rows(size).tolist(), vectors.rows(size)
            # What does not fit float32 becomes infinite, and is refused as that.
            with np.errstate(over="ignore"):
                rows = rows.astype(np.float32)
            for name, row in zip(names, rows):
                word = name if isinstance(name, bytes) else name.encode()
                key = wanted.key(word)
                if key is not None:
                    put(data, wanted.place(key, word), row.tobytes())
            if progress is not None:
                progress(start + size, count)
    return _rows_of(data, dim)


class _Member:
    """An array of an `.npz` file, read some rows at a time."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self.name = name
        self._file = archive.open(f"{name}.npy")
        version = np.lib.format.read_magic(self._file)
        header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if header is None:
            raise ValueError(f"`{name}` is of NumPy format {version}")
        self.shape, fortran, self.dtype = header(self._file)
        if fortran and len(self.shape) > 1:
            raise ValueError(
                f"`{name}` is stored by columns; save np.ascontiguousarray({name})"
            )
        if self.dtype.hasobject:
            raise ValueError(f"`{name}` holds Python objects, not text or numbers")

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=object))

    def rows(self, size: int) -> np.ndarray:
        """Returns the next `size` rows."""
        content = self._file.read(size * self.row_bytes)
        if len(content) < size * self.row_bytes:
            raise ValueError(f"`{self.name}` is cut short")
        return np.frombuffer(content, self.dtype).reshape(size, *self.shape[1:])


def read_keyed_vectors(
    path: Path, wanted: WantedWords, progress: Progress | None
) -> np.ndarray:
    """Returns [V, E] float32 vectors of the wanted words of gensim's KeyedVectors.

    Its large arrays, in files of their own, are mapped into memory. The file itself is
    a pickle, and loading a pickle can run any code: load only files you trust.
    """
    found = KeyedVectors.load(os.fspath(path), mmap="r")
    if not isinstance(found, KeyedVectors):
        raise InputError(
            f"expected KeyedVectors, got {type(found).__name__}: save its `.wv`.",
            path=path,
        )
    matrix = np.asanyarray(found.vectors)
    if matrix.ndim != 2 or len(matrix) < len(found.index_to_key):
        raise InputError(
            f"it has {len(found.index_to_key)} words and vectors of shape "
            f"{matrix.shape}.",
            path=path,
        )
    positions: list[int] = []
    for position, name in enumerate(found.index_to_key):
        word = str(name).encode()
        key = wanted.key(word)
        if key is not None:
            put(positions, wanted.place(key, word), [position])
    if progress is not None:
        progress(1, 1)
    return _gathered(matrix, positions)


def _gathered(matrix: np.ndarray, positions: list[int]) -> np.ndarray:
    """Returns those rows of `matrix`, as float32."""
    rows = np.empty((len(positions), matrix.shape[1]), np.float32)
    for start in range(0, len(positions), 4096):
        some = slice(start, start + 4096)
        with np.errstate(over="ignore"):
            rows[some] = _mapped_anew(matrix)[positions[some]]
    return rows


def _mapped_anew(matrix: np.ndarray) -> np.ndarray:
    """Returns `matrix`, mapped again where it is mapped.

    Pages of a mapping count as memory until it goes: each block of rows gets its own.
    """
    if not isinstance(matrix, np.memmap) or matrix.filename is None:
        return matrix
    order: Any = "C" if matrix.flags.c_contiguous else "F"
    place = {"offset": matrix.offset, "shape": matrix.shape, "order": order}
    return np.memmap(matrix.filename, matrix.dtype, "r", **place)


def _rows_of(data: bytearray, dim: int) -> np.ndarray:
    return np.frombuffer(data, "<f4").astype(np.float32, copy=False).reshape(-1, dim)
