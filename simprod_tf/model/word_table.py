"""Words -> what is known of each: vector, letters, frequency; and of two titles' words.

What is fixed is told apart from what is learned: two words have their alikeness also
where training has seen neither, as it has few model numbers of those there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# Lengths of a word's character n-grams, its ends marked.
_GRAM_LENGTHS = (2, 3, 4)
# Two words without a common n-gram have a cosine of 0, give or take 1 / 16.
_SKETCH_DIM = 256


@tf.keras.saving.register_keras_serializable(package="simprod")
class WordTable(tf.keras.layers.Layer):
    """Words -> what is known of each, from its vector, its letters and its frequency.

    A word outside the vocabulary has its n-grams alone (after Bojanowski et al. 2017,
    https://arxiv.org/abs/1607.04606): f8n044slv is near f8n044-slv.

    Attributes:
        prints: [V] int64 fingerprints (FarmHash) of the words, rising.
        vectors: [V + 1, E] float32 in that order, then zeros for an unknown word.
        idf: [V + 1] float32 in (0, 1], 1 for the rarest and the unknown.
        gram_vectors: [buckets, word_dim] float32, trained.
        sketches: [buckets, 256] float32, -1 or 1 at random: sums of them have about the
            cosines that the counts of n-grams have.
    """

    def __init__(
        self, num_words: int, dim: int, word_dim: int, *, buckets: int, **kw: object
    ) -> None:
        super().__init__(**kw)
        self.num_words, self.dim, self.word_dim = num_words, dim, word_dim
        self.buckets = buckets
        self._weights_of_words()
        self.gram_vectors = self.add_weight(
            name="gram_vectors",
            shape=(buckets, word_dim),
            initializer=tf.keras.initializers.RandomNormal(stddev=0.1),
        )
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (buckets, _SKETCH_DIM))
        self.sketches = self.add_weight(
            name="sketches", shape=signs.shape, initializer="zeros", trainable=False
        )
        self.sketches.assign(signs)
        self.project = tf.keras.layers.Dense(word_dim, use_bias=False, name="project")
        self.project.build((None, dim))

    def _weights_of_words(self) -> None:
        fixed = {"initializer": "zeros", "trainable": False}
        self.prints = self.add_weight(
            name="prints", shape=(self.num_words,), dtype=tf.int64, **fixed
        )
        self.vectors = self.add_weight(
            name="vectors", shape=(self.num_words + 1, self.dim), **fixed
        )
        self.idf = self.add_weight(name="idf", shape=(self.num_words + 1,), **fixed)

    def set_words(
        self, words: Sequence[str], vectors: np.ndarray, *, idf: np.ndarray
    ) -> None:
        """Takes the vocabulary: V words, their [V, E] vectors and [V] IDF."""
        shapes = (len(set(words)), vectors.shape, np.shape(idf))
        expected = (self.num_words, (self.num_words, self.dim), (self.num_words,))
        if len(words) != self.num_words or shapes != expected:
            raise ValueError(
                "expected different words, [V, E] vectors and [V] idf, (V, [V, E], [V])"
                f" = {expected}, got {len(words)} words and {shapes}."
            )
        if not np.all(np.asarray(idf) > 0):
            raise ValueError(f"idf must be above 0, got {np.min(idf)}.")
        prints = _fingerprint(tf.constant(list(words), tf.string)).numpy()
        order = np.argsort(prints)
        most = max(np.max(idf, initial=0), 1e-6)
        self.prints.assign(prints[order])
        unknown = np.zeros((1, self.dim), np.float32)
        self.vectors.assign(np.concatenate([vectors[order], unknown]))
        self.idf.assign(np.append(np.asarray(idf)[order] / most, 1.0))

    def call(self, words: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Returns of [U] words float32: learned [U, word_dim], flags [U, 6] and more.

        Behind them their sketches [U, 256] and vectors [U, E], of unit length or zeros,
        the number of their n-grams [U, 1] and their value [U, 1], the logarithm of 1 +
        the number that they are. All is zeros for "".
        """
        prints = _fingerprint(words)
        # One row at least, for a vocabulary without a word.
        keys = tf.concat([self.prints, [tf.int64.max]], axis=0)
        at = tf.searchsorted(keys, prints)
        is_known = tf.gather(keys, at) == prints
        at = tf.where(is_known, at, self.num_words)
        is_there = tf.cast(words != "", tf.float32)[:, tf.newaxis]
        vectors = tf.gather(tf.convert_to_tensor(self.vectors), at)
        grams, sketches, size = self._of_letters(words)
        idf = tf.gather(tf.convert_to_tensor(self.idf), at)
        value = _values(words)
        flags = _flags(words, idf, tf.cast(is_known, tf.float32), value)
        unit = [tf.math.l2_normalize(one, axis=1) for one in (sketches, vectors)]
        learned = self.project(vectors) + grams
        found = (learned, flags, *unit, size, value[:, tf.newaxis])
        return tuple(one * is_there for one in found)

    def _of_letters(self, words: tf.Tensor) -> list[tf.Tensor]:
        """Returns of [U] words their n-grams' vectors and sketches, summed, and number.

        A sum of n is divided by the root of n; the number is [U, 1] float32.
        """
        marked = tf.strings.join(["<", words, ">"])
        letters = tf.strings.unicode_split(marked, "UTF-8")
        grams = tf.strings.ngrams(letters, _GRAM_LENGTHS, separator="")
        bucket = tf.strings.to_hash_bucket_fast(grams.values, self.buckets)
        rows, count = grams.value_rowids(), tf.size(words, tf.int64)
        each = tf.math.unsorted_segment_sum(
            tf.ones_like(bucket, tf.float32), rows, count
        )
        share = tf.gather(tf.math.rsqrt(tf.maximum(each, 1.0)), rows)[:, tf.newaxis]
        sums = [
            tf.math.unsorted_segment_sum(
                tf.gather(tf.convert_to_tensor(one), bucket) * share, rows, count
            )
            for one in (self.gram_vectors, self.sketches)
        ]
        return [*sums, each[:, tf.newaxis]]

    def get_config(self) -> dict:
        """Returns what rebuilds the layer; the words are among its weights."""
        own = {
            "num_words": self.num_words,
            "dim": self.dim,
            "word_dim": self.word_dim,
            "buckets": self.buckets,
        }
        return {**super().get_config(), **own}


@tf.keras.saving.register_keras_serializable(package="simprod")
class TitlePair(tf.keras.layers.Layer):
    """The words of two titles -> their representations and how alike they are."""

    def __init__(self, table: WordTable, **kw: object) -> None:
        super().__init__(**kw)
        self.table = table

    def call(self, titles: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns float32 of [B, W] and [B, V] words.

        `words` [B, W, D], `flags` [B, W, 6] and `there` [B, W] of the first, the same
        with `other_` of the second, and `likes` [B, W, V, 5] of each two words: equal,
        cosine of their n-grams, the share of the shorter's n-grams in the longer, how
        near they are as numbers, cosine of their vectors.
        """
        # A batch has each word many times: what is known of it is worked out once.
        flat = tf.concat([tf.reshape(one, [-1]) for one in titles], axis=0)
        different, row = tf.unique(flat)
        learned, flags, sketches, vectors, sizes, values = self.table(different)
        split = tf.split(row, [tf.size(one) for one in titles])
        rows = [tf.reshape(one, tf.shape(of)) for one, of in zip(split, titles)]
        found = {}
        for side, row, title in zip(("", "other_"), rows, titles):
            found[f"{side}words"] = tf.gather(learned, row)
            found[f"{side}flags"] = tf.gather(flags, row)
            found[f"{side}there"] = tf.cast(title != "", tf.float32)
        both = found["there"][:, :, tf.newaxis] * found["other_there"][:, tf.newaxis]
        likes = _likes(
            rows,
            sketches=[tf.gather(sketches, row) for row in rows],
            vectors=[tf.gather(vectors, row) for row in rows],
            sizes=[tf.gather(sizes, row) for row in rows],
            values=[tf.gather(values, row) for row in rows],
        )
        return {**found, "likes": likes * both[..., tf.newaxis]}

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        table = tf.keras.saving.serialize_keras_object(self.table)
        return {**super().get_config(), "table": table}

    @classmethod
    def from_config(cls, config: dict) -> TitlePair:
        """Rebuilds the layer."""
        table = tf.keras.saving.deserialize_keras_object(config.pop("table"))
        return cls(table, **config)


def _likes(
    rows: Sequence[tf.Tensor],
    *,
    sketches: Sequence[tf.Tensor],
    vectors: Sequence[tf.Tensor],
    sizes: Sequence[tf.Tensor],
    values: Sequence[tf.Tensor],
) -> tf.Tensor:
    """Returns [B, W, V, 5]; an argument is of two titles, [B, W, ...] and [B, V, ...].

    Args:
        rows: which word, for equality.
        sketches, vectors, sizes, values: as `WordTable` gives them; sizes are of
            n-grams.
    """
    equal = tf.cast(rows[0][:, :, tf.newaxis] == rows[1][:, tf.newaxis], tf.float32)
    cosine = tf.matmul(*sketches, transpose_b=True)
    size, other_size = sizes[0], tf.linalg.matrix_transpose(sizes[1])
    # |A and B| / min(|A|, |B|), of what |A and B| / sqrt(|A| |B|) is.
    longer = tf.maximum(size, other_size) / tf.maximum(
        tf.minimum(size, other_size), 1.0
    )
    within = tf.clip_by_value(cosine * tf.sqrt(longer), 0.0, 1.0)
    value, other_value = values[0], tf.linalg.matrix_transpose(values[1])
    both = tf.cast((value > 0) & (other_value > 0), tf.float32)
    # A tenth more is half as near: shops differ in their prices by so much.
    near = both * tf.maximum(1 - 5 * tf.abs(value - other_value), 0.0)
    meaning = tf.matmul(*vectors, transpose_b=True)
    return tf.stack([equal, cosine, within, near, meaning], axis=3)


def _values(words: tf.Tensor) -> tf.Tensor:
    """Returns [U] float32 log(1 + number) of words that are a number, 0 of others."""
    is_number = tf.strings.regex_full_match(words, r"[0-9]{1,9}(\.[0-9]{1,9})?")
    return tf.math.log1p(tf.strings.to_number(tf.where(is_number, words, "0")))


def _flags(
    words: tf.Tensor, idf: tf.Tensor, is_known: tf.Tensor, value: tf.Tensor
) -> tf.Tensor:
    """Returns [U, 6] float32 of [U] words.

    IDF, is a number, has digits and letters, length, is in the vocabulary, value.
    """
    has_digit = tf.strings.regex_full_match(words, r".*\d.*")
    has_other = tf.strings.regex_full_match(words, r".*[^\d.].*")
    length = tf.cast(tf.strings.length(words), tf.float32) / 10
    flags = [
        idf,
        tf.cast(has_digit & ~has_other, tf.float32),
        tf.cast(has_digit & has_other, tf.float32),
        tf.minimum(length, 1.5),
        is_known,
        value / 10,
    ]
    return tf.stack(flags, axis=1)


def _fingerprint(words: tf.Tensor) -> tf.Tensor:
    """Returns [N] int64; that two of a million words share one has odds of 1e-7."""
    return tf.strings.to_hash_bucket_fast(words, 2**63 - 1)
