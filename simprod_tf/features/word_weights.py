"""How much each word counts in its title's vector, and how many words are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np

from simprod_tf.features.word_vectors import WordVectors

# Titles whose vectors are in memory together.
_BATCH = 4096
_NUM_UNKNOWN = 50


class WordCounts:
    """How often words stand in titles. Titles without a word are no titles here.

    Attributes:
        num_titles: titles with a word.
        num_tokens: their words, repeats counted.
        tokens: how often each word was met.
        titles: in how many titles.
    """

    def __init__(self, titles: Iterable[Sequence[str]] = ()) -> None:
        """Counts the words of tokenised titles."""
        self.num_titles = 0
        self.tokens: Counter[str] = Counter()
        self.titles: Counter[str] = Counter()
        for title in titles:
            self.num_titles += bool(title)
            self.tokens.update(title)
            self.titles.update(set(title))
        self.num_tokens = sum(self.tokens.values())

    def words(self, *, min_count: int = 1) -> set[str]:
        """Returns the words that stand in at least `min_count` titles."""
        return {word for word, count in self.titles.items() if count >= min_count}


def plain_weights(words: Sequence[str], counts: WordCounts) -> np.ndarray:
    """Returns [V] float32 ones: the mean of a title's words, as they are."""
    return np.ones(len(words), np.float32)


def idf_weights(words: Sequence[str], counts: WordCounts) -> np.ndarray:
    """Returns [V] float32 inverse document frequencies, log((1 + N) / (1 + n)) + 1.

    N titles, n of them with the word: Spärck Jones 1972,
    https://doi.org/10.1108/eb026526, smoothed as scikit-learn does. A word of no title
    has the highest weight.
    """
    found = np.array([counts.titles[word] for word in words], np.float64)
    return (np.log((1 + counts.num_titles) / (1 + found)) + 1).astype(np.float32)


def sif_weights(
    words: Sequence[str], counts: WordCounts, a: float = 1e-3
) -> np.ndarray:
    """Returns [V] float32 smooth inverse frequencies, a / (a + p), in (0, 1].

    p is the word's share of all tokens: Arora, Liang and Ma 2017,
    https://openreview.net/forum?id=SyK00v5xx. A word of no title has weight 1.
    """
    if not a > 0:
        raise ValueError(f"a must be positive, got {a}.")
    found = np.array([counts.tokens[word] for word in words], np.float64)
    return (a / (a + found / max(1, counts.num_tokens))).astype(np.float32)


_WEIGHTINGS: dict[str, Callable[[Sequence[str], WordCounts], np.ndarray]] = {
    "plain": plain_weights,
    "idf": idf_weights,
    "sif": sif_weights,
}
WEIGHTINGS = tuple(_WEIGHTINGS)


def word_weights(
    weighting: str, words: Sequence[str], counts: WordCounts
) -> np.ndarray:
    """Returns [V] float32 weights of `words`, by one of `WEIGHTINGS`."""
    if weighting not in _WEIGHTINGS:
        raise ValueError(
            f"weighting must be one of {', '.join(WEIGHTINGS)}, got {weighting!r}."
        )
    return _WEIGHTINGS[weighting](words, counts)


def common_component(
    vectors: WordVectors, weights: np.ndarray, titles: Iterable[Sequence[str]]
) -> np.ndarray:
    """Returns [E] float32, the unit direction that the titles' vectors share most.

    It is the first right singular vector of the titles' vectors, each the sum of weight
    times vector over its n known words, divided by n; SIF takes it away (Arora, Liang
    and Ma 2017, https://openreview.net/forum?id=SyK00v5xx). The sign is such that the
    largest number is positive. Zeros where no title has a known word.

    Args:
        vectors: [V, E] of the words.
        weights: [V] float32 of the words.
        titles: The words of each title; any number, in little memory.
    """
    if weights.shape != (len(vectors),):
        raise ValueError(
            f"expected one weight a word, [{len(vectors)}], got {weights.shape}."
        )
    rows = {word: row for row, word in enumerate(vectors.words)}
    weighted = vectors.vectors * weights[:, None]
    moment = np.zeros((vectors.dim, vectors.dim))
    batch: list[list[int]] = []
    for title in titles:
        known = [rows[word] for word in title if word in rows]
        if known:
            batch.append(known)
        if len(batch) == _BATCH:
            moment += _second_moment(weighted, batch)
            batch = []
    moment += _second_moment(weighted, batch)
    return _first_eigenvector(moment)


def _second_moment(weighted: np.ndarray, titles: list[list[int]]) -> np.ndarray:
    """Returns the [E, E] float64 sum of outer products of the titles' vectors."""
    if not titles:
        return np.zeros((weighted.shape[1], weighted.shape[1]))
    sizes = np.array([len(title) for title in titles])
    flat = np.fromiter(chain.from_iterable(titles), np.int64, int(sizes.sum()))
    starts = np.cumsum(sizes) - sizes
    means = np.add.reduceat(weighted[flat], starts, dtype=np.float64) / sizes[:, None]
    return means.T @ means


