"""Lists of different lengths, one a product, and what lists have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Ragged:
    """One list of whole numbers a product, all in one array.

    Attributes:
        starts: [P + 1] int64, where each product's list begins in `values`.
        values: [T] int32, list after list.
    """

    starts: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> Ragged:
        """Returns the lists in this form."""
        starts = np.zeros(len(lists) + 1, np.int64)
        np.cumsum([len(one) for one in lists], out=starts[1:])
        flat = (value for one in lists for value in one)
        return cls(starts, np.fromiter(flat, np.int32, int(starts[-1])))

    @property
    def counts(self) -> np.ndarray:
        """[P] int64, the lengths of the lists."""
        return np.diff(self.starts)

    def sums(self, weights: np.ndarray) -> np.ndarray:
        """Returns [P] float64: the sum of each list's `weights` [T]."""
        lines = np.repeat(np.arange(len(self.starts) - 1), self.counts)
        return np.bincount(lines, weights, minlength=len(self.starts) - 1)

    def take(self, rows: np.ndarray) -> Taken:
        """Returns the lists of these rows, one after another."""
        begins = self.starts[rows]
        counts = self.starts[rows + 1] - begins
        lines = np.repeat(np.arange(len(rows)), counts)
        before = np.cumsum(counts) - counts
        places = np.arange(len(lines)) + np.repeat(begins - before, counts)
        return Taken(len(rows), lines, self.values[places], places)


@dataclass(frozen=True, eq=False)
class Taken:
    """Lists of some rows: entry by entry its line (which of the rows) and value.

    Attributes:
        size: how many rows were taken.
        lines: [M] int64, ascending.
        values: [M] int32, as in the `Ragged`.
        places: [M] int64, where the entries stand in the `Ragged`.
    """

    size: int
    lines: np.ndarray
    values: np.ndarray
    places: np.ndarray

    def among(self, *others: Taken, span: int) -> np.ndarray:
        """Returns [M] bool: which entries the same line of any of the others holds.

        Values are from 0 to `span` - 1, and ascend within a line of `others`.
        """
        found = np.zeros(len(self.values), bool)
        wanted = self.lines * span + self.values
        for other in others:
            held = other.lines * span + other.values
            if len(held):
                near = np.minimum(np.searchsorted(held, wanted), len(held) - 1)
                found |= held[near] == wanted
        return found

    def where(self, keep: np.ndarray) -> Taken:
        """Returns some entries in their order: [M] bool, or ascending [N] int64."""
        lists = self.lines[keep], self.values[keep], self.places[keep]
        return Taken(self.size, *lists)

    def count(self, which: np.ndarray | None = None) -> np.ndarray:
        """Returns [size] float64: how many entries, or of those that are `which`."""
        lines = self.lines if which is None else self.lines[which]
        return np.bincount(lines, minlength=self.size).astype(np.float64)

    def sum(self, weights: np.ndarray) -> np.ndarray:
        """Returns [size] float64: each line's sum of `weights` [M]."""
        return np.bincount(self.lines, weights, minlength=self.size)

    def max(self, weights: np.ndarray) -> np.ndarray:
        """Returns [size] float64: each line's largest weight, 0 for an empty one."""
        most = np.zeros(self.size)
        if len(self.lines):
            begins = np.flatnonzero(np.diff(self.lines, prepend=-1))
            most[self.lines[begins]] = np.maximum.reduceat(weights, begins)
        return most


def crossed(
    one: Taken,
    two: Taken,
    *,
    keep_one: np.ndarray | None = None,
    keep_two: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (entries of one, entries of two), [C] int64: all two of the same line.

    Args:
        one: M entries.
        two: N entries of as many lines.
        keep_one: [M] bool, which are looked at; all without it.
        keep_two: [N] bool, likewise.
    """
    left = np.arange(len(one.lines)) if keep_one is None else np.flatnonzero(keep_one)
    right = np.arange(len(two.lines)) if keep_two is None else np.flatnonzero(keep_two)
    widths = np.bincount(two.lines[right], minlength=two.size)
    begins = np.cumsum(widths) - widths
    counts = widths[one.lines[left]]
    which = np.repeat(np.arange(len(left)), counts)
    within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    return left[which], right[begins[one.lines[left]][which] + within]
