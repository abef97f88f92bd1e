"""Titles -> tokens -> word ids, in stock TensorFlow ops: the only tokeniser there is.

It is used when word vectors are trained, in tf.data and inside the exported graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from simprod_tf.features.unicode import fold

# Ids kept of one title: guards memory against a title that is a book.
MAX_IDS = 256

# What becomes of a word outside the vocabulary.
DROP, HASH, NGRAMS = "drop", "hash", "ngrams"

# Lengths of a word's character n-grams, its ends marked.
NGRAM_LENGTHS = (3, 4, 5)

# A folded title has no ASCII capitals, so no word of it is this.
_TITLE_END = "TITLEEND"
_TITLE_END_ID = -1

# One letter may as well be a part of a model number: A-10-M. Inches: see below.
_SHORT_UNITS = "l|g|m|v|w|x"
_UNITS = (
    "ml|cl|dl|ltr|liters?|litres?|kg|mg|mcg|grams?|oz|lbs?|mm|cm|km|ft|yd|"
    "kb|mb|gb|tb|mbps|gbps|hz|khz|mhz|ghz|mw|kw|kwh|wh|watts?|mv|kv|volts?|ma|ah|mah|"
    "btu|rpm|dpi|db|mp|pcs?|pk|ct|pack|count|piece"
)

# NFKC would make trade and service mark a part of the word: boschtm.
_BLANKS = "\u2122\u2120"

_WORD = r"\p{L}\p{M}\p{N}"
# Marks by category, but they only choose a picture: an emoji's, say.
_SELECTORS = r"\x{fe00}-\x{fe0f}"

# In this order, on the titles of a batch as one text with spaces at both ends: a call
# of RE2 for each title would take as long again. RE2 cannot look ahead.
_REWRITES = (
    # A decimal comma is a decimal point: 0,35 l = 0.35 l.
    (r"(\d),(\d)", r"\1.\2"),
    # 15.6" = 15.6-inch = 15.6 in = 15.6in, but 3 in 1 is no length.
    (
        r"(\d)(?: ?(?:[\"”]|''|′′|’’)|"
        rf"[ -]?inch(?:es)?([^{_WORD}])|[ -]in([^{_WORD}\-][^\d]))",
        r"\1in \2\3",
    ),
    # Words are letters, digits, marks on letters, and single . - / in between.
    (
        rf"(?:[^{_WORD}]|[{_SELECTORS}]){{2,}}|[^{_WORD}.\-/ ]|[{_SELECTORS}]",
        " ",
    ),
    # A number and its unit are one word: 350 ml = 350-ml = 350ml.
    (rf"\b(\d+(?:\.\d+)?)(?:[ -]({_UNITS})| ({_SHORT_UNITS})) ", r"\1\2\3 "),
    # XTA-3510-73GB is a word, then xta, 3510 and 73gb; \7 is the rest, unsplit.
    (
        r"([^ \-/]+)[\-/]([^ \-/]+)"
        + r"(?:[\-/]([^ \-/]+))?" * 4
        + r"(?:[\-/]([^ ]+))?",
        r"\0 \1 \2 \3 \4 \5 \6 \7",
    ),
)


def tokenize(titles: tf.Tensor) -> tf.RaggedTensor:
    """Returns [B, (words)] string, the words of [B] UTF-8 titles, folded.

    A word joined by hyphens or slashes is followed by its parts: t-shirt, t, shirt.
    """
    tokens = _tokens(titles)
    ends = tokens == _TITLE_END
    return _kept(tokens, _row_splits(ends, titles), keep=~ends)


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

    Words outside the vocabulary of V words, by `unknown`:
        DROP: are left out.
        HASH: have one id each, V + 1 + their bucket.
        NGRAMS: have the ids of their character n-grams of 3 to 5, their ends marked by
            < and >, each V + 1 + its bucket, behind the title's known words: fastText's
            subwords (Bojanowski et al. 2017, https://arxiv.org/abs/1607.04606).

    A bucket is a fingerprint (FarmHash) modulo their number: the same everywhere.
    """

    def __init__(
        self, vocabulary: Sequence[str], *, unknown: str = DROP, buckets: int = 0
    ) -> None:
        """Builds the look-up table of a vocabulary without repeats."""
        super().__init__(name="word_ids")
        ways = {DROP: self._known, HASH: self._hashed, NGRAMS: self._ngrams}
        if unknown not in ways:
            raise ValueError(f"unknown must be one of {list(ways)}, got {unknown!r}.")
        if (buckets > 0) != (unknown != DROP) or buckets < 0:
            raise ValueError(
                f"buckets must be 0 for {DROP!r}, at least 1 for {HASH!r} and "
                f"{NGRAMS!r}; got {buckets} for {unknown!r}."
            )
        if len(set(vocabulary)) < len(vocabulary):
            raise ValueError("a word stands in the vocabulary twice; give each once.")
        self.vocabulary = tuple(vocabulary)
        self.unknown, self.buckets = unknown, buckets
        self._ids = ways[unknown]
        ids = tf.range(1, len(vocabulary) + 1, dtype=tf.int64)
        # Of whole numbers, not strings: half the time and a fraction of the export.
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                _fingerprint(tf.constant([*self.vocabulary, _TITLE_END], tf.string)),
                tf.concat([ids, [_TITLE_END_ID]], axis=0),
            ),
            default_value=0,
        )

    def __call__(self, titles: tf.Tensor) -> tf.Tensor:
        """Returns [B, W] int32 word ids of [B] titles.

        W is the longest's number of ids, at least 1; what is over MAX_IDS is cut off.
        """
        tokens = _tokens(titles)
        found = self._table.lookup(_fingerprint(tokens))
        splits = _row_splits(found == _TITLE_END_ID, titles)
        return _padded(self._ids(tokens, found, splits))

    def of_words(self, words: tf.RaggedTensor) -> tf.Tensor:
        """Returns the same of titles' [B, (words)] words, as `tokenize` gives them."""
        found = self._table.lookup(_fingerprint(words.values))
        return _padded(self._ids(words.values, found, words.row_splits))

    def _known(
        self, tokens: tf.Tensor, found: tf.Tensor, splits: tf.Tensor
    ) -> tf.RaggedTensor:
        return _kept(found, splits, keep=found > 0)

    def _hashed(
        self, tokens: tf.Tensor, found: tf.Tensor, splits: tf.Tensor
    ) -> tf.RaggedTensor:
        ids = tf.where(found == 0, self._bucket_ids(tokens), found)
        return _kept(ids, splits, keep=ids > 0)

    def _ngrams(
        self, tokens: tf.Tensor, found: tf.Tensor, splits: tf.Tensor
    ) -> tf.RaggedTensor:
        words = _kept(tokens, splits, keep=found == 0)
        marked = tf.strings.join(["<", words.values, ">"])
        letters = tf.strings.unicode_split(marked, "UTF-8")
        grams = tf.strings.ngrams(letters, NGRAM_LENGTHS, separator="")
        ids = words.with_values(grams.with_values(self._bucket_ids(grams.values)))
        known = self._known(tokens, found, splits)
        return tf.concat([known, ids.merge_dims(1, 2)], axis=1)

    def _bucket_ids(self, texts: tf.Tensor) -> tf.Tensor:
        bucket = tf.strings.to_hash_bucket_fast(texts, self.buckets)
        return len(self.vocabulary) + 1 + bucket


