"""Products whose texts share rare words and runs of letters: a source of candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from simprod_tf.data.catalog import Catalog
from simprod_tf.decider.evidence.fields import record_texts

Progress = Callable[[int, int], None]
SIMILARITIES = ("words", "title_words", "title_letters")
_BLOCK = 1024
_BLOCK_PAIRS = 1 << 16
# A term of more products than this proposes no candidates: nearly every title has it,
# and each would be compared with each.
_MOST_PRODUCTS = 1000


@dataclass(frozen=True, eq=False)
class LexicalVectors:
    """TF-IDF vectors of the products' texts, by this catalogue's own frequencies.

    Attributes:
        by_name: of each of `SIMILARITIES` a [N, T] sparse matrix, rows of unit length:
            the words of all text, those of the title, and runs of 3 to 5 of its letters
            and digits (blanks and signs left out: "f8n044-slv" is "f8n044slv").
    """

    by_name: dict[str, sp.csr_matrix]

    @classmethod
    def of(cls, catalog: Catalog) -> LexicalVectors:
        """Returns the vectors of a catalogue's titles, and of all of its columns."""
        records = list(record_texts(catalog))
        titles = [one.title for one in records]
        whole = [
            " ".join([one.title, one.text, one.brand, one.model, *one.others.values()])
            for one in records
        ]
        squeezed = [title.replace(" ", "") for title in titles]
        return cls(
            {
                "words": _tfidf(whole, _words()),
                "title_words": _tfidf(titles, _words()),
                "title_letters": _tfidf(squeezed, _letters()),
            }
        )

    def __len__(self) -> int:
        return int(self.by_name["words"].shape[0])

    def cosines(self, starts: np.ndarray, ends: np.ndarray) -> dict[str, np.ndarray]:
        """Returns by name the [P] float32 cosines of pairs."""
        found = {name: np.empty(len(starts), np.float32) for name in self.by_name}
        # In blocks: a pair's rows are copied, which are a hundred terms and more.
        for first in range(0, len(starts), _BLOCK_PAIRS):
            part = slice(first, first + _BLOCK_PAIRS)
            for name, matrix in self.by_name.items():
                shared = matrix[starts[part]].multiply(matrix[ends[part]])
                found[name][part] = np.asarray(shared.sum(axis=1)).ravel()
        return found

    def nearest(
        self,
        k: int,
        *,
        tables: np.ndarray | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Returns [N, k] int32, the rows most alike, nearest first; -1 is none.

        Args:
            k: how many.
            tables: [N]; neighbours are of other tables. None: any but the product.
            progress: told products done, and all.
        """
        found = np.full((len(self), k), -1, np.int32)
        numbers = np.arange(len(self))
        if tables is not None:
            numbers = np.unique(tables, return_inverse=True)[1]
        terms = self._proposing
        columns = terms.T.tocsr()
        for first in range(0, len(self), _BLOCK):
            rows = np.arange(first, min(first + _BLOCK, len(self)))
            for row, (others, values) in zip(rows, _rows_of(terms[rows] @ columns)):
                # Without tables each product is a table of its own.
                allowed = numbers[others] != numbers[row]
                near = _largest(others[allowed], values[allowed], k)
                found[row, : len(near)] = near
            if progress is not None:
                progress(int(rows[-1]) + 1, len(self))
        return found

    @cached_property
    def _proposing(self) -> sp.csr_matrix:
        """All terms side by side, without those of too many products."""
        joined = sp.hstack(list(self.by_name.values()), format="csc")
        counts = np.diff(joined.indptr)
        return joined[:, (counts > 1) & (counts <= _MOST_PRODUCTS)].tocsr()


def _words() -> HashingVectorizer:
    return HashingVectorizer(
        analyzer=str.split, norm=None, alternate_sign=False, dtype=np.float32
    )


def _letters() -> HashingVectorizer:
    return HashingVectorizer(
        analyzer="char",
        ngram_range=(3, 5),
        lowercase=False,
        norm=None,
        alternate_sign=False,
        dtype=np.float32,
    )


def _tfidf(texts: list[str], vectorizer: HashingVectorizer) -> sp.csr_matrix:
    counts = vectorizer.transform(texts)
    return TfidfTransformer(sublinear_tf=True).fit_transform(counts).tocsr()


def _rows_of(matrix: sp.csr_matrix) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the columns and values of each row."""
    for start, end in zip(matrix.indptr[:-1], matrix.indptr[1:]):
        yield matrix.indices[start:end], matrix.data[start:end]


def _largest(others: np.ndarray, values: np.ndarray, k: int) -> np.ndarray:
    """Returns the k others of the largest values, the largest first."""
    if len(values) > k:
        kept = values >= -np.partition(-values, k - 1)[k - 1]
        others, values = others[kept], values[kept]
    return others[np.lexsort((others, -values))][:k]
