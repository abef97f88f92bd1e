"""What train, validation and test share that they should not, counted by kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from simprod_tf.data.catalog import Catalog, Progress, text_array
from simprod_tf.data.pairs import Pairs
from simprod_tf.data.picture_hash import PictureGroups, near_duplicates
from simprod_tf.errors import SimprodError

if TYPE_CHECKING:
    from simprod_tf.data.split import Split

SIDES = ("train", "validation", "test")
NUM_EXAMPLES = 5

_PRODUCT, _GROUP, _TITLE = "product", "group", "title"
_SAME, _NEAR = "identical picture", "near-identical picture"
_SIMILAR = "pair labelled similar"
KINDS = (_PRODUCT, _GROUP, _TITLE, _SAME, _NEAR, _SIMILAR)
_PLURAL = {_SIMILAR: "pairs labelled similar"}


@dataclass(frozen=True)
class Leak:
    """How much two sides share of one kind.

    Attributes:
        kind: one of `KINDS`. A near-identical picture is counted where the sides
            share no identical one of its like.
        first, second: the two sides.
        count: how many products, groups, ... are on both, or pairs across.
        examples: up to 5 (id on the first side, id on the second), one for each.
    """

    kind: str
    first: str
    second: str
    count: int
    examples: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class LeakageReport:
    """What the sides of a split share.

    Attributes:
        products: how many each side has.
        shared: a `Leak` for each kind and two sides, those of none too.
        placeholders: products whose picture is a placeholder: not compared.
        unreadable: products whose picture cannot be read: not compared.
    """

    products: Mapping[str, int]
    shared: tuple[Leak, ...]
    placeholders: int = 0
    unreadable: int = 0

    @property
    def leaks(self) -> bool:
        """Whether any two sides share anything."""
        return any(one.count for one in self.shared)

    @property
    def summary(self) -> str:
        """Says in one line what is shared, with an example each, or "nothing"."""
        told = []
        for one in self.shared:
            if one.count:
                (a, b) = one.examples[0]
                told.append(
                    f"{_counted(one)} across {one.first} and {one.second} "
                    f"({a!r} with {b!r})"
                )
        return ", ".join(told) or "nothing is shared"

    def __str__(self) -> str:
        """Returns a table, a line for each kind, and the examples."""
        columns = list(dict.fromkeys(f"{x.first}/{x.second}" for x in self.shared))
        lines = ["".join([f"{'shared':24}", *(f"{name:>18}" for name in columns)])]
        for kind in KINDS:
            counts = [f"{x.count:>18,}" for x in self.shared if x.kind == kind]
            lines.append(f"{kind:24}" + "".join(counts))
        for one in self.shared:
            if one.count:
                found = ", ".join(f"{a!r} with {b!r}" for a, b in one.examples)
                lines.append(f"{one.kind}, {one.first} with {one.second}: {found}")
        for count, what in (
            (self.placeholders, "a placeholder for a picture"),
            (self.unreadable, "a picture that cannot be read"),
        ):
            if count:
                lines.append(f"not compared: products with {what}: {count:,}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Returns the report as plain values."""
        return {
            "leaks": self.leaks,
            "products": dict(self.products),
            "shared": [
                {
                    "kind": one.kind,
                    "sides": [one.first, one.second],
                    "count": one.count,
                    "examples": [list(ids) for ids in one.examples],
                }
                for one in self.shared
            ],
            "placeholders": self.placeholders,
            "unreadable": self.unreadable,
        }


def leakage_report(
    catalog: Catalog,
    split: Split,
    *,
    hand_pairs: Pairs | None = None,
    near: PictureGroups | None = None,
    progress: Progress | None = None,
) -> LeakageReport:
    """Returns what the sides of a split of one catalogue share.

    Args:
        catalog: The products.
        split: The side of each.
        hand_pairs: Labelled pairs; those labelled similar should not lie across.
        near: What `near_duplicates` found, or None to look now, at every picture.
        progress: Called with (pictures hashed, pictures in all).

    Raises:
        SimprodError: a product is missing from the split.
    """
    missing = [id for id in catalog.ids if id not in split.sides]
    if missing:
        raise SimprodError(
            f"the split does not know {len(missing)} products of the catalogue, "
            f"{missing[0]!r} among them; make a new one."
        )
    side = text_array([split.sides[id] for id in catalog.ids])
    near = near or near_duplicates(catalog, progress=progress)
    return _report(catalog, catalog.ids, side, SIDES, hand_pairs, near)


