"""tf.data: batches of labelled pairs that stay in Parquet shards and pass through.

Of a pass over the shards a block of pairs is in memory at a time. What it holds is
drawn by (seed, epoch): the row groups come in random order, several of them in turn,
and a block is shuffled as a whole. Its batches are those of pairs in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pair_count import TRAIN, PairFilter, pair_keys
from simprod_tf.data.pair_shards import PairShards, Piece, RowChunk, read_chunks
from simprod_tf.data.pairs import Pairs
from simprod_tf.features.augment import AugmentSettings
from simprod_tf.features.batch_dataset import (
    ORDER,
    Drawn,
    batch_dataset,
    require_at_least,
)
from simprod_tf.features.batches import RowPairs
from simprod_tf.features.epoch_clock import EpochClock, each_pass
from simprod_tf.features.unique_batches import block_batches

# Pairs of a block: 40 bytes each, and as much again while it is shuffled.
BLOCK = 1 << 20
# Row groups that are read in turn.
_OPEN = 8

Shard = tuple[int, int]


@dataclass(frozen=True, eq=False)
class PairStream:
    """The labelled pairs of a training side, most of them in shards.

    Attributes:
        shards: The mined pairs.
        catalog: Whose rows their ids become.
        chosen: Which of them are of the training side.
        mined: How many of them those are, by `count_pairs`.
        mined_similar: And how many are similar.
        hand: Labelled pairs of the training side in memory, spread evenly over a
            pass; or None.
        mined_weight: Factor on the weights of the mined ones.
        block: Pairs in memory at a time.
    """

    shards: PairShards
    catalog: Catalog
    chosen: PairFilter
    mined: int
    mined_similar: int
    hand: Pairs | None = None
    mined_weight: float = 1.0
    block: int = BLOCK

    def __len__(self) -> int:
        return self.mined + (0 if self.hand is None else len(self.hand))

    @property
    def num_positives(self) -> int:
        """How many pairs are labelled similar."""
        own = 0 if self.hand is None else self.hand.num_positives
        return self.mined_similar + own

    def blocks(
        self, rng: np.random.Generator, *, shard: Shard = (0, 1)
    ) -> Iterator[RowPairs]:
        """Yields the pairs of a pass, shuffled within each block.

        Args:
            rng: Of all that is random; all workers need it in the same state.
            shard: (index, count): every count-th row of the shards and pair of hand
                labels, for one of `count` workers: each pair is one worker's in a pass.
        """
        hand = self._hand_rows(rng, shard)
        held: list[RowChunk] = []
        size = given = seen = 0
        for chunk in self._chunks(rng, shard):
            held.append(chunk)
            seen += len(chunk)
            # As much of the hand labels as was seen of the mined pairs.
            due = min(len(hand), len(hand) * seen * shard[1] // max(1, self.mined))
            held.append(hand.where(slice(given, due)))
            size, given = size + len(chunk) + due - given, due
            if size >= self.block:
                yield _shuffled(held, rng)
                held, size = [], 0
        held.append(hand.where(slice(given, None)))
        if sum(map(len, held)):
            yield _shuffled(held, rng)

    def _chunks(self, rng: np.random.Generator, shard: Shard) -> Iterator[RowChunk]:
        order = rng.permutation(len(self.shards.pieces))
        waiting = iter([self.shards.pieces[place] for place in order])
        open_ones = [self._read(piece, shard) for piece in islice(waiting, _OPEN)]
        while open_ones:
            still = []
            for one in open_ones:
                chunk = next(one, None)
                if chunk is not None:
                    yield chunk
                    still.append(one)
                    continue
                piece = next(waiting, None)
                if piece is not None:
                    still.append(self._read(piece, shard))
            open_ones = still

    def _read(self, piece: Piece, shard: Shard) -> Iterator[RowChunk]:
        for chunk in read_chunks(piece, self.catalog, share=shard):
            some = chunk.where(self.chosen.on(TRAIN, chunk))
            weights = some.weights * np.float32(self.mined_weight)
            yield RowChunk(some.rows, some.labels, weights)

    def _hand_rows(self, rng: np.random.Generator, shard: Shard) -> RowChunk:
        none = np.zeros(0, np.float32)
        if self.hand is None:
            return RowChunk(np.zeros((0, 2), np.int64), none, none)
        index, count = shard
        order = rng.permutation(len(self.hand))[index::count]
        some = self.hand.where(order)
        ends = [self.catalog.rows_of(x) for x in (some.anchor_ids, some.other_ids)]
        return RowChunk(
            np.sort(np.stack(ends, axis=1), axis=1),
            some.labels.astype(np.float32),
            some.weights,
        )


def stream_batches(
    arrays: Mapping[str, Any],
    stream: PairStream,
    *,
    unique: bool,
    batch_size: int,
    seed: int = 0,
    clock: EpochClock | None = None,
    shard: Shard = (0, 1),
    augment: AugmentSettings | None = None,
) -> tf.data.Dataset:
    """Returns the batches of passes over the shards, to train on.

    They are those of `pair_batches`, or of `unique_batches`, but for what "all" means:
    with `unique` all labelled pairs among a batch's products count that are in the same
    block, and a pair that stands there twice counts once (its higher weight), one
    labelled both ways not at all. Elsewhere a pair counts as often as it stands there.

    A pass has as many batches as the counted pairs make; with `unique` as many as they
    would if all blocks were filled like the first epoch's first one. Where a pass's
    order takes more, the last wait for the next pass; where it takes fewer, it begins
    anew.

    Args:
        arrays, seed, clock, augment: See `pair_batches`.
        stream: The pairs.
        unique: Whether batches are of unique products or of twin pairs.
        batch_size: Products in a batch, or pairs.
        shard: (index, count): the share of one of `count` workers. Here each worker
            fills batches of rows of its own, as many as every other one.

    Raises:
        ValueError: a number is out of its range, or there are fewer batches than
            workers.
        InputError: a shard cannot be read.
    """
    require_at_least(2 if unique else 1, batch_size=batch_size)
    count = shard[1]
    batches = _num_batches(stream, unique, batch_size, clock, seed)
    if batches < count:
        raise ValueError(
            f"{batches} batches cannot be shared among {count} workers: take smaller "
            "batches or fewer workers."
        )

    def draw(rng: np.random.Generator | None) -> Iterator[Drawn]:
        if rng is None:
            raise ValueError("shards are drawn from at random alone.")
        blocks = stream.blocks(rng, shard=shard)
        if unique:
            return _unique(blocks, rng, batch_size)
        return _twin(blocks, batch_size)

    rows = np.zeros(0, np.int64)
    return batch_dataset(
        arrays,
        draw,
        num_products=len(stream.catalog),
        num_batches=batches // count,
        like=(
            Drawn({"": rows}, np.zeros((0, 0), np.float32), np.zeros((0, 0)))
            if unique
            else Drawn(
                {"anchor_": rows, "other_": rows},
                np.zeros((0, 1), np.float32),
                np.zeros(0),
            )
        ),
        training=True,
        begin=each_pass(seed, clock),
        shard=(0, 1),
        augment=augment,
    )


def _num_batches(
    stream: PairStream,
    unique: bool,
    batch_size: int,
    clock: EpochClock | None,
    seed: int,
) -> int:
    """Returns the batches of a pass, those of all workers: the same for each."""
    if not unique:
        return -(-len(stream) // batch_size)
    rng = EpochClock(seed if clock is None else clock.seed).rng(ORDER)
    first = next(stream.blocks(rng))
    size = len(first.rows)
    filled = sum(1 for _ in _unique(iter([first]), rng, batch_size))
    return max(1, round(filled * max(1.0, len(stream) / size)))


def _twin(blocks: Iterator[RowPairs], batch_size: int) -> Iterator[Drawn]:
    rest: list[RowChunk] = []
    for block in blocks:
        rest.append(RowChunk(block.rows, block.labels, block.weights))
        held = _joined(rest)
        whole = len(held) - len(held) % batch_size
        for start in range(0, whole, batch_size):
            yield _twin_batch(held.where(slice(start, start + batch_size)))
        rest = [held.where(slice(whole, None))]
    if rest and len(rest[0]):
        yield _twin_batch(rest[0])


def _twin_batch(some: RowChunk) -> Drawn:
    anchors, others = some.rows.T
    return Drawn(
        {"anchor_": anchors, "other_": others},
        some.labels[:, np.newaxis],
        some.weights,
    )


def _unique(
    blocks: Iterator[RowPairs], rng: np.random.Generator, batch_size: int
) -> Iterator[Drawn]:
    for block in blocks:
        once = _once(block)
        if not len(once.rows):
            continue
        # Numbered within the block: its cost does not grow with the catalogue.
        products, places = np.unique(once.rows, return_inverse=True)
        local = RowPairs(places.reshape(-1, 2), once.labels, once.weights)
        for drawn in block_batches(local, rng, batch_size=batch_size):
            yield Drawn({"": products[drawn.rows[""]]}, drawn.label, drawn.weight)


def _once(block: RowPairs) -> RowPairs:
    """Returns each pair once, in the order of the block; contradictions are out."""
    keys = pair_keys(block.rows, int(block.rows.max(initial=0)) + 1)
    _, first, pair = np.unique(keys, return_index=True, return_inverse=True)
    if len(first) == len(keys):
        return block
    weights = np.zeros(len(first), np.float32)
    np.maximum.at(weights, pair, block.weights)
    similar = np.bincount(pair, weights=block.labels)
    agreed = (similar == 0) | (similar == np.bincount(pair))
    order = np.argsort(first, kind="stable")
    kept = order[agreed[order]]
    return RowPairs(block.rows[first[kept]], block.labels[first[kept]], weights[kept])


def _joined(chunks: list[RowChunk]) -> RowChunk:
    return RowChunk(
        np.concatenate([one.rows for one in chunks]),
        np.concatenate([one.labels for one in chunks]),
        np.concatenate([one.weights for one in chunks]),
    )


def _shuffled(chunks: list[RowChunk], rng: np.random.Generator) -> RowPairs:
    held = _joined(chunks)
    order = rng.permutation(len(held))
    return RowPairs(held.rows[order], held.labels[order], held.weights[order])
