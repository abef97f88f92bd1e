"""Unicode NFKC and case folding of titles, in stock TensorFlow ops.

TensorFlow has no op for it. The tables come from Python's `unicodedata` at first use
and are constants of the graph, so an export folds as the Python that made it did.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# From here on nothing is a combining mark or changed by NFKC or case folding; the CJK
# compatibility ideographs end just below.
END = 0x2FA20

# It folds to a letter, iota, but is still ordered as the mark that it is.
IOTA_BELOW, IOTA = "\u0345", "\u03b9"

_PAGE = 256


class _Cells(NamedTuple):
    """One int32 per code point: those of equal pages of 256 are stored once."""

    pages: np.ndarray
    cells: np.ndarray

    def of(self, points: tf.Tensor) -> tf.Tensor:
        """Returns [N] int32 of [N] int32 code points."""
        page = tf.gather(self.pages, points // _PAGE)
        return tf.gather(self.cells, page * _PAGE + points % _PAGE)


class _Sequences(NamedTuple):
    """Some code points each by one or more: that of entry e is values[starts[e] : ...].

    Entry 0, of length 1, stands for the code point itself.
    """

    entry: _Cells
    starts: np.ndarray
    values: np.ndarray

    def of(self, points: tf.RaggedTensor) -> tf.RaggedTensor:
        """Returns [B, (N)] int32 code points, replaced, of such."""
        entry = self.entry.of(points.values)
        spans = tf.ragged.range(
            tf.gather(self.starts, entry), tf.gather(self.starts, entry + 1)
        )
        source = spans.value_rowids()
        values = tf.where(
            tf.gather(entry, source) == 0,
            tf.gather(points.values, source),
            tf.gather(self.values, spans.values),
        )
        splits = tf.gather(spans.row_splits, points.row_splits)
        return tf.RaggedTensor.from_row_splits(values, splits, validate=False)


class _Tables(NamedTuple):
    """Everything that folding asks about code points.

    Attributes:
        folded: What a code point alone folds to.
        parts: The same in full decomposition, U+0345 left as it is.
        joins: 1 where what it folds to may depend on what stands before it.
        rank: Canonical combining class; 0 is no mark.
        pairs: [P] int64, rising: first << 32 | second of each pair that composes.
        composed: [P] int32, to what.
    """

    folded: _Sequences
    parts: _Sequences
    joins: _Cells
    rank: _Cells
    pairs: np.ndarray
    composed: np.ndarray


def fold(titles: tf.Tensor, *, blanks: str = "") -> tf.Tensor:
    """Returns [B] NFKC, case-folded UTF-8 of [B] titles.

    It equals `nfkc(nfkc(title).casefold())` of `unicodedata`, and folding again changes
    nothing. Two exceptions: behind a mark that does not compose with its letter, U+0345
    (the Greek iota below) folds to an iota where it stands, as in Unicode's definition
    D146, not in front of that mark; the 66 noncharacters become U+FFFD, as do bytes
    that are not UTF-8. Each of the non-ASCII characters `blanks` is a space beforehand.
    """
    # Of an ASCII title all there is to do; the rest may as well have it done.
    lower = tf.strings.lower(titles)
    others = tf.where(~tf.strings.regex_full_match(titles, r"[\x00-\x7f]*"))
    return tf.cond(
        tf.size(others) > 0,
        lambda: tf.tensor_scatter_nd_update(
            lower, others, _fold_points(_blanked(tf.gather_nd(lower, others), blanks))
        ),
        lambda: lower,
    )


def _blanked(titles: tf.Tensor, blanks: str) -> tf.Tensor:
    return tf.strings.regex_replace(titles, f"[{blanks}]", " ") if blanks else titles


# Not inlined: a branch not taken would still cost a little for each of its ops.
@tf.function(
    input_signature=[tf.TensorSpec([None], tf.string)],
    experimental_attributes={"_noinline": True},
)
def _fold_points(titles: tf.Tensor) -> tf.Tensor:
    """Returns [B] folded titles, each not empty: code point by code point if it can."""
    tables = _tables()
    points = tf.strings.unicode_decode(titles, "UTF-8", errors="replace")
    points = points.with_row_splits_dtype(tf.int64)
    simple = tf.strings.unicode_encode(tables.folded.of(points), "UTF-8")
    joins = points.with_values(tables.joins.of(points.values))
    others = tf.where(tf.reduce_max(joins, axis=1) > 0)
    return tf.cond(
        tf.size(others) > 0,
        lambda: tf.tensor_scatter_nd_update(
            simple,
            others,
            tf.strings.unicode_encode(
                _fold_sequences(tf.gather(points, others[:, 0])), "UTF-8"
            ),
        ),
        lambda: simple,
    )


def _fold_sequences(points: tf.RaggedTensor) -> tf.RaggedTensor:
    """Returns [B, (N)] folded code points: decomposed, ordered, composed."""
    parts = _tables().parts.of(points)
    ordered = _ordered(parts.values, parts.value_rowids())
    letters = tf.where(ordered == ord(IOTA_BELOW), ord(IOTA), ordered)
    points, rows = _composed(letters, parts.value_rowids())
    return tf.RaggedTensor.from_value_rowids(
        points, rows, nrows=parts.nrows(), validate=False
    )


def _starts(rows: tf.Tensor) -> tf.Tensor:
    """Returns [N] bool, where a title starts, of [N] rising row numbers."""
    return tf.concat([[True], rows[1:] != rows[:-1]], axis=0)


def _ordered(points: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Returns [N] code points, the marks of each run by rising combining class."""
    rank = _tables().rank.of(points)
    run = tf.cumsum(tf.cast((rank == 0) | _starts(rows), tf.int64))
    key = run * 256 + tf.cast(rank, tf.int64)
    return tf.gather(points, tf.argsort(key, stable=True))