def leakage_between(
    sides: Mapping[str, Catalog],
    *,
    hand_pairs: Pairs | None = None,
    max_bits: int | None = None,
    progress: Progress | None = None,
) -> LeakageReport:
    """Returns what catalogues share that are the sides of a split, by side's name.

    Args:
        sides: Say train, validation and test, each read from a file of its own.
        hand_pairs: Labelled pairs; those labelled similar should not lie across.
        max_bits: As in `near_duplicates`, or None for its default.
        progress: Called with (pictures hashed, pictures in all).
    """
    ids, titles, images, groups = (
        np.concatenate([getattr(one, name) for one in sides.values()])
        for name in ("ids", "titles", "images", "groups")
    )
    # A product may be on two sides: here its row is its id.
    rows = text_array([str(row) for row in range(len(ids))])
    catalog = Catalog(rows, titles, images, groups, pa.table({}))
    side = np.repeat(
        text_array(list(sides)), [len(catalog) for catalog in sides.values()]
    )
    bits = {} if max_bits is None else {"max_bits": max_bits}
    near = near_duplicates(catalog, progress=progress, **bits)
    return _report(catalog, ids, side, tuple(sides), hand_pairs, near)


def shared_keys(catalog: Catalog, near: PictureGroups) -> dict[str, np.ndarray]:
    """Returns [P] int64 numbers by kind: equal ones tie products, -1 ties to none."""
    return {
        _GROUP: _numbered(catalog.groups),
        _TITLE: _numbered(catalog.titles),
        _SAME: near.content,
        _NEAR: near.component,
    }


def _report(
    catalog: Catalog,
    ids: np.ndarray,
    side: np.ndarray,
    names: tuple[str, ...],
    hand_pairs: Pairs | None,
    near: PictureGroups,
) -> LeakageReport:
    keys = {_PRODUCT: _numbered(ids), **shared_keys(catalog, near)}
    shared = []
    for first, second in combinations(names, 2):
        sides = side == first, side == second
        across = {kind: _across(key, *sides) for kind, key in keys.items()}
        same = near.component[[row for row, _ in across[_SAME].values()]]
        for component in same.tolist():
            across[_NEAR].pop(component, None)
        for kind, found in across.items():
            pairs = [(ids[a], ids[b]) for a, b in found.values()]
            shared.append(_leak(kind, first, second, pairs))
        similar = list(_similar_across(hand_pairs, ids[sides[0]], ids[sides[1]]))
        shared.append(_leak(_SIMILAR, first, second, similar))
    products = {name: int((side == name).sum()) for name in names}
    return LeakageReport(products, tuple(shared), near.placeholders, near.unreadable)


def _leak(kind: str, first: str, second: str, pairs: list[tuple[str, str]]) -> Leak:
    return Leak(kind, first, second, len(pairs), tuple(pairs[:NUM_EXAMPLES]))


def _across(
    key: np.ndarray, first: np.ndarray, second: np.ndarray
) -> dict[int, tuple[int, int]]:
    """Returns the keys on both sides, with a row of each side, in the rows' order."""
    found = []
    for side in (first, second):
        rows = np.flatnonzero(side & (key >= 0))
        found.append(dict(zip(key[rows[::-1]].tolist(), rows[::-1].tolist())))
    both = sorted(found[0].keys() & found[1].keys(), key=found[0].__getitem__)
    return {number: (found[0][number], found[1][number]) for number in both}


def _similar_across(
    pairs: Pairs | None, first: np.ndarray, second: np.ndarray
) -> Iterator[tuple[str, str]]:
    """Yields the pairs labelled similar of which each side has one product."""
    if pairs is None:
        return
    here, there = set(first), set(second)
    similar = pairs.where(pairs.labels == 1)
    for a, b in zip(similar.anchor_ids, similar.other_ids):
        if a in here and b in there:
            yield a, b
        elif b in here and a in there:
            yield b, a


def _numbered(texts: np.ndarray) -> np.ndarray:
    """Returns [N] int64, equal for equal texts; -1 for ""."""
    numbers = {"": -1}
    return np.array([numbers.setdefault(t, len(numbers)) for t in texts], np.int64)


def _counted(leak: Leak) -> str:
    if leak.count == 1:
        return f"1 {leak.kind}"
    return f"{leak.count:,} {_PLURAL.get(leak.kind, leak.kind + 's')}"
