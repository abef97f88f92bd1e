"""One pass over mined shards: how many pairs train, and a sample of those that judge.

A training must know its steps before it begins, and what an epoch is judged by must not
grow with the log. The pass is remembered in a file, for the training to go on without.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simprod_tf.atomic import whole_file
from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pair_shards import PairShards, RowChunk, read_chunks
from simprod_tf.data.pairs import Pairs, canonical_pairs
from simprod_tf.errors import InputError

# Pairs of the validation side that judge, at most.
SAMPLE = 100_000
# Sides of a product.
NEITHER, TRAIN, VALIDATION = 0, 1, 2

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class PairFilter:
    """Which of the mined pairs a training uses.

    Attributes:
        sides: [P] int8, `TRAIN`, `VALIDATION` or `NEITHER` of each product.
        known: [K] int64 sorted keys (see `pair_keys`) of what hand labels know already:
            such pairs are left out.
    """

    sides: np.ndarray
    known: np.ndarray

    def on(self, side: int, chunk: RowChunk) -> np.ndarray:
        """Returns the [N] bool mask of different products, both on one side."""
        low, high = chunk.rows.T
        # -1, of an id that nobody knows, would be the last product.
        known = (low >= 0) & (low != high)
        both = known & (self.sides[low] == side) & (self.sides[high] == side)
        if len(self.known):
            keys = pair_keys(chunk.rows, len(self.sides))
            place = np.searchsorted(self.known, keys) % len(self.known)
            both &= self.known[place] != keys
        return both


@dataclass(frozen=True, eq=False)
class PairCount:
    """What a pass over the shards found.

    Attributes:
        train, similar: Pairs of the training side, and those of them that are similar.
        unknown: Pairs with an id that the catalogue has not.
        validation: A sample of the pairs of the validation side.
    """

    train: int
    similar: int
    unknown: int
    validation: Pairs


def pair_keys(rows: np.ndarray, num_products: int) -> np.ndarray:
    """Returns [N] int64, one for each pair of [N, 2] rows, the lower row first."""
    return rows[:, 0] * num_products + rows[:, 1]


def known_keys(catalog: Catalog, hand: Pairs | None) -> np.ndarray:
    """Returns the sorted keys of pairs labelled by hand, be it both ways."""
    if hand is None:
        return np.zeros(0, np.int64)
    both = [*zip(hand.anchor_ids, hand.other_ids), *hand.conflicts]
    ends = [pair for pair in both if pair[0] in catalog and pair[1] in catalog]
    if not ends:
        return np.zeros(0, np.int64)
    rows = np.stack([catalog.rows_of(column) for column in zip(*ends)], axis=1)
    return np.unique(pair_keys(np.sort(rows, axis=1), len(catalog)))


def count_pairs(
    shards: PairShards,
    catalog: Catalog,
    chosen: PairFilter,
    *,
    memory: Path | None = None,
    sample: int = SAMPLE,
    progress: Progress | None = None,
) -> PairCount:
    """Returns what the shards hold, of one pass over them in bounded memory.

    The sample is the pairs whose hashes are lowest: it is the same however the pairs
    are cut into shards.

    Args:
        shards, catalog, chosen: What to count.
        memory: File in which the result is remembered, and from which it is read: its
            name must tell these shards, this catalogue and filter from others. Or None.
        sample: Largest size of the sample.
        progress: Called with (pairs read, pairs in all).

    Raises:
        InputError: see `read_chunks`.
    """
    if memory is not None and memory.exists():
        return _read(memory, catalog)
    counts: Counter[str] = Counter()
    sampled = _Sample(sample, len(catalog))
    done = 0
    for piece in shards.pieces:
        for chunk in read_chunks(piece, catalog):
            train = chosen.on(TRAIN, chunk)
            counts["train"] += int(train.sum())
            counts["similar"] += int(chunk.labels[train].sum())
            counts["unknown"] += int((chunk.rows[:, 0] < 0).sum())
            sampled.add(chunk.where(chosen.on(VALIDATION, chunk)))
        done += piece.num_rows
        if progress is not None:
            progress(done, len(shards))
    found = sampled.found()
    if memory is not None:
        _write(memory, counts, found)
    return _counted(counts, found, catalog)


class _Sample:
    """The pairs with the lowest hashes of those that were added."""

    def __init__(self, size: int, num_products: int) -> None:
        self._size, self._products = size, num_products
        none = np.zeros(0, np.float32)
        self._held = RowChunk(np.zeros((0, 2), np.int64), none, none)

    def add(self, chunk: RowChunk) -> None:
        held = self._held
        self._held = RowChunk(
            np.concatenate([held.rows, chunk.rows]),
            np.concatenate([held.labels, chunk.labels]),
            np.concatenate([held.weights, chunk.weights]),
        )
        if len(self._held) > 2 * self._size:
            self._trim()

    def found(self) -> RowChunk:
        self._trim()
        order = np.argsort(self._keys(), kind="stable")
        return self._held.where(order)

    def _trim(self) -> None:
        if len(self._held) > self._size:
            lowest = np.argsort(_hashes(self._keys()), kind="stable")[: self._size]
            self._held = self._held.where(lowest)

    def _keys(self) -> np.ndarray:
        return pair_keys(self._held.rows, self._products)


def _hashes(keys: np.ndarray) -> np.ndarray:
    """Returns [N] uint64 by splitmix64's last steps (Steele, Lea and Flood 2014)."""
    x = keys.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _counted(counts: Counter[str], found: RowChunk, catalog: Catalog) -> PairCount:
    validation = canonical_pairs(
        catalog.ids[found.rows[:, 0]],
        catalog.ids[found.rows[:, 1]],
        found.labels.astype(np.int8),
        weights=found.weights,
        source="mined",
    )
    return PairCount(counts["train"], counts["similar"], counts["unknown"], validation)


def _write(path: Path, counts: Counter[str], found: RowChunk) -> None:
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            counts=np.array(json.dumps(counts)),
            rows=found.rows,
            labels=found.labels,
            weights=found.weights,
        )


def _read(path: Path, catalog: Catalog) -> PairCount:
    try:
        with np.load(path) as held:
            counts = Counter(json.loads(str(held["counts"])))
            found = RowChunk(held["rows"], held["labels"], held["weights"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError("cannot be read; delete it.", path=path) from error
    return _counted(counts, found, catalog)
