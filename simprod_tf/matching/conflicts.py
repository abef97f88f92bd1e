"""Which pairs of products state different traits: another size, pack, model or brand.

A conflict needs both to state the trait, and nothing of it to be the same. It is a
hint or a veto for pairs that an encoder finds alike: 400 g against 200 g of one thing.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass

import numpy as np

from simprod_tf.data.catalog import Product
from simprod_tf.matching.traits import KINDS, ONE_PIECE, product_traits

# Pairs, and comparisons of values, made together: bounds memory to some 50 MB.
_BLOCK = 1 << 18
# Products read between two reports: some 0.2 s.
_REPORT_EVERY = 2048
Progress = Callable[[int, int], None]
_BY_NUMBER = ("quantity", "pack")
_BY_PREFIX = ("model", "brand")
_LAST = "\U0010ffff"
# Row, value, and what else is the same: from low to high.
_Stated = list[tuple[int, "float | str", float, float]]


@dataclass(frozen=True)
class Conflict:
    """A trait that two products state differently, for people to read."""

    kind: str
    this: str
    that: str

    def __str__(self) -> str:
        """Returns "quantity: 400 g against 200 g"."""
        return f"{self.kind}: {self.this} against {self.that}"


@dataclass(frozen=True)
class Comparison:
    """A trait that two products both state, and whether they are in conflict."""

    kind: str
    this: str
    that: str
    differs: bool


@dataclass(frozen=True, eq=False)
class _Facet:
    """One kind's values, or one dimension's, of all products, sorted.

    Attributes:
        kind: one of `KINDS`.
        dimension: of quantities, else "".
        starts: [P + 1] int64, where each product's values begin in `values`.
        values: [T] int64, places in the sorted order of distinct values.
        lows, highs: [T] int64, the first place that is the same, and the one behind
            the last.
    """

    kind: str
    dimension: str
    starts: np.ndarray
    values: np.ndarray
    lows: np.ndarray
    highs: np.ndarray

    def states(self, row: int) -> bool:
        """Says whether the product in this row has any value."""
        return bool(self.starts[row] < self.starts[row + 1])

    def differ(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Returns [E] bool: both state it, and no value of one is one of the other."""
        counts = np.diff(self.starts)
        both = np.flatnonzero((counts[starts] > 0) & (counts[ends] > 0))
        differ = np.zeros(len(starts), bool)
        # Every value of one meets every value of the other: a few long titles may
        # be more than all the rest.
        done = np.cumsum(counts[starts[both]] * counts[ends[both]]) // _BLOCK
        for part in np.split(both, np.flatnonzero(np.diff(done)) + 1):
            if len(part):
                differ[part] = ~self._agree(starts[part], ends[part], counts)
        return differ

    def _agree(
        self, starts: np.ndarray, ends: np.ndarray, counts: np.ndarray
    ) -> np.ndarray:
        """Returns [E] bool, where both have values: whether any two are the same."""
        widths = counts[ends]
        sizes = counts[starts] * widths
        begins = np.cumsum(sizes) - sizes
        pair = np.repeat(np.arange(len(sizes)), sizes)
        place = np.arange(sizes.sum()) - begins[pair]
        one = self.starts[starts][pair] + place // widths[pair]
        two = self.starts[ends][pair] + place % widths[pair]
        same = (self.lows[one] <= self.values[two]) & (
            self.values[two] < self.highs[one]
        )
        same |= (self.lows[two] <= self.values[one]) & (
            self.values[one] < self.highs[two]
        )
        return np.logical_or.reduceat(same, begins)


