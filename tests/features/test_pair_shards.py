"""Pairs that pass through memory: every pair of a pass, in bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pair_count import PairFilter
from simprod_tf.data.pair_shards import PairShards
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.features.batches import RowPairs
from simprod_tf.features.epoch_clock import EpochClock
from simprod_tf.features.pair_shards import PairStream, _once, stream_batches
from simprod_tf.features.unique_batches import unique_batches

PRODUCTS, PAIRS = 40, 300


@pytest.fixture(scope="module")
def catalog():
    ids = text_array([f"p{row:02}" for row in range(PRODUCTS)])
    empty = text_array([""] * PRODUCTS)
    return Catalog(ids, empty, empty, empty, pa.table({}))


@pytest.fixture(scope="module")
def rows():
    """300 different pairs of rows, label and weight."""
    rng = np.random.default_rng(0)
    every = [(a, b) for a in range(PRODUCTS) for b in range(a + 1, PRODUCTS)]
    chosen = [every[row] for row in rng.permutation(len(every))[:PAIRS]]
    labels = rng.integers(0, 2, PAIRS)
    weights = rng.uniform(0.1, 0.9, PAIRS).astype(np.float32)
    return list(zip(chosen, labels.tolist(), weights.tolist()))


@pytest.fixture(scope="module")
def shards(catalog, rows, tmp_path_factory):
    """The pairs in three files of row groups of twenty."""
    folder = tmp_path_factory.mktemp("shards")
    for number in range(3):
        some = rows[number * 100 : number * 100 + 100]
        table = pa.table(
            {
                "anchor_id": [catalog.ids[a] for (a, _), _, _ in some],
                "other_id": [catalog.ids[b] for (_, b), _, _ in some],
                "label": [label for _, label, _ in some],
                "weight": pa.array([weight for _, _, weight in some], pa.float32()),
            }
        )
        pq.write_table(table, folder / f"part-{number}.parquet", row_group_size=20)
    return PairShards.open(folder)


@pytest.fixture
def make(catalog, shards, rows):
    """Makes a stream, by default of all pairs."""

    def make(*, on=PRODUCTS, hand=None, **kw):
        sides = (np.arange(PRODUCTS) < on).astype(np.int8)
        used = [one for one in rows if one[0][1] < on]
        return PairStream(
            shards,
            catalog,
            PairFilter(sides, np.zeros(0, np.int64)),
            len(used),
            sum(label for _, label, _ in used),
            hand,
            **kw,
        )

    return make


@pytest.fixture
def hand(catalog):
    """Ten pairs that are not in the shards' way: the weight 1 tells them."""
    rows = [(row, row + 20) for row in range(10)]
    return canonical_pairs(
        [catalog.ids[a] for a, _ in rows], [catalog.ids[b] for _, b in rows], [1] * 10
    )


def listed(blocks):
    """Each pair of the blocks, as it stands there."""
    return [
        (tuple(pair), int(label), round(float(weight), 6))
        for one in blocks
        for pair, label, weight in zip(one.rows.tolist(), one.labels, one.weights)
    ]


def expected(rows, on=PRODUCTS, factor=1.0):
    return Counter(
        (pair, label, round(float(np.float32(weight) * np.float32(factor)), 6))
        for pair, label, weight in rows
        if pair[1] < on
    )


def passed(dataset):
    """The pairs of a pass of twin batches."""
    return [
        (int(a), int(b), int(label), round(float(weight), 6))
        for inputs, labels, weights in dataset
        for a, b, label, weight in zip(
            inputs["anchor_row"][:, 0], inputs["other_row"][:, 0], labels[:, 0], weights
        )
    ]


ARRAYS = {"row": np.arange(PRODUCTS, dtype=np.float32)[:, np.newaxis]}


def test_a_pass_has_each_pair_of_its_side_once_with_its_weight(make, rows):
    stream = make(on=30, mined_weight=0.5, block=50)
    blocks = list(stream.blocks(np.random.default_rng(0)))
    assert Counter(listed(blocks)) == expected(rows, on=30, factor=0.5)
    assert len(stream) == sum(expected(rows, on=30).values())
    assert 1 < len(blocks) <= len(stream) // 50


