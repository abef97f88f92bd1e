"""Titles -> mean word vectors: the graph's ops beside gensim's loop, one run.

    python benchmarks/title_vectors.py

Titles per CPU-second of this process, all threads; medians of interleaved repeats.
Both start from Python strings and end in a numpy array: `titles` from raw titles (the
peer by a regular expression on lower case, we by `tokenize`, which folds Unicode, keeps
units and splits model numbers), `words` from lists of words ready to be looked up. One
title in 33 is not ASCII.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from gensim.models import KeyedVectors

from simprod_tf.features.text import WordIds, title_words
from simprod_tf.model.text_tower import WordVectorMean

# How many titles one timing takes, by batch size.
NUM_TITLES = {1: 200, 256: 4096, 4096: 8192}
TARGETS = {256: 2.5, 4096: 4.5}
UNITS = ("ml", "GB", "cm", "pack", "W")
WORD = re.compile(r"\w+(?:[.\-]\w+)*")

Words = list[list[str]]


def make_vocabulary(num_words: int, rng: np.random.Generator) -> list[str]:
    """Returns distinct words of 3 to 10 letters."""
    words: dict[str, None] = {}
    while len(words) < num_words:
        letters = rng.integers(97, 123, rng.integers(3, 11))
        words["".join(map(chr, letters))] = None
    return list(words)


def make_titles(
    count: int, vocabulary: Sequence[str], rng: np.random.Generator
) -> list[str]:
    """Returns titles of 8 to 15 Zipf-distributed words, sizes and model numbers."""
    share = 1 / np.arange(1, len(vocabulary) + 1) ** 0.9
    share /= share.sum()
    titles = []
    for _ in range(count):
        rows = rng.choice(len(vocabulary), rng.integers(7, 13), p=share)
        words = [vocabulary[row] for row in rows]
        words[0] = words[0].title()
        if rng.random() < 0.3:
            words[2] += ","
        if rng.random() < 0.5:
            words.append(f"{rng.integers(1, 900)} {rng.choice(UNITS)}")
        if rng.random() < 0.4:
            words += ["-", f"XTA-{rng.integers(1000, 9999)}-{rng.integers(10, 99)}GB"]
        if rng.random() < 0.03:
            words[1] += "\u00e9"
        titles.append(" ".join(words))
    return titles


def gensim_mean(words: Words, vectors: KeyedVectors) -> np.ndarray:
    """Returns [B, dim]: the loop that gensim's users write."""
    means = np.zeros((len(words), vectors.vector_size), np.float32)
    for row, title in enumerate(words):
        found = [vectors[word] for word in title if word in vectors]
        if found:
            means[row] = np.mean(found, axis=0)
    return means


def split_titles(titles: Sequence[str]) -> Words:
    """Returns the words of titles as a Python tokeniser of the usual kind has them."""
    return [WORD.findall(title.lower()) for title in titles]


class GraphMean:
    """Our vectors, in one graph for each form of input."""

    def __init__(self, vocabulary: Sequence[str], vectors: np.ndarray) -> None:
        """Builds the word table and the layer."""
        ids = WordIds(vocabulary)
        mean = WordVectorMean(*vectors.shape)
        mean.set_vectors(vectors)
        self._of_titles = tf.function(
            lambda titles: mean(ids(titles))[0],
            input_signature=[tf.TensorSpec([None], tf.string)],
        )
        self._of_words = tf.function(
            lambda words, lengths: mean(
                ids.of_words(tf.RaggedTensor.from_row_lengths(words, lengths))
            )[0],
            input_signature=[
                tf.TensorSpec([None], tf.string),
                tf.TensorSpec([None], tf.int64),
            ],
        )

    def of_titles(self, titles: Sequence[str]) -> np.ndarray:
        """Returns [B, dim] of raw titles."""
        return self._of_titles(tf.constant(titles)).numpy()

    def of_words(self, words: Words) -> np.ndarray:
        """Returns [B, dim] of words."""
        flat = tf.constant([word for title in words for word in title], tf.string)
        lengths = tf.constant([len(title) for title in words], tf.int64)
        return self._of_words(flat, lengths).numpy()


def cpu_seconds(run: Callable, items: Sequence, batch_size: int) -> float:
    """Returns the CPU time of all items, batch by batch."""
    begin = time.process_time()
    for start in range(0, len(items), batch_size):
        run(items[start : start + batch_size])
    return time.process_time() - begin


def compare(
    contenders: dict[str, tuple[Callable, Sequence]], batch_size: int, repeats: int
) -> dict[str, float]:
    """Returns each contender's titles per CPU-second, median of interleaved repeats."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats + 1):
        for name, (run, items) in contenders.items():
            taken = cpu_seconds(run, items, batch_size)
            # The first round traces and warms up.
            if repeat:
                times[name].append(taken)
    return {
        name: len(items) / float(np.median(times[name]))
        for name, (_, items) in contenders.items()
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--num-words", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    vocabulary = make_vocabulary(args.num_words, rng)
    vectors = rng.standard_normal((args.num_words, args.dim), np.float32)
    titles = make_titles(max(NUM_TITLES.values()), vocabulary, rng)
    keyed = KeyedVectors(args.dim)
    keyed.add_vectors(vocabulary, vectors)
    ours = GraphMean(vocabulary, vectors)
    # One tokeniser for both, or the sums would be of different words.
    words = title_words(titles)
    np.testing.assert_allclose(
        ours.of_titles(titles[:500]), gensim_mean(words[:500], keyed), atol=1e-5
    )
    print("batch  form    gensim/s    ours/s  ratio  target")
    for batch_size, count in NUM_TITLES.items():
        rates = compare(
            {
                "gensim titles": (
                    lambda batch: gensim_mean(split_titles(batch), keyed),
                    titles[:count],
                ),
                "ours titles": (ours.of_titles, titles[:count]),
                "gensim words": (
                    lambda batch: gensim_mean(batch, keyed),
                    words[:count],
                ),
                "ours words": (ours.of_words, words[:count]),
            },
            batch_size,
            args.repeats,
        )
        for form in ("titles", "words"):
            peer, own = rates[f"gensim {form}"], rates[f"ours {form}"]
            target = TARGETS.get(batch_size, "-")
            print(
                f"{batch_size:5}  {form:6} {peer:9,.0f} {own:9,.0f} {own / peer:6.2f}"
                f"  {target}",
                flush=True,
            )


if __name__ == "__main__":
    main()