class TraitTable:
    """The traits of a catalogue's products, ready to compare millions of pairs.

    Two quantities are the same within 1 %, or half a unit where it is a whole number
    of 10 and more; products conflict if any dimension that both state has none in
    common. Model numbers and brands are the same if one begins with the other:
    DSC-W120 and dscw120b, Sony and Sony Corp. Packs and conditions must be equal.
    """

    def __init__(
        self, products: Iterable[Product], *, progress: Progress | None = None
    ) -> None:
        """Takes the products of a catalogue, or of any iterable, in row order.

        Args:
            products: 100,000 of them take some 10 s.
            progress: called with (products read, products in all) now and then, where
                the number of the products is known.
        """
        total = len(products) if isinstance(products, Sized) else None
        stated: dict[tuple[str, str], _Stated] = {}
        row = -1
        for row, product in enumerate(products):
            for trait in product_traits(product):
                stated.setdefault((trait.kind, trait.dimension), []).append(
                    (row, trait.value, trait.low, trait.high)
                )
            read = row + 1
            if progress and total and (read % _REPORT_EVERY == 0 or read == total):
                progress(read, total)
        self._size = row + 1
        # Kinds in their order, so that conflicts are told in it.
        order = sorted(stated, key=lambda key: (KINDS.index(key[0]), key[1]))
        self._facets = [_facet(*key, stated[key], size=self._size) for key in order]

    def __len__(self) -> int:
        """Returns the number of products."""
        return self._size

    def counts(self) -> dict[str, int]:
        """Returns how many products state each kind."""
        states = {kind: np.zeros(self._size, bool) for kind in KINDS}
        for facet in self._facets:
            states[facet.kind] |= np.diff(facet.starts) > 0
        return {kind: int(rows.sum()) for kind, rows in states.items()}

    def conflicting(
        self, starts: np.ndarray, ends: np.ndarray, *, kinds: Sequence[str] = KINDS
    ) -> dict[str, np.ndarray]:
        """Returns for each kind [E] bool: whether the pair conflicts in it.

        Beside the answer, memory holds what a block of 262,144 pairs needs.

        Args:
            starts: [E] int64 rows.
            ends: [E] int64 rows.
            kinds: which of `KINDS` are looked at.

        Raises:
            ValueError: a kind is unknown, or the rows are not two arrays of one length.
        """
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown:
            raise ValueError(f"a kind is one of {KINDS}, got {unknown[0]!r}.")
        starts, ends = np.asarray(starts, np.int64), np.asarray(ends, np.int64)
        if starts.shape != ends.shape or starts.ndim != 1:
            raise ValueError(
                f"starts and ends must be [E] rows, got shapes {starts.shape} and "
                f"{ends.shape}."
            )
        found = {kind: np.zeros(len(starts), bool) for kind in kinds}
        for facet in self._facets:
            if facet.kind not in found:
                continue
            for begin in range(0, len(starts), _BLOCK):
                block = slice(begin, begin + _BLOCK)
                found[facet.kind][block] |= facet.differ(starts[block], ends[block])
        return found

    def compared(self, start: int, end: int) -> dict[tuple[str, str], bool]:
        """Returns whether two rows conflict, by (kind, dimension) that both state."""
        one, two = np.array([start]), np.array([end])
        return {
            (facet.kind, facet.dimension): bool(facet.differ(one, two)[0])
            for facet in self._facets
            if facet.states(start) and facet.states(end)
        }


def why(this: Product, that: Product) -> list[Conflict]:
    """Returns the conflicts of two products, in the order of `KINDS`."""
    return [
        Conflict(one.kind, one.this, one.that)
        for one in compare(this, that)
        if one.differs
    ]


def compare(this: Product, that: Product) -> list[Comparison]:
    """Returns what both products state, in the order of `KINDS`."""
    compared = TraitTable([this, that]).compared(0, 1)
    found = [
        Comparison(key[0], _texts(this, key), _texts(that, key), differs)
        for key, differs in compared.items()
    ]
    # That neither states a count is no finding.
    return [one for one in found if {one.this, one.that} != {ONE_PIECE}]


def _texts(product: Product, key: tuple[str, str]) -> str:
    traits = product_traits(product)
    return ", ".join(t.text for t in traits if (t.kind, t.dimension) == key)


def _facet(kind: str, dimension: str, stated: _Stated, *, size: int) -> _Facet:
    """Sorts one facet's values; they come row by row."""
    rows, texts, lows, highs = zip(*stated)
    starts = np.zeros(size + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=size), out=starts[1:])
    order = sorted(set(texts))
    if kind in _BY_NUMBER:
        numbers = np.array(order, np.float64)
        first = np.searchsorted(numbers, lows, "left")
        behind = np.searchsorted(numbers, highs, "right")
        places = np.searchsorted(numbers, np.array(texts, np.float64))
        return _Facet(kind, dimension, starts, places, first, behind)
    # A prefix sorts right before all that begins with it.
    end = _LAST if kind in _BY_PREFIX else ""
    where = {text: place for place, text in enumerate(order)}
    last = {text: bisect.bisect_right(order, f"{text}{end}") for text in order}
    places = np.array([where[text] for text in texts], np.int64)
    behind = np.array([last[text] for text in texts], np.int64)
    return _Facet(kind, dimension, starts, places, places, behind)