def _first_eigenvector(moment: np.ndarray) -> np.ndarray:
    if not moment.any():
        return np.zeros(len(moment), np.float32)
    vector = np.linalg.eigh(moment)[1][:, -1]
    return (vector * np.sign(vector[np.argmax(np.abs(vector))])).astype(np.float32)


def bucket_weights(
    words: Sequence[str],
    weights: np.ndarray,
    ids: np.ndarray,
    *,
    num_words: int,
    buckets: int,
) -> np.ndarray:
    """Returns [buckets] float32 weights of the buckets that unknown words fall into.

    A bucket's weight is the mean over its words of the word's weight divided by the
    number of its ids, so that an n-gram counts for its share of a word. It is 0 where
    no word fell: such a bucket's vector was never trained, and counts as unknown.

    Args:
        words: The titles' words outside the vocabulary.
        weights: [n] float32 of theirs.
        ids: [n, W] int32 what they become: 0 is padding, bucket b is num_words + 1 + b.
        num_words: Words in the vocabulary.
        buckets: How many buckets there are.
    """
    if weights.shape != (len(words),) or ids.ndim != 2 or len(ids) != len(words):
        raise ValueError(
            f"expected a weight and a row of ids for each of {len(words)} words, got "
            f"weights {weights.shape} and ids {ids.shape}."
        )
    found = ids[ids != 0]
    if found.size and not num_words < found.min() <= found.max() <= num_words + buckets:
        raise ValueError(
            f"ids must be 0 or {num_words + 1} to {num_words + buckets}, got "
            f"{found.min()} to {found.max()}."
        )
    shares = weights.astype(np.float64) / np.maximum(1, (ids != 0).sum(axis=1))
    row, column = np.nonzero(ids)
    # A word counts once in a bucket, also where two of its n-grams meet there.
    place = np.unique(row * np.int64(buckets) + ids[row, column] - num_words - 1)
    row, bucket = np.divmod(place, max(1, buckets))
    total = np.bincount(bucket, shares[row], minlength=buckets)
    count = np.bincount(bucket, minlength=buckets)
    return (total / np.maximum(1, count)).astype(np.float32)


@dataclass(frozen=True)
class Coverage:
    """How much of titles a vocabulary knows. Titles without a word are not counted.

    Attributes:
        num_tokens, known_tokens: words of the titles, repeats counted.
        num_titles, known_titles: titles with a word, and with a known one.
        unknown: unknown words and how often they were met, most frequent first, then
            by name; at most 50.
    """

    num_tokens: int
    known_tokens: int
    num_titles: int
    known_titles: int
    unknown: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        """Checks that no more is known than there is."""
        if not (
            0 <= self.known_tokens <= self.num_tokens
            and 0 <= self.known_titles <= self.num_titles
        ):
            raise ValueError(f"more is known than there is: {self!r}.")

    @property
    def token_share(self) -> float:
        """Known tokens of all, 0 where there is none."""
        return self.known_tokens / max(1, self.num_tokens)

    @property
    def title_share(self) -> float:
        """Titles with a known word of all with a word, 0 where there is none."""
        return self.known_titles / max(1, self.num_titles)

    def to_json(self) -> dict[str, Any]:
        """Returns the numbers, the shares and the unknown words, for a JSON file."""
        shares = {"token_share": self.token_share, "title_share": self.title_share}
        unknown = [list(pair) for pair in self.unknown]
        return {**asdict(self), **shares, "unknown": unknown}

    def __str__(self) -> str:
        line = (
            f"{self.token_share:.1%} of {self.num_tokens:,} words and "
            f"{self.title_share:.1%} of {self.num_titles:,} titles are known"
        )
        if not self.unknown:
            return line
        names = ", ".join(f"{word} ({count:,})" for word, count in self.unknown[:5])
        return f"{line}; most frequent unknown words: {names}"


def coverage(titles: Iterable[Sequence[str]], vocabulary: Collection[str]) -> Coverage:
    """Returns how much of tokenised titles `vocabulary` knows."""
    known = frozenset(vocabulary)
    num_tokens = num_titles = known_titles = 0
    unknown: Counter[str] = Counter()
    for title in titles:
        strange = [word for word in title if word not in known]
        num_tokens += len(title)
        num_titles += bool(title)
        known_titles += len(strange) < len(title)
        unknown.update(strange)
    known_tokens = num_tokens - sum(unknown.values())
    ranked = sorted(unknown.items(), key=lambda pair: (-pair[1], pair[0]))
    return Coverage(
        num_tokens, known_tokens, num_titles, known_titles, tuple(ranked[:_NUM_UNKNOWN])
    )
