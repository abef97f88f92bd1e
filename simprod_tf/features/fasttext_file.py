"""Facebook's fastText binary: words, and vectors of words that it does not list.

fastText: Bojanowski et al. 2017, https://arxiv.org/abs/1607.04606. A word's vector is
the mean of its own and of its character n-grams', which are hashed into buckets.
gensim's reader keeps three copies of the whole (15 GB for Common Crawl's 2M words) and
never returns from a vocabulary that was cut short; only its hash is used here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gensim.models.fasttext import ft_ngram_hashes

from simprod_tf.errors import InputError
from simprod_tf.features.wanted_words import WantedWords, put
from simprod_tf.features.word_files import MAX_DIM, Blocks, Progress, opened

MAGIC = struct.pack("<i", 793712314)

# Version; dim, window, epochs, min_count, negatives, word n-grams, loss, model,
# buckets, shortest and longest n-gram, learning-rate rate, sampling; words and labels,
# words, labels, tokens, pruned n-grams.
_HEADER = struct.Struct("<i12id3i2q")
# Of each word after its text: how often it was met, and whether it is a label.
_ENTRY_SIZE = 9
# Whether it is quantised, rows, dimension.
_MATRIX = struct.Struct("<?2q")


def read_fasttext(
    path: Path, wanted: WantedWords, progress: Progress | None
) -> np.ndarray:
    """Returns [V, E] float32 vectors: of the wanted words that the file lists, then of
    the other words of `keep` by their n-grams, where it has n-grams.
    """
    if path.name.lower().endswith(".gz"):
        raise InputError("unpack this fastText file first (gunzip).", path=path)
    with opened(path, None) as (stream, tick):
        blocks = Blocks(stream, tick)
        design = _read_design(blocks, path)
        listed = _read_words(blocks, design, wanted, path)
        design.check_matrix(blocks, path)
    # By the file's spelling: `nike` may be listed as `Nike`, whose n-grams are others.
    rows = [[position, *design.ngram_rows(word)] for position, word in listed]
    for word in wanted.missing():
        found = design.ngram_rows(word)
        # A word shorter than the shortest n-gram has none: it stays unknown.
        if found:
            put(rows, wanted.place(word.encode(), word.encode()), [found])
    return _means(path, design, rows, progress)


@dataclass
class _Design:
    """What the header says, and where the matrix starts once that is known."""

    dim: int
    num_words: int
    bucket: int
    min_length: int
    max_length: int
    offset: int = 0

    def ngram_rows(self, word: str) -> list[int]:
        """Returns the rows of the n-grams of `word`."""
        if not (self.bucket and self.max_length):
            return []
        hashes = ft_ngram_hashes(word, self.min_length, self.max_length, self.bucket)
        return [self.num_words + number for number in hashes]

    @property
    def shape(self) -> tuple[int, int]:
        return self.num_words + self.bucket, self.dim

    def check_matrix(self, blocks: Blocks, path: Path) -> None:
        """Reads the matrix's header; refuses what is not whole."""
        content = blocks.take(_MATRIX.size)
        if len(content) < _MATRIX.size:
            raise _cut_short(path)
        quantised, *shape = _MATRIX.unpack(content)
        if quantised:
            raise InputError(
                "it is quantised; give the .bin that it was made of.", path=path
            )
        if tuple(shape) != self.shape:
            raise InputError(
                f"its header promises {self.shape} numbers, its matrix has "
                f"{tuple(shape)}: it is damaged.",
                path=path,
            )
        self.offset += _MATRIX.size
        if path.stat().st_size < self.offset + 4 * shape[0] * shape[1]:
            raise _cut_short(path)


def _cut_short(path: Path) -> InputError:
    return InputError("it is damaged or was cut short.", path=path)


def _read_design(blocks: Blocks, path: Path) -> _Design:
    content = blocks.take(len(MAGIC) + _HEADER.size)[len(MAGIC) :]
    if len(content) < _HEADER.size:
        raise _cut_short(path)
    _, dim, *rest = _HEADER.unpack(content)
    bucket, min_length, max_length = rest[7:10]
    num_entries, num_words, num_labels, _, num_pruned = rest[12:]
    if num_labels > 0 or num_entries != num_words:
        raise InputError(
            "it is a classifier with labels; word vectors are needed.", path=path
        )
    if num_pruned > 0:
        raise InputError(
            "its n-grams were pruned; give the .bin that it was made of.", path=path
        )
    sizes = (dim - 1, num_words, bucket, min_length, max_length)
    if min(sizes) < 0 or dim > MAX_DIM or max_length > 100:
        raise _cut_short(path)
    offset = len(MAGIC) + _HEADER.size
    return _Design(dim, num_words, bucket, min_length, max_length, offset)


def _read_words(
    blocks: Blocks, design: _Design, wanted: WantedWords, path: Path
) -> list[tuple[int, str]]:
    """Returns which of the file's words the wanted ones are, by position and spelling.

    `design.offset` moves to their end.
    """
    listed: list[tuple[int, str]] = []
    num_read = 0
    for word, _ in blocks.records(design.num_words, end=b"\0", size=_ENTRY_SIZE):
        design.offset += len(word) + 1 + _ENTRY_SIZE
        try:
            key = wanted.key(word)
        except UnicodeDecodeError:
            # fastText cuts long words between bytes; such a one is nobody's token.
            key = None
        if key is not None:
            put(listed, wanted.place(key, word), [(num_read, word.decode())])
        num_read += 1
    if num_read < design.num_words:
        raise _cut_short(path)
    return listed


def _means(
    path: Path, design: _Design, rows: list[list[int]], progress: Progress | None
) -> np.ndarray:
    """Returns the mean of each list of the matrix's rows, [len(rows), E] float32."""
    means = np.empty((len(rows), design.dim), np.float32)
    for start in range(0, len(rows), 256):
        # Pages of a mapping count as memory until it goes.
        matrix = np.memmap(path, "<f4", "r", design.offset, design.shape)
        # A damaged file's numbers; the result is checked for what is not finite.
        with np.errstate(over="ignore", invalid="ignore"):
            for at, some in enumerate(rows[start : start + 256], start):
                means[at] = matrix[some].mean(axis=0)
        if progress is not None:
            progress(min(start + 256, len(rows)), len(rows))
    return means
