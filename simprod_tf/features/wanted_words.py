"""Which words of a file of word vectors are taken, and in which row each goes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


class WantedWords:
    """Which words of a file are taken, and under which name.

    Tokens are case-folded and files are not: a word of `keep` is found under the same
    spelling, else under the first (such files put frequent words first) whose case
    folds to it. The file's first `extra_words` words are wanted too, case-folded.
    Without `keep` all words are taken as they are; the first of a repeated word counts.

    Attributes:
        words: those found, in the order in which the file first has them.
    """

    def __init__(self, keep: Collection[str] | None, extra_words: int = 0) -> None:
        """Starts with no word found."""
        self.words: list[str] = []
        self._all = keep is None
        self._extra = extra_words
        self._rows = {word.encode(): -1 for word in keep or ()}
        self._exact: set[bytes] = set()

    def key(self, word: bytes) -> bytes | None:
        """Returns the name that the file's next word is wanted under, or None.

        Raises:
            UnicodeDecodeError: it is not UTF-8.
        """
        # Most words of a file end here and in the last lines: kept short for speed.
        folded = word.lower() if word.isascii() else word.decode().casefold().encode()
        if self._all:
            return word if word and word not in self._rows else None
        if self._extra > 0:
            self._extra -= 1
            if folded:
                self._rows.setdefault(folded, -1)
        if word in self._rows and word not in self._exact:
            return word
        return folded if self._rows.get(folded) == -1 else None

    def place(self, key: bytes, word: bytes) -> int:
        """Returns the row for the vector of `word`: a new one, or one to overwrite."""
        if key == word:
            self._exact.add(key)
        row = self._rows.get(key, -1)
        if row == -1:
            row = self._rows[key] = len(self.words)
            self.words.append(key.decode())
        return row

    def missing(self) -> list[str]:
        """Returns the wanted words that were not found, sorted."""
        return sorted(key.decode() for key, row in self._rows.items() if row == -1)


def put(data: Any, row: int, content: Any) -> None:
    """Writes row `row`, at most one past the last, of rows as long as `content`."""
    start = row * len(content)
    data[start : start + len(content)] = content
