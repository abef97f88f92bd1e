"""Train, validation and test by connected component, so that nothing leaks.

Products are tied together when they share a group, a picture (the same bytes) or a
title, or when a hand label says they are similar; whatever hangs together stays on
one side. Components that hand labels call dissimilar may be parted, but such a pair is
then lost to every side: they are kept together as far as small clusters allow.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import Pairs
from simprod_tf.data.tables import read_table, write_table
from simprod_tf.errors import InputError, SimprodError

SIDES = ("train", "validation", "test")
# Above this share of the products a cluster takes in no further component.
MAX_CLUSTER = 0.05


@dataclass(frozen=True)
class Split:
    """Which side each product is on: id -> "train", "validation" or "test"."""

    sides: Mapping[str, str]

    def ids(self, side: str) -> np.ndarray:
        """Returns the ids on one side, in the catalogue's order."""
        return text_array([id for id, on in self.sides.items() if on == side])

    def counts(self) -> dict[str, int]:
        """Returns how many products each side has."""
        found = list(self.sides.values())
        return {side: found.count(side) for side in SIDES}


def split_catalog(
    catalog: Catalog,
    *,
    hand_pairs: Pairs | None = None,
    validation: float = 0.15,
    test: float = 0.25,
    seed: int = 0,
) -> Split:
    """Returns a split in which no component is cut; shares are of products.

    Deterministic: the same catalogue, pairs and seed give the same split.
    """
    if not (0 <= validation and 0 <= test and validation + test < 1):
        raise ValueError(
            f"shares must be at least 0 and leave some for training, got validation "
            f"{validation} and test {test}."
        )
    rng = np.random.default_rng(seed)
    cluster = _clusters(_components(catalog, hand_pairs), catalog, hand_pairs, rng)
    sizes = np.bincount(cluster)
    wanted = np.array([1 - validation - test, validation, test]) * len(catalog)
    side_of = np.zeros(len(sizes), int)
    for one in rng.permutation(len(sizes)):
        # The side that lacks most: a huge component can only fall to a large side.
        side = int(np.argmax(wanted))
        side_of[one] = side
        wanted[side] -= sizes[one]
    return Split({id: SIDES[side_of[c]] for id, c in zip(catalog.ids, cluster)})


def check_split(catalog: Catalog, split: Split, *, hand_pairs: Pairs | None) -> None:
    """Refuses a split that leaks: names how many products hang across its sides.

    Raises:
        SimprodError: a product is missing from the split, or a component is cut.
    """
    missing = [id for id in catalog.ids if id not in split.sides]
    if missing:
        raise SimprodError(
            f"the split does not know {len(missing)} products of the catalogue, "
            f"{missing[0]!r} among them; make a new one."
        )
    component = _components(catalog, hand_pairs)
    sides: dict[int, set[str]] = {}
    for id, one in zip(catalog.ids, component):
        sides.setdefault(int(one), set()).add(split.sides[id])
    cut = np.isin(component, [one for one, on in sides.items() if len(on) > 1])
    if cut.any():
        raise SimprodError(
            f"the split leaks: {int(cut.sum())} products share a group, a picture, a "
            "title or a label 'similar' with a product on another side, "
            f"{catalog.ids[cut][0]!r} among them; make a new split."
        )


def read_split(path: str | os.PathLike[str]) -> Split:
    """Reads `id, side` from CSV, JSONL or Parquet."""
    read = read_table(path)
    read.require(["id", "side"])
    sides = dict(zip(read.strings("id"), read.strings("side")))
    for row, side in zip(read.rows, read.strings("side")):
        if side not in SIDES:
            raise InputError(
                f"side must be one of {', '.join(SIDES)}, got {side!r}.",
                path=path,
                row=row,
            )
    return Split(sides)


def write_split(split: Split, path: str | os.PathLike[str]) -> None:
    """Writes `id, side` as CSV or Parquet."""
    columns = {"id": list(split.sides), "side": list(split.sides.values())}
    write_table(pa.table(columns), path)


def _components(catalog: Catalog, hand_pairs: Pairs | None) -> np.ndarray:
    """Returns the [P] component number of each product."""
    edges = list(_edges(catalog, hand_pairs))
    rows = np.array(edges, np.int64).reshape(-1, 2)
    size = len(catalog)
    graph = coo_matrix((np.ones(len(rows)), (rows[:, 0], rows[:, 1])), (size, size))
    return connected_components(graph, directed=False)[1]


def _clusters(
    component: np.ndarray,
    catalog: Catalog,
    hand_pairs: Pairs | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns the [P] cluster of each product: components joined by dissimilar pairs.

    In random order each pair joins the two clusters that it connects, unless they
    would outgrow `MAX_CLUSTER`: one giant cluster could not be split.
    """
    if hand_pairs is None:
        return component
    dissimilar = hand_pairs.where(hand_pairs.labels == 0)
    ends = np.stack(
        [
            component[catalog.rows_of(dissimilar.anchor_ids)],
            component[catalog.rows_of(dissimilar.other_ids)],
        ],
        axis=1,
    )
    sizes = np.bincount(component)
    members = {one: [one] for one in range(len(sizes))}
    cluster = np.arange(len(sizes))
    for first, second in rng.permutation(ends):
        kept, taken = cluster[first], cluster[second]
        both = members[kept] + members[taken]
        if kept != taken and sizes[both].sum() <= MAX_CLUSTER * len(catalog):
            members[kept] = both
            cluster[members.pop(taken)] = kept
    return np.unique(cluster, return_inverse=True)[1][component]


def _edges(catalog: Catalog, hand_pairs: Pairs | None) -> Iterator[tuple[int, int]]:
    pictures = text_array([_picture_hash(path) for path in catalog.images])
    for keys in (catalog.groups, catalog.titles, pictures):
        first: dict[str, int] = {}
        for row, key in enumerate(keys):
            if key:
                yield first.setdefault(key, row), row
    if hand_pairs is not None:
        positive = hand_pairs.where(hand_pairs.labels == 1)
        yield from zip(
            catalog.rows_of(positive.anchor_ids), catalog.rows_of(positive.other_ids)
        )


def _picture_hash(path: str) -> str:
    if not path:
        return ""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
