"""Word vectors: trained on titles by gensim, or loaded from the usual formats."""

from __future__ import annotations

import gzip
import logging
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from gensim.models import FastText, Word2Vec
from gensim.models.callbacks import CallbackAny2Vec

from simprod_tf.errors import InputError
from simprod_tf.features.fasttext_file import MAGIC, read_fasttext
from simprod_tf.features.wanted_words import WantedWords
from simprod_tf.features.word_files import (
    Progress,
    read_keyed_vectors,
    read_npz,
    read_text,
    read_word2vec,
)

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
        if not _finite_rows(self.vectors).all():
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


def _finite_rows(vectors: np.ndarray) -> np.ndarray:
    """Returns [V] bool. By sums: a mask over all of 3M x 300 would take 0.9 GB."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.isfinite(vectors.sum(axis=1, dtype=np.float64))


_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    ImportError,
    TypeError,
    MemoryError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
)
NO_WORDS = WordVectors((), np.zeros((0, 1), np.float32))

# fastText's 2 million buckets are for a whole language; a catalogue's titles have some
# 100,000 n-grams.
_TRAINERS: dict[str, Callable[..., Word2Vec]] = {
    "skipgram": Word2Vec,
    "fasttext": partial(FastText, bucket=200_000),
}
KINDS = tuple(_TRAINERS)


def train_word_vectors(
    titles: Sequence[Sequence[str]],
    *,
    kind: str = "skipgram",
    dim: int = 128,
    epochs: int = 40,
    min_count: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> WordVectors:
    """Returns vectors of the words of tokenised titles; repeatable.

    Args:
        titles: The words of each title.
        kind: "skipgram" (Mikolov et al. 2013, https://arxiv.org/abs/1301.3781) or
            "fasttext", skip-gram whose words share character n-grams (Bojanowski et
            al. 2017, https://arxiv.org/abs/1607.04606).
        dim: Length of each vector.
        epochs: Passes over the titles.
        min_count: Words met less often have no vector.
        seed: Of the start values and the sampling.
        progress: Told the epochs done and their number after each.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    sentences = [list(title) for title in titles if title]
    if not sentences:
        return NO_WORDS
    model = _TRAINERS[kind](
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
    model.train(
        sentences,
        total_examples=len(sentences),
        epochs=epochs,
        callbacks=[] if progress is None else [_EpochCount(epochs, progress)],
    )
    return WordVectors(
        tuple(model.wv.index_to_key), model.wv.vectors.astype(np.float32)
    )


class _EpochCount(CallbackAny2Vec):
    """Tells `progress` of each epoch that gensim ends."""

    def __init__(self, epochs: int, progress: Progress) -> None:
        self._done, self._epochs, self._progress = 0, epochs, progress

    def on_epoch_end(self, model: Word2Vec) -> None:
        self._done += 1
        self._progress(self._done, self._epochs)


def load_word_vectors(
    path: str | os.PathLike[str],
    *,
    keep: Collection[str] | None = None,
    extra_words: int = 0,
    progress: Progress | None = None,
) -> WordVectors:
    """Loads word vectors; only those that are kept ever stay in memory.

    Formats, by suffix: `.bin`, `.bin.gz` (word2vec binary, as GoogleNews), `.bin`
    (Facebook's fastText, told by its first bytes; words that it does not list get the
    vector of their n-grams), `.txt`, `.vec`, `.txt.gz`, `.vec.gz` (word2vec or GloVe
    text), `.kv` (gensim KeyedVectors, with its arrays mapped) and `.npz` with `words`
    and `vectors`. A `.kv` is a pickle, which can run any code: load only files you
    trust.

    Args:
        path: The file.
        keep: Case-folded words to keep, or None for all of the file's, as they are.
            Each is looked for as it is, else as the first word of the file whose case
            folds to it: `nike` is found as `Nike`.
        extra_words: So many words from the file's beginning, where the frequent ones
            are, are kept too, case-folded.
        progress: Told how much of the file is read, and how much there is.

    Raises:
        InputError: there is no such file, it is not what its suffix says, or none of
            its words is to be kept.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError("there is no such file.", path=file)
    name = file.name.lower()
    readers = [read for suffix, read in _READERS.items() if name.endswith(suffix)]
    if not readers:
        known = ", ".join(_READERS)
        raise InputError(f"unknown kind of word vectors; use {known}.", path=file)
    wanted = WantedWords(keep, extra_words)
    try:
        vectors = readers[0](file, wanted, progress)
    except _UNREADABLE as error:
        raise InputError(
            f"cannot be read as word vectors: {error}", path=file
        ) from error
    if not wanted.words:
        raise InputError("none of its words is in the catalogue's titles.", path=file)
    _check_finite(wanted.words, vectors, file)
    if keep is not None:
        log.info("%s: %d words kept of %d", file.name, len(vectors), len(keep))
    return WordVectors(tuple(wanted.words), vectors)


def _check_finite(words: Sequence[str], vectors: np.ndarray, path: Path) -> None:
    finite = _finite_rows(vectors)
    if not finite.all():
        word = words[int(np.argmin(finite))]
        raise InputError(f"the vector of {word!r} is not finite.", path=path)


def _read_binary(
    path: Path, wanted: WantedWords, progress: Progress | None
) -> np.ndarray:
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as file:
        is_fasttext = file.read(len(MAGIC)) == MAGIC
    return (read_fasttext if is_fasttext else read_word2vec)(path, wanted, progress)


_READERS: dict[str, Callable[[Path, WantedWords, Progress | None], np.ndarray]] = {
    ".bin": _read_binary,
    ".bin.gz": _read_binary,
    ".txt": read_text,
    ".vec": read_text,
    ".txt.gz": read_text,
    ".vec.gz": read_text,
    ".kv": read_keyed_vectors,
    ".npz": read_npz,
}