def _tokens(titles: tf.Tensor) -> tf.Tensor:
    """Returns [N] string: the words of all titles, _TITLE_END between two titles."""
    folded = fold(titles, blanks=_BLANKS)
    text = tf.strings.reduce_join(folded, separator=f" {_TITLE_END} ")
    text = tf.strings.join(["  ", text, "  "])
    for pattern, replacement in _REWRITES:
        text = tf.strings.regex_replace(text, pattern, replacement)
    # The later StringSplitV2 takes twice the time.
    split = tf.raw_ops.StringSplit(input=[text], delimiter=" ", skip_empty=True)
    return split.values


def _row_splits(ends: tf.Tensor, titles: tf.Tensor) -> tf.Tensor:
    """Returns [B + 1] int64 row splits of [N] tokens, each end a token of its title."""
    inner = tf.where(ends)[:, 0] + 1
    splits = tf.concat([[0], inner, [tf.size(ends, tf.int64)]], axis=0)
    # No titles have no end: two splits, one too many.
    return splits[: tf.size(titles) + 1]


def _kept(values: tf.Tensor, splits: tf.Tensor, *, keep: tf.Tensor) -> tf.RaggedTensor:
    """Returns [B, (values)]: of [N] values and their row splits, those to keep."""
    before = tf.concat([[0], tf.cumsum(tf.cast(keep, tf.int64))], axis=0)
    return tf.RaggedTensor.from_row_splits(
        tf.boolean_mask(values, keep), tf.gather(before, splits), validate=False
    )


def _padded(ids: tf.RaggedTensor) -> tf.Tensor:
    """Returns [B, W] int32, 0 = padding, W at least 1 and at most MAX_IDS."""
    longest = tf.reduce_max(tf.concat([ids.row_lengths(), [1]], axis=0))
    shape = tf.stack([-1, tf.minimum(longest, MAX_IDS)])
    return tf.cast(ids.to_tensor(0, shape=shape), tf.int32)


def _fingerprint(texts: tf.Tensor) -> tf.Tensor:
    """Returns [N] int64; that two of a million words share one has odds of 1e-7."""
    return tf.strings.to_hash_bucket_fast(texts, 2**63 - 1)
