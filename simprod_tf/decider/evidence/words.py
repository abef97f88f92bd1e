"""The words of a catalogue's products, each once, and what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simprod_tf.decider.evidence.vocabulary import Vocabulary

_FIRST_YEAR, _LAST_YEAR = 1980, 2035
# Numbers with more digits count something else than versions and sizes.
_LONGEST_VERSION = 4


@dataclass(frozen=True, eq=False)
class Words:
    """W words: tokens, compounds and codes; lists of products hold their places.

    Attributes:
        text: [W] str.
        idf: [W] float64.
        length: [W] int64, in characters.
        initial: [W] int64, the code point of the first character.
        number: [W] float64, what a word of digits says, NaN for others.
        has_digit: [W] bool.
        is_year: [W] bool, 1980 to 2035.
        is_version: [W] bool, other numbers of up to 4 characters.
    """

    text: np.ndarray
    idf: np.ndarray
    length: np.ndarray
    initial: np.ndarray
    number: np.ndarray
    has_digit: np.ndarray
    is_year: np.ndarray
    is_version: np.ndarray

    @classmethod
    def of(cls, words: Sequence[str], vocabulary: Vocabulary) -> Words:
        """Returns the words, none of which is empty, with what is known of them."""
        size = len(words)
        text = np.empty(size, object)
        text[:] = words
        number = np.fromiter(map(_number, words), np.float64, size)
        length = np.fromiter(map(len, words), np.int64, size)
        whole = number == np.floor(number)
        years = whole & (number >= _FIRST_YEAR) & (number <= _LAST_YEAR)
        years &= length == len(str(_LAST_YEAR))
        return cls(
            text=text,
            idf=vocabulary.idfs(words),
            length=length,
            initial=np.fromiter((ord(word[0]) for word in words), np.int64, size),
            number=number,
            has_digit=np.fromiter(map(_has_digit, words), bool, size),
            is_year=years,
            is_version=~np.isnan(number) & ~years & (length <= _LONGEST_VERSION),
        )

    def __len__(self) -> int:
        """Returns the number of words."""
        return len(self.text)


def _number(word: str) -> float:
    plain = word.isascii() and word.replace(".", "", 1).isdigit()
    return float(word) if plain else np.nan


def _has_digit(word: str) -> bool:
    return any(letter.isdigit() for letter in word)