def _composed(points: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns [M] code points and rows: of [N] ordered ones, canonically composed.

    Each pass lets every base take the first later code point that composes with it:
    few passes, however many marks there are.
    """
    tried = tf.zeros_like(points, tf.bool)
    state = (points, rows, tried, tf.constant(True))
    points, rows, _, _ = tf.while_loop(
        lambda points, rows, tried, more: more,
        _compose_once,
        state,
        shape_invariants=(*[tf.TensorShape([None])] * 3, tf.TensorShape([])),
    )
    return points, rows


def _compose_once(
    points: tf.Tensor, rows: tf.Tensor, tried: tf.Tensor, more: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the state after one pass; `tried` has passed by a base that composed."""
    place = tf.range(tf.size(points))
    before = tf.maximum(place - 1, 0)
    rank = _tables().rank.of(points)
    first = _starts(rows)
    opens = (rank == 0) | first
    opening = tf.cast(tf.where(opens)[:, 0], tf.int32)
    # A mark's base opens its run; a letter's is the letter right before it.
    base = tf.where(
        opens, before, tf.gather(opening, tf.cumsum(tf.cast(opens, tf.int32)) - 1)
    )
    free = (base == before) | (tf.gather(rank, before) < rank)
    free &= (tf.gather(rank, base) == 0) & ~first & ~tried
    whole = _pair(tf.gather(points, base), points)
    fits = free & (whole > 0)
    nearest = tf.math.unsorted_segment_min(
        tf.where(fits, place, tf.size(points)), base, tf.size(points)
    )
    # Of a chain of letters the left pair goes first.
    takes = fits & (tf.gather(nearest, base) == place) & ~tf.gather(fits, base)
    taken = tf.where(takes)
    points = tf.tensor_scatter_nd_update(
        points, tf.gather_nd(base, taken)[:, tf.newaxis], tf.gather_nd(whole, taken)
    )
    last = tf.math.unsorted_segment_max(
        tf.where(takes, place, -1), base, tf.size(points)
    )
    tried |= place <= tf.gather(last, base)
    kept = ~takes
    points, rows, tried = (tf.boolean_mask(x, kept) for x in (points, rows, tried))
    return points, rows, tried, tf.size(taken) > 0


def _pair(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns [N] int32: to what each pair composes, 0 where it does not."""
    tables = _tables()
    key = tf.cast(first, tf.int64) * 2**32 + tf.cast(second, tf.int64)
    at = tf.minimum(tf.searchsorted(tables.pairs, key), len(tables.pairs) - 1)
    found = tf.gather(tables.pairs, at) == key
    return tf.where(found, tf.gather(tables.composed, at), 0)


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    # From 128: the titles come with their ASCII letters lower-case.
    points = range(128, END)
    letters = "\n".join(map(chr, points))
    parts = _decomposed(letters)
    folded = unicodedata.normalize("NFKC", parts.replace(IOTA_BELOW, IOTA))
    rank = np.zeros(END, np.int32)
    rank[128:] = [unicodedata.combining(chr(point)) for point in points]
    pairs = _compositions(letters)
    joining = {second for _, second in pairs} | set(np.flatnonzero(rank).tolist())
    joins = np.zeros(END, np.int32)
    joins[128:] = [ord(part[0]) in joining for part in parts.split("\n")]
    keys = [first << 32 | second for first, second in pairs]
    order = np.argsort(keys)
    return _Tables(
        folded=_sequences(letters, folded),
        parts=_sequences(letters, parts),
        joins=_cells(joins),
        rank=_cells(rank),
        pairs=np.asarray(keys, np.int64)[order],
        composed=np.asarray(list(pairs.values()), np.int32)[order],
    )


# Below, `letters` and what comes of them are one string, a line for each: `unicodedata`
# takes a tenth of the time for it, and nothing moves past a line end or becomes one.


def _decomposed(letters: str) -> str:
    """Returns NFKD, case-folded, U+0345 left as it is."""
    pieces = unicodedata.normalize("NFKD", letters).split(IOTA_BELOW)
    folded = IOTA_BELOW.join(piece.casefold() for piece in pieces)
    return unicodedata.normalize("NFKD", folded)


def _compositions(letters: str) -> dict[tuple[int, int], int]:
    """Returns (first, second) -> the code point that they compose to."""
    nfd = unicodedata.normalize("NFD", letters).split("\n")
    nfc = unicodedata.normalize("NFC", letters).split("\n")
    pairs = {}
    # What NFD splits and NFC keeps; other code points never come of composition.
    for letter, split, kept in zip(letters.split("\n"), nfd, nfc):
        if kept == letter != split:
            first = unicodedata.normalize("NFC", split[:-1])
            pairs[ord(first), ord(split[-1])] = ord(letter)
    return pairs


def _sequences(letters: str, texts: str) -> _Sequences:
    lines = zip(letters.split("\n"), texts.split("\n"))
    changed = [(letter, text) for letter, text in lines if text != letter]
    entry = np.zeros(END, np.int32)
    entry[[ord(letter) for letter, _ in changed]] = np.arange(1, len(changed) + 1)
    lengths = [1, *(len(text) for _, text in changed)]
    values = [0, *(ord(c) for _, text in changed for c in text)]
    return _Sequences(
        _cells(entry),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        np.asarray(values, np.int32),
    )


def _cells(values: np.ndarray) -> _Cells:
    """Returns [END] int32 values as pages; from END on they are 0."""
    every = np.zeros(0x110000, np.int32)
    every[: len(values)] = values
    numbers: dict[bytes, int] = {}
    pages = [
        numbers.setdefault(page.tobytes(), len(numbers))
        for page in every.reshape(-1, _PAGE)
    ]
    return _Cells(
        np.asarray(pages, np.int32), np.frombuffer(b"".join(numbers), np.int32)
    )