def test_a_block_is_bounded_and_mixes_files_in_an_order_of_its_own(make, rows):
    stream = make(block=64)
    one, same, other = (
        list(stream.blocks(EpochClock(seed, epoch).rng(0)))
        for seed, epoch in ((1, 0), (1, 0), (1, 1))
    )
    # A chunk is 20 pairs here: the row group.
    assert max(len(block.rows) for block in one) < 64 + 20
    assert listed(one) == listed(same)
    assert listed(one) != listed(other)
    assert Counter(listed(one)) == Counter(listed(other))
    place = {pair: number for number, (pair, _, _) in enumerate(rows)}
    files = {place[tuple(pair)] // 100 for pair in one[0].rows.tolist()}
    assert files == {0, 1, 2}


def test_hand_labels_are_spread_over_the_pass(make, hand, rows):
    stream = make(hand=hand, block=60)
    blocks = list(stream.blocks(np.random.default_rng(3)))
    assert len(stream) == PAIRS + 10
    assert stream.num_positives == sum(label for _, label, _ in rows) + 10
    counts = [int((block.weights == 1).sum()) for block in blocks]
    assert sum(counts) == 10
    assert len(blocks) == 5
    assert set(counts) == {2}


@pytest.mark.parametrize("unique", [False, True])
def test_the_pairs_of_the_workers_are_a_partition(make, hand, rows, unique):
    stream = make(hand=hand, block=64)
    shares = []
    for index in range(3):
        blocks = stream.blocks(EpochClock(5).rng(0), shard=(index, 3))
        shares.append(Counter(listed(blocks)))
    assert not shares[0] & shares[1] | shares[1] & shares[2] | shares[0] & shares[2]
    by_hand = Counter({((a, a + 20), 1, 1.0): 1 for a in range(10)})
    assert sum(shares, Counter()) == expected(rows) + by_hand
    steps = {
        int(
            stream_batches(
                ARRAYS, stream, unique=unique, batch_size=8, shard=(index, 3)
            ).cardinality()
        )
        for index in range(3)
    }
    assert len(steps) == 1


def test_twin_batches_are_full_but_the_last_and_differ_from_pass_to_pass(make, rows):
    clock = EpochClock(seed=2)
    dataset = stream_batches(
        ARRAYS, make(block=64), unique=False, batch_size=16, clock=clock
    )
    assert int(dataset.cardinality()) == -(-PAIRS // 16)
    sizes = [len(labels) for _, labels, _ in dataset]
    assert sizes == [16] * 18 + [12]
    first = passed(dataset)
    assert first == passed(dataset)
    clock.epoch = 1
    second = passed(dataset)
    assert first != second
    pairs = [((a, b), label, weight) for a, b, label, weight in second]
    assert Counter(pairs) == expected(rows)


def test_a_pass_of_one_block_fills_unique_batches_as_pairs_in_memory_do(
    make, catalog, rows
):
    ids = catalog.ids
    pairs = canonical_pairs(
        [ids[a] for (a, _), _, _ in rows],
        [ids[b] for (_, b), _, _ in rows],
        [label for _, label, _ in rows],
        weights=[weight for _, _, weight in rows],
    )
    found = {}
    for name, dataset in (
        ("shards", stream_batches(ARRAYS, make(), unique=True, batch_size=12)),
        (
            "memory",
            unique_batches(ARRAYS, catalog, pairs, batch_size=12, training=True),
        ),
    ):
        batches = list(dataset)
        assert len(batches) == int(dataset.cardinality())
        assert max(len(inputs["row"]) for inputs, _, _ in batches) <= 12
        seen = set()
        for inputs, label, weight in batches:
            numbers = inputs["row"].numpy()[:, 0].astype(int)
            assert weight.numpy().mean() == pytest.approx(1)
            for a, b in np.argwhere(weight.numpy() > 0):
                if a < b:
                    seen.add(((numbers[a], numbers[b]), int(label[a, b])))
        found[name] = seen, len(batches)
    assert found["shards"][0] == found["memory"][0]
    assert len(found["shards"][0]) == PAIRS
    assert found["shards"][1] == pytest.approx(found["memory"][1], rel=0.1)


def test_unique_batches_of_several_blocks_are_counted_by_the_first(make):
    stream = make(block=100)
    dataset = stream_batches(ARRAYS, stream, unique=True, batch_size=12)
    rng = EpochClock(0).rng(0)
    first = next(stream.blocks(rng))
    batches = list(dataset)
    assert len(batches) == int(dataset.cardinality())
    # No batch mixes pairs of two blocks, so the first ones are the first block's.
    pairs = {tuple(pair) for pair in first.rows.tolist()}
    inputs, _, weight = batches[0]
    numbers = inputs["row"].numpy()[:, 0].astype(int)
    assert {
        (numbers[a], numbers[b]) for a, b in np.argwhere(weight.numpy() > 0) if a < b
    } <= pairs


def test_in_a_block_a_pair_counts_once_and_a_contradiction_not_at_all():
    block = RowPairs(
        np.array([[0, 1], [2, 3], [0, 1], [4, 5], [2, 3], [0, 2]]),
        np.array([1, 1, 1, 0, 0, 0], np.float32),
        np.array([0.2, 0.9, 0.7, 0.5, 0.9, 0.4], np.float32),
    )
    found = _once(block)
    assert found.rows.tolist() == [[0, 1], [4, 5], [0, 2]]
    assert found.labels.tolist() == [1, 0, 0]
    np.testing.assert_allclose(found.weights, [0.7, 0.5, 0.4])


def test_fewer_batches_than_workers_are_refused(make):
    with pytest.raises(ValueError, match="2 batches cannot be shared among 3 workers"):
        stream_batches(ARRAYS, make(), unique=False, batch_size=200, shard=(0, 3))
    with pytest.raises(ValueError, match="batch_size must be at least 2, got 1"):
        stream_batches(ARRAYS, make(), unique=True, batch_size=1)


PEAK = """
import resource, sys
import numpy as np, pyarrow as pa
from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pair_count import PairFilter, count_pairs
from simprod_tf.data.pair_shards import PairShards
from simprod_tf.features.pair_shards import PairStream
from pathlib import Path
ids = text_array([f"p{row:05}" for row in range(20000)])
empty = text_array([""] * 20000)
catalog = Catalog(ids, empty, empty, empty, pa.table({}))
chosen = PairFilter(np.ones(20000, np.int8), np.zeros(0, np.int64))
shards = PairShards.open(sys.argv[1])
count = count_pairs(shards, catalog, chosen)
stream = PairStream(shards, catalog, chosen, count.train, count.similar, block=1 << 17)
seen = sum(len(block.rows) for block in stream.blocks(np.random.default_rng(0)))
print(seen, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_ten_times_the_pairs_take_no_more_memory(tmp_path):
    rng = np.random.default_rng(0)
    rows = np.stack(
        [rng.integers(0, 10000, 150_000), rng.integers(10000, 20000, 150_000)]
    )
    ids = np.array([f"p{row:05}" for row in range(20000)], object)
    table = pa.table(
        {
            "anchor_id": ids[rows[0]],
            "other_id": ids[rows[1]],
            "label": rng.integers(0, 2, 150_000).astype(np.int8),
        }
    )
    found = {}
    for copies in (1, 10):
        folder = tmp_path / str(copies)
        folder.mkdir()
        for number in range(copies):
            path = folder / f"part-{number}.parquet"
            if number:
                os.link(folder / "part-0.parquet", path)
            else:
                pq.write_table(table, path, row_group_size=50_000)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(folder)],
            capture_output=True,
            text=True,
            check=True,
        )
        seen, found[copies] = map(int, done.stdout.split())
        assert seen == copies * 150_000
    # The pairs of ten copies alone would be 36 MB of numbers, as text ten times that.
    assert found[10] < found[1] + 60
