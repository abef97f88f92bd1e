"""The words of two titles -> the log-odds that both are of one product.

Each word looks for its like in the other title (attend), is set beside what it found
(compare), and the title's words are added up (aggregate): the decomposable attention
of Parikh et al. 2016, https://arxiv.org/abs/1606.01933. Unlike there, alikeness is not
learned alone: two words have five fixed ones, as no training set is large enough to
teach that model numbers must be equal to the last letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from simprod_tf.model.word_table import TitlePair, WordTable

# What `TitlePair` tells of two words; at first a word attends to its equal, then to
# its like.
_LIKE_WEIGHTS = (8.0, 6.0, 1.0, 3.0, 3.0)
_QUERY_DIM = 32
# Words behind the 32nd, twice this, are as good as those of a description.
_NEAR_START = 16
# Sums over a title's words are about 1.
_SCALE = 5
# Far below any score: a padding word is never found.
_NEVER = -1e4


@dataclass(frozen=True)
class CrossAttentionSettings:
    """Sizes of the model.

    Attributes:
        word_dim: Of a word's learned vector.
        hidden_units: Of each layer that compares and decides.
        buckets: Of the hashed character n-grams.
        dropout: Share of the units left out in training.
    """

    word_dim: int = 48
    hidden_units: int = 64
    buckets: int = 8192
    dropout: float = 0.2

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("word_dim", "hidden_units", "buckets"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}."
                )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}.")


def build_cross_attention(
    words: Sequence[str],
    vectors: np.ndarray,
    *,
    idf: np.ndarray,
    settings: CrossAttentionSettings | None = None,
) -> tf.keras.Model:
    """Returns the model of `words` and `other_words`, to `logit` [B, 1] float32.

    Both inputs are [B, W] string, "" behind a title's last word; each has its own W.
    The logit is the same when they are swapped.

    Args:
        words: The V words that have a vector, each once.
        vectors: [V, E] float32 of theirs, not trained.
        idf: [V] inverse document frequencies, above 0; a word not among them counts as
            the rarest.
        settings: See there.
    """
    sizes = settings or CrossAttentionSettings()
    ends = [
        tf.keras.Input((None,), dtype=tf.string, name=name)
        for name in ("words", "other_words")
    ]
    table = WordTable(
        len(words), vectors.shape[1], sizes.word_dim, buckets=sizes.buckets
    )
    comparison = TitleComparison(sizes.hidden_units, dropout=sizes.dropout)
    head = [
        tf.keras.layers.Dense(sizes.hidden_units, activation="relu", name="hidden"),
        tf.keras.layers.Dropout(sizes.dropout, name="dropout"),
        tf.keras.layers.Dense(1, name="logit"),
    ]
    found = comparison(TitlePair(table, name="title_pair")(ends))
    for layer in head:
        found = layer(found)
    table.set_words(words, vectors, idf=idf)
    return tf.keras.Model(ends, found, name="cross_attention")


@tf.keras.saving.register_keras_serializable(package="simprod")
class TitleComparison(tf.keras.layers.Layer):
    """What `TitlePair` gives -> one vector of the pair, [B, F] float32.

    The same for both orders of the titles: it holds sums and distances of the two
    sides, and the lower and the higher of what they count.
    """

    def __init__(self, units: int, *, dropout: float, **kw: object) -> None:
        super().__init__(**kw)
        self.units, self.dropout = units, dropout
        dense, drop = tf.keras.layers.Dense, tf.keras.layers.Dropout
        self.word = dense(units, activation="tanh", name="word")
        self.drop_word = drop(dropout, name="drop_word")
        self.query = dense(_QUERY_DIM, use_bias=False, name="query")
        self.compare = tf.keras.Sequential(
            [
                dense(units, activation="relu", name="first"),
                drop(dropout, name="drop_first"),
                dense(units, activation="relu", name="second"),
                drop(dropout, name="drop_second"),
            ],
            name="compare",
        )
        self.gate = dense(1, activation="sigmoid", name="gate")
        self.like_weights = self.add_weight(
            name="like_weights", shape=(len(_LIKE_WEIGHTS),), initializer="ones"
        )
        self.like_weights.assign(_LIKE_WEIGHTS)

    def call(self, pair: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns [B, F] float32."""
        sides = ("", "other_")
        flags = [pair[f"{side}flags"] for side in sides]
        there = [pair[f"{side}there"][:, :, tf.newaxis] for side in sides]
        words = [
            self._with_flags(pair[f"{side}words"], flags[row])
            for row, side in enumerate(sides)
        ]
        likes, queries = pair["likes"], [self.query(one) for one in words]
        score = tf.matmul(*queries, transpose_b=True) / _QUERY_DIM**0.5
        score += tf.linalg.matvec(likes, self.like_weights)
        found, counts = [], []
        for own, other in ((0, 1), (1, 0)):
            aligned, closest, aligned_likes = _attend(
                score, likes, words[other], there[other]
            )
            beside = [closest, aligned_likes, flags[own]]
            x = self._compared(words[own], aligned, beside, there[own])
            found.append(_added_up(x, self.gate(x), flags[own], there[own]))
            counts.append(_counts(flags[own], there[own], closest))
            # The other title's view of the same.
            score = tf.linalg.matrix_transpose(score)
            likes = tf.transpose(likes, [0, 2, 1, 3])
        both = [found[0] + found[1], tf.abs(found[0] - found[1])]
        return tf.concat([*both, tf.minimum(*counts), tf.maximum(*counts)], axis=1)

    def _with_flags(self, words: tf.Tensor, flags: tf.Tensor) -> tf.Tensor:
        """Returns [B, W, units + 6]."""
        learned = self.word(tf.concat([words, flags], axis=2))
        return tf.concat([self.drop_word(learned), flags], axis=2)

    def _compared(
        self,
        words: tf.Tensor,
        aligned: tf.Tensor,
        beside: Sequence[tf.Tensor],
        there: tf.Tensor,
    ) -> tf.Tensor:
        """Returns [B, W, units]: each word set beside what it found, 0 for padding."""
        place = tf.cast(tf.range(tf.shape(words)[1]), tf.float32) / _NEAR_START
        place = tf.minimum(place, 2.0)[tf.newaxis, :, tf.newaxis] * there
        apart, product = tf.abs(words - aligned), words * aligned
        x = tf.concat([words, aligned, apart, product, *beside, place], axis=2)
        return self.compare(x) * there

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "units": self.units, "dropout": self.dropout}


