"""Titles -> tokens -> word ids, in stock TensorFlow ops: the only tokeniser there is.

It is used when word vectors are trained, in tf.data and inside the exported graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

MAX_WORDS = 48

_UNITS = (
    "ml|cl|dl|l|liter|litre|g|kg|mg|oz|lb|mm|cm|m|in|inch|ft|kb|mb|gb|tb|hz|mhz|ghz|"
    "w|kw|v|mah|pcs|pc|pack|x"
)

# In this order; RE2 syntax.
_REWRITES = (
    # A decimal comma is a decimal point: 0,35 l = 0.35 l.
    (r"(\d),(\d)", r"\1.\2"),
    # Letters, digits, marks on letters; points and hyphens only inside a word.
    (r"[^\p{L}\p{M}\p{N}.\-]+", " "),
    (r"(^|\s)[.\-]+", " "),
    (r"[.\-]+(\s|$)", " "),
    # A number and its unit are one word: 350 ml = 350ml.
    (rf"\b(\d+(?:\.\d+)?) ({_UNITS})\b", r"\1\2"),
)


def tokenize(titles: tf.Tensor) -> tf.RaggedTensor:
    """Returns [B, (words)] lower-case words of [B] UTF-8 titles."""
    text = tf.strings.lower(titles, encoding="utf-8")
    for pattern, replacement in _REWRITES:
        text = tf.strings.regex_replace(text, pattern, replacement)
    return tf.strings.split(text)


def title_words(titles: Sequence[str], *, batch_size: int = 4096) -> list[list[str]]:
    """Returns each title's words, by `tokenize`."""
    words: list[list[str]] = []
    for start in range(0, len(titles), batch_size):
        batch = [str(title) for title in titles[start : start + batch_size]]
        tokens = tokenize(tf.constant(batch, tf.string)).to_list()
        words += [[word.decode("utf-8") for word in title] for title in tokens]
    return words


class WordIds(tf.Module):
    """Titles -> word ids: 0 is padding, word `vocabulary[i]` has id i + 1.

    Words outside the vocabulary are left out, so a title of unknown words alone counts
    as missing.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        """Builds the look-up table of a vocabulary without repeats."""
        super().__init__(name="word_ids")
        self.vocabulary = tuple(vocabulary)
        # A table needs an entry; no token holds a space, so this one is never met.
        words = list(self.vocabulary) or [" "]
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(words, tf.string),
                tf.range(1, len(words) + 1, dtype=tf.int64),
            ),
            default_value=0,
        )

    def __call__(self, titles: tf.Tensor) -> tf.Tensor:
        """Returns [B, MAX_WORDS] int32 word ids of [B] titles."""
        ids = tf.ragged.map_flat_values(self._table.lookup, tokenize(titles))
        known = tf.ragged.boolean_mask(ids, ids > 0)
        return tf.cast(known.to_tensor(0, shape=[None, MAX_WORDS]), tf.int32)
