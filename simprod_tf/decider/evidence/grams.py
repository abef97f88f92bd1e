"""Titles as rows of character trigrams, weighted by IDF."""

from __future__ import annotations

from collections import Counter

import numpy as np
import scipy.sparse as sp

from simprod_tf.decider.evidence.ragged import Ragged
from simprod_tf.decider.evidence.vocabulary import Vocabulary
from simprod_tf.decider.evidence.words import Words

_WIDTH = 3
_TINY = 1e-9


def trigrams(word: str) -> set[str]:
    """Returns the trigrams of a word with a blank before and behind it."""
    padded = f" {word} "
    return {padded[at : at + _WIDTH] for at in range(len(padded) - _WIDTH + 1)}


def gram_rows(title: Ragged, words: Words, vocabulary: Vocabulary) -> sp.csr_matrix:
    """Returns [P, G] float32: the trigrams of each title, in rows of unit length.

    A trigram is worth ln(1 + products / products with it), where each token of the
    vocabulary that holds it counts its products; one in n tokens of a title counts
    1 + ln n times.
    """
    places: dict[str, int] = {}
    rows, columns = [], []
    for row in np.unique(title.values):
        for gram in trigrams(words.text[row]):
            rows.append(row)
            columns.append(places.setdefault(gram, len(places)))
    size, width = len(title.starts) - 1, max(1, len(places))
    ones = np.ones(len(rows), np.float32)
    of_words = sp.csr_matrix((ones, (rows, columns)), shape=(len(words), width))
    entries = np.ones(len(title.values), np.float32)
    of_titles = sp.csr_matrix(
        (entries, title.values, title.starts), shape=(size, len(words))
    )
    counted = (of_titles @ of_words).tocsr()
    counted.data = 1 + np.log(counted.data)
    counted.data *= _weights(places, vocabulary)[counted.indices]
    lengths = np.sqrt(np.asarray(counted.multiply(counted).sum(axis=1)).ravel())
    counted.data /= np.repeat(np.maximum(lengths, _TINY), np.diff(counted.indptr))
    counted.sort_indices()
    return counted.astype(np.float32)


def _weights(grams: dict[str, int], vocabulary: Vocabulary) -> np.ndarray:
    held: Counter[str] = Counter()
    for token, count in vocabulary.counts.items():
        for gram in trigrams(token):
            held[gram] += count
    size = vocabulary.num_products
    found = (min(size, max(1, held[gram])) for gram in grams)
    return np.log1p(size / np.fromiter(found, np.float64, len(grams)))