def _attend(
    score: tf.Tensor, likes: tf.Tensor, words: tf.Tensor, there: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns what each word finds in the other title.

    Args:
        score: [B, W, V] float32, how much word w attends to word v.
        likes: [B, W, V, 5].
        words: [B, V, D] of the other title.
        there: [B, V, 1], 0 for padding.

    Returns:
        The mean word attended to, [B, W, D], and the likes [B, W, 5] of the closest
        word, each by itself, and of the words attended to.
    """
    score += tf.linalg.matrix_transpose((1 - there) * _NEVER)
    share = tf.nn.softmax(score, axis=2)
    attended = tf.reduce_sum(share[..., tf.newaxis] * likes, axis=2)
    return tf.matmul(share, words), tf.reduce_max(likes, axis=2), attended


def _added_up(
    x: tf.Tensor, gate: tf.Tensor, flags: tf.Tensor, there: tf.Tensor
) -> tf.Tensor:
    """Returns [B, 3 units]: sum by the gate, mean by IDF, and highest of [B, W, units].

    A sum tells two missing words from one, a mean does not grow with the title.
    """
    idf = flags[:, :, :1] * there
    mean = tf.reduce_sum(x * idf, axis=1) / (tf.reduce_sum(idf, axis=1) + 1e-6)
    total = tf.reduce_sum(x * gate, axis=1) / _SCALE
    return tf.concat([total, mean, tf.reduce_max(x, axis=1)], axis=1)


def _counts(flags: tf.Tensor, there: tf.Tensor, closest: tf.Tensor) -> tf.Tensor:
    """Returns [B, 16]: of all words, numbers, model numbers and the rest, by IDF.

    The share that stands in the other title, the share that has its like there, what
    has none, and how much there is.
    """
    number, mixed = flags[:, :, 1:2], flags[:, :, 2:3]
    kinds = tf.concat([there, number, mixed, there - number - mixed], axis=2)
    weight = kinds * flags[:, :, :1]
    total = tf.reduce_sum(weight, axis=1)
    equal, alike = closest[..., :1], closest[..., 1:2]
    # Against a share of 1 from one common word.
    shares = [
        tf.reduce_sum(weight * one, axis=1) / (total + 0.3) for one in (equal, alike)
    ]
    missing = tf.reduce_sum(weight * (1 - alike), axis=1)
    return tf.concat([*shares, missing / _SCALE, total / _SCALE], axis=1)
