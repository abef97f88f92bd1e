"""Labelled pairs of a catalogue -> batches of words, for the pair decider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.components import similar_components
from simprod_tf.data.pairs import Pairs
from simprod_tf.training.pair_decider_settings import PairDeciderSettings
from simprod_tf.training.title_changes import changed_pair

# Pairs in a step of prediction.
PREDICTED = 256
# All pairs of a larger group would outweigh the labelled ones.
_LARGEST_GROUP = 12

Batch = tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows of both products, labels and weights, each [N]."""

    starts: np.ndarray
    ends: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def examples_of(catalog: Catalog, pairs: Pairs) -> Examples:
    """Returns the pairs by rows."""
    starts, ends = (catalog.rows_of(x) for x in (pairs.anchor_ids, pairs.other_ids))
    return Examples(
        starts, ends, pairs.labels.astype(np.float32), pairs.weights.astype(np.float32)
    )


def with_implied(catalog: Catalog, pairs: Pairs) -> Examples:
    """Returns the pairs, and behind them the similar ones that follow from them."""
    known, more = examples_of(catalog, pairs), implied_pairs(catalog, pairs)
    ones = np.ones(len(more), np.float32)
    return Examples(
        np.concatenate([known.starts, more[:, 0]]),
        np.concatenate([known.ends, more[:, 1]]),
        np.concatenate([known.labels, ones]),
        np.concatenate([known.weights, ones]),
    )


def implied_pairs(catalog: Catalog, pairs: Pairs) -> np.ndarray:
    """Returns [M, 2] int64 rows that similar pairs join, of no label of their own."""
    one, other = (catalog.rows_of(x) for x in (pairs.anchor_ids, pairs.other_ids))
    labelled = set(zip(one.tolist(), other.tolist()))
    group = similar_components(catalog, pairs)
    sizes = Counter(group.tolist())
    members: dict[int, list[int]] = {}
    for row, number in enumerate(group.tolist()):
        if 2 < sizes[number] <= _LARGEST_GROUP:
            members.setdefault(number, []).append(row)
    joined = [
        (one, other)
        for rows in members.values()
        for place, one in enumerate(rows)
        for other in rows[place + 1 :]
        if not {(one, other), (other, one)} & labelled
    ]
    return np.array(joined, np.int64).reshape(-1, 2)


def training_batches(
    words: Sequence[Sequence[str]],
    examples: Examples,
    settings: PairDeciderSettings,
    *,
    seed: int,
) -> tf.data.Dataset:
    """Returns batches without end, shuffled and changed anew."""

    def batches() -> Iterator[Batch]:
        rng = np.random.default_rng(seed)
        size = min(settings.batch_size, len(examples.labels))
        while True:
            order = rng.permutation(len(examples.labels))
            for first in range(0, len(order) - size + 1, size):
                rows = order[first : first + size]
                texts = [
                    changed_pair(
                        words[start],
                        words[end],
                        rng=rng,
                        changed=settings.changed,
                        renamed=settings.renamed,
                    )
                    for start, end in zip(examples.starts[rows], examples.ends[rows])
                ]
                yield _batch(texts, examples.labels[rows], examples.weights[rows])

    return _dataset(batches)


def validation_batches(
    words: Sequence[Sequence[str]], examples: Examples
) -> tf.data.Dataset:
    """Returns each example once, as it is."""

    def batches() -> Iterator[Batch]:
        for first in range(0, len(examples.labels), PREDICTED):
            rows = slice(first, first + PREDICTED)
            ends = zip(examples.starts[rows], examples.ends[rows])
            texts = [(words[start], words[end]) for start, end in ends]
            yield _batch(texts, examples.labels[rows], examples.weights[rows])

    return _dataset(batches)


def _dataset(batches: Callable[[], Iterator[Batch]]) -> tf.data.Dataset:
    text = tf.TensorSpec([None, None], tf.string)
    number = tf.TensorSpec([None], tf.float32)
    return tf.data.Dataset.from_generator(
        batches, output_signature=((text, text), number, number)
    ).prefetch(2)


def _batch(
    texts: Sequence[tuple[Sequence[str], Sequence[str]]],
    labels: np.ndarray,
    weights: np.ndarray,
) -> Batch:
    one, other = zip(*texts)
    return (padded_words(one), padded_words(other)), labels, weights


def padded_words(texts: Sequence[Sequence[str]]) -> np.ndarray:
    """Returns [B, W] of UTF-8 bytes, b"" behind the last word, W at least 1."""
    width = max(1, max(len(words) for words in texts))
    found = np.full((len(texts), width), b"", object)
    for row, words in enumerate(texts):
        found[row, : len(words)] = [word.encode("utf-8") for word in words]
    return found
