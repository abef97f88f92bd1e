"""Word vectors by gensim: trained on titles, or loaded from the usual formats.

Word2Vec: Mikolov et al. 2013, https://arxiv.org/abs/1301.3781 (skip-gram here).
"""

from __future__ import annotations

import gzip
import logging
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gensim.models import KeyedVectors, Word2Vec

from simprod_tf.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class WordVectors:
    """`words` and their `vectors`, [V, E] float32."""

    words: tuple[str, ...]
    vectors: np.ndarray

    def __post_init__(self) -> None:
        """Checks that there is one finite vector a word, and no word twice."""
        if self.vectors.ndim != 2 or len(self.words) != len(self.vectors):
            raise ValueError(
                f"expected one vector a word, got {len(self.words)} words and vectors "
                f"of shape {self.vectors.shape}."
            )
        if len(set(self.words)) != len(self.words):
            raise ValueError("a word stands there twice.")
        if not np.isfinite(self.vectors).all():
            raise ValueError("vectors must be finite.")

    def __len__(self) -> int:
        return len(self.words)

    @property
    def dim(self) -> int:
        """The length of each vector."""
        return self.vectors.shape[1]

    def keep(self, words: Collection[str]) -> WordVectors:
        """Returns the vectors of those words alone."""
        rows = [row for row, word in enumerate(self.words) if word in words]
        return WordVectors(tuple(self.words[row] for row in rows), self.vectors[rows])


_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    AttributeError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)
NO_WORDS = WordVectors((), np.zeros((0, 1), np.float32))


def train_word_vectors(
    titles: Sequence[Sequence[str]],
    *,
    dim: int = 128,
    epochs: int = 40,
    min_count: int = 1,
    seed: int = 0,
) -> WordVectors:
    """Returns skip-gram vectors of the words of tokenised titles; repeatable."""
    sentences = [list(title) for title in titles if title]
    if not sentences:
        return NO_WORDS
    model = Word2Vec(
        vector_size=dim,
        window=8,
        min_count=min_count,
        sg=1,
        # Titles are short and their vocabulary small: gensim's 1e-3, made for running
        # text, would leave out most words of most titles.
        sample=1e-2,
        seed=seed,
        # One worker and a hash of our own: threads and PYTHONHASHSEED vary.
        workers=1,
        hashfxn=lambda text: zlib.crc32(text.encode("utf-8")),
    )
    model.build_vocab(sentences)
    if not len(model.wv):
        return NO_WORDS
    model.train(sentences, total_examples=len(sentences), epochs=epochs)
    return WordVectors(
        tuple(model.wv.index_to_key), model.wv.vectors.astype(np.float32)
    )


def load_word_vectors(
    path: str | os.PathLike[str], *, keep: Collection[str] | None = None
) -> WordVectors:
    """Loads word vectors, of `keep` alone where it is given.

    Formats, by suffix: `.bin`, `.bin.gz` (word2vec binary, as GoogleNews), `.txt`,
    `.vec`, `.txt.gz` (word2vec or GloVe text), `.kv` (gensim KeyedVectors), `.npz`
    with `words` and `vectors`.

    Raises:
        InputError: there is no such file, or it is not what its suffix says.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError("there is no such file.", path=file)
    name = file.name.lower()
    readers = [read for suffix, read in _READERS.items() if name.endswith(suffix)]
    if not readers:
        known = ", ".join(_READERS)
        raise InputError(f"unknown kind of word vectors; use {known}.", path=file)
    try:
        found = readers[0](file)
    except _UNREADABLE as error:
        raise InputError(
            f"cannot be read as word vectors: {error}", path=file
        ) from error
    kept = found if keep is None else found.keep(keep)
    log.info("%s: %d of %d words kept", file.name, len(kept), len(found))
    if not len(kept):
        raise InputError("none of its words is in the catalogue's titles.", path=file)
    return kept


def _from_gensim(vectors: KeyedVectors) -> WordVectors:
    return WordVectors(
        tuple(vectors.index_to_key), np.asarray(vectors.vectors, np.float32)
    )


def _read_binary(path: Path) -> WordVectors:
    return _from_gensim(KeyedVectors.load_word2vec_format(str(path), binary=True))


def _read_text(path: Path) -> WordVectors:
    with _open_text(path) as file:
        header = len(file.readline().split()) == 2
    return _from_gensim(
        KeyedVectors.load_word2vec_format(str(path), binary=False, no_header=not header)
    )


def _open_text(path: Path):  # type: ignore[no-untyped-def]
    opener = gzip.open if path.suffix == ".gz" else open
    return opener(path, "rt", encoding="utf-8", errors="replace")


def _read_gensim(path: Path) -> WordVectors:
    return _from_gensim(KeyedVectors.load(str(path)))


def _read_npz(path: Path) -> WordVectors:
    with np.load(path, allow_pickle=False) as arrays:
        words = tuple(str(word) for word in arrays["words"])
        return WordVectors(words, arrays["vectors"].astype(np.float32))


_READERS: dict[str, Callable[[Path], WordVectors]] = {
    ".bin": _read_binary,
    ".bin.gz": _read_binary,
    ".txt": _read_text,
    ".vec": _read_text,
    ".txt.gz": _read_text,
    ".kv": _read_gensim,
    ".npz": _read_npz,
}
