"""Train, validation and test by connected component, so that nothing leaks.

Products are tied together when they share a group, a title or a picture (the same, or
nearly: see `picture_hash`), or when a hand label says they are similar; whatever hangs
together stays on one side. Components that hand labels call dissimilar may be parted,
but such a pair is then lost to every side: they are kept together as far as small
clusters allow.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from simprod_tf.data.catalog import Catalog, Progress, text_array
from simprod_tf.data.components import components, similar_edges
from simprod_tf.data.leakage import SIDES, leakage_report, shared_keys
from simprod_tf.data.pairs import Pairs
from simprod_tf.data.picture_hash import PictureGroups, near_duplicates
from simprod_tf.data.tables import read_table, write_table
from simprod_tf.errors import InputError, SimprodError

log = logging.getLogger(__name__)

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


def check_shares(validation: float, test: float) -> None:
    """Refuses, by ValueError, shares that `split_catalog` cannot give."""
    if not (0 <= validation and 0 <= test and validation + test < 1):
        raise ValueError(
            f"shares must be at least 0 and leave some for training, got validation "
            f"{validation} and test {test}."
        )


def split_catalog(
    catalog: Catalog,
    *,
    hand_pairs: Pairs | None = None,
    near: PictureGroups | None = None,
    validation: float = 0.15,
    test: float = 0.25,
    seed: int = 0,
    progress: Progress | None = None,
) -> Split:
    """Returns a split in which no component is cut; shares are of products.

    Deterministic: the same catalogue, pairs and seed give the same split.

    Args:
        catalog: The products.
        hand_pairs: Labelled pairs, with ids of the catalogue.
        near: What `near_duplicates` found, or None to look now, at every picture.
        validation, test: Shares; the rest is for training.
        seed: Of the draw.
        progress: Called with (pictures hashed, pictures in all).

    Raises:
        ValueError: the shares leave nothing for training.
    """
    check_shares(validation, test)
    near = near or near_duplicates(catalog, progress=progress)
    rng = np.random.default_rng(seed)
    component = _components(catalog, hand_pairs, near)
    cluster = _clusters(component, catalog, hand_pairs, rng)
    sizes = np.bincount(cluster)
    wanted = np.array([1 - validation - test, validation, test]) * len(catalog)
    side_of = np.zeros(len(sizes), int)
    for one in rng.permutation(len(sizes)):
        # The side that lacks most: a huge component can only fall to a large side.
        side = int(np.argmax(wanted))
        side_of[one] = side
        wanted[side] -= sizes[one]
    return Split({id: SIDES[side_of[c]] for id, c in zip(catalog.ids, cluster)})


def check_split(
    catalog: Catalog,
    split: Split,
    *,
    hand_pairs: Pairs | None,
    near: PictureGroups | None = None,
    allow_leaks: bool = False,
    progress: Progress | None = None,
) -> None:
    """Refuses a split that leaks, or warns in the log where `allow_leaks`.

    Raises:
        SimprodError: a product is missing from the split, or the split leaks.
    """
    report = leakage_report(
        catalog, split, hand_pairs=hand_pairs, near=near, progress=progress
    )
    if not report.leaks:
        return
    if not allow_leaks:
        raise SimprodError(
            f"the split leaks: {report.summary}; make a new split, or give "
            "--allow-leaks."
        )
    log.warning("the split leaks: %s; figures on it flatter.", report.summary)


def read_split(path: str | os.PathLike[str]) -> Split:
    """Reads `id, side` from CSV, JSONL or Parquet."""
    read = read_table(path)
    read.require(["id", "side"])
    sides: dict[str, str] = {}
    for row, id, side in zip(read.rows, read.strings("id"), read.strings("side")):
        if sides.setdefault(id, side) != side:
            raise InputError(
                f"product {id!r} is on two sides, {sides[id]} and {side}.",
                path=path,
                row=row,
            )
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


def _components(
    catalog: Catalog, hand_pairs: Pairs | None, near: PictureGroups
) -> np.ndarray:
    """Returns the [P] component number of each product."""
    edges = [_to_first(key) for key in shared_keys(catalog, near).values()]
    if hand_pairs is not None:
        edges.append(similar_edges(catalog, hand_pairs))
    return components(np.concatenate(edges), len(catalog))


def _to_first(key: np.ndarray) -> np.ndarray:
    """Returns [E, 2] int64: each row that has a key, and the key's first row."""
    rows = np.flatnonzero(key >= 0)
    _, first, number = np.unique(key[rows], return_index=True, return_inverse=True)
    return np.stack([rows, rows[first[number]]], axis=1)


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
