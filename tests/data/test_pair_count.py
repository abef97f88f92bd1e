"""The pass that counts: what trains, what judges, and that it is done once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pair_count import (
    TRAIN,
    VALIDATION,
    PairFilter,
    count_pairs,
    known_keys,
)
from simprod_tf.data.pair_shards import PairShards
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.errors import InputError

PRODUCTS = 60


@pytest.fixture(scope="module")
def catalog():
    ids = text_array([f"p{row:02}" for row in range(PRODUCTS)])
    empty = text_array([""] * PRODUCTS)
    return Catalog(ids, empty, empty, empty, pa.table({}))


@pytest.fixture(scope="module")
def table(catalog):
    """1,000 different pairs, a few with ids that the catalogue has not."""
    ids = [*catalog.ids, "gone"]
    rng = np.random.default_rng(0)
    every = [(a, b) for a in range(61) for b in range(a + 1, 61)]
    chosen = [every[row] for row in rng.permutation(len(every))[:1000]]
    return pa.table(
        {
            "anchor_id": [ids[b] for _, b in chosen],
            "other_id": [ids[a] for a, _ in chosen],
            "label": rng.integers(0, 2, 1000).astype(np.int8),
            "weight": rng.uniform(0.1, 0.9, 1000).astype(np.float32),
        }
    )


def shards(folder, table, *, files, group=100):
    folder.mkdir()
    size = -(-len(table) // files)
    for number in range(files):
        pq.write_table(
            table.slice(number * size, size),
            folder / f"part-{number}.parquet",
            row_group_size=group,
        )
    return PairShards.open(folder)


SIDES = np.repeat([TRAIN, VALIDATION, 0], [30, 20, 10]).astype(np.int8)
ALL = PairFilter(SIDES, np.zeros(0, np.int64))


def as_set(pairs):
    return set(zip(pairs.anchor_ids, pairs.other_ids, pairs.labels, pairs.weights))


def both_on(table, first, last):
    """The rows of which both products are in this range, by their names."""
    names = {f"p{row:02}" for row in range(first, last)}
    rows = table.to_pylist()
    return [r for r in rows if r["anchor_id"] in names and r["other_id"] in names]


def test_the_counts_are_those_of_the_rows(catalog, table, tmp_path):
    found = count_pairs(shards(tmp_path / "p", table, files=3), catalog, ALL)
    train, validation = both_on(table, 0, 30), both_on(table, 30, 50)
    assert (found.train, found.similar) == (
        len(train),
        sum(row["label"] for row in train),
    )
    ends = [*table["anchor_id"].to_pylist(), *table["other_id"].to_pylist()]
    assert found.unknown == ends.count("gone") > 0
    assert len(found.validation) == len(validation) > 50
    assert as_set(found.validation) == {
        (r["other_id"], r["anchor_id"], r["label"], np.float32(r["weight"]))
        for r in validation
    }


def test_a_pair_with_itself_and_one_known_by_hand_are_left_out(catalog, tmp_path):
    rows = [("p00", "p00"), ("p01", "p00"), ("p02", "p03"), ("p04", "p05")]
    text = pa.table(
        {
            "anchor_id": [one for one, _ in rows],
            "other_id": [other for _, other in rows],
            "label": [1, 1, 1, 0],
        }
    )
    mined = shards(tmp_path / "p", text, files=1)
    assert count_pairs(mined, catalog, ALL).train == 3
    # By hand p00 and p01 are not similar, p02 and p03 are labelled both ways.
    hand = canonical_pairs(
        ["p00", "p02", "p02", "p50"], ["p01", "p03", "p03", "p51"], [0, 1, 0, 1]
    )
    chosen = PairFilter(SIDES, known_keys(catalog, hand))
    found = count_pairs(mined, catalog, chosen)
    assert (found.train, found.similar) == (1, 0)


def test_hand_labels_of_other_products_are_known_of_none(catalog):
    assert not len(known_keys(catalog, None))
    assert not len(known_keys(catalog, canonical_pairs(["x"], ["y"], [1])))


def test_the_sample_is_bounded_and_the_same_however_the_pairs_are_cut(
    catalog, table, tmp_path
):
    found = [
        count_pairs(mined, catalog, ALL, sample=20).validation
        for mined in (
            shards(tmp_path / "one", table, files=1),
            shards(tmp_path / "many", table.take(np.arange(1000)[::-1]), files=7),
        )
    ]
    assert len(found[0]) == 20
    assert as_set(found[0]) == as_set(found[1])
    assert found[0].anchor_ids.tolist() == found[1].anchor_ids.tolist()
    everything = count_pairs(PairShards.open(tmp_path / "one"), catalog, ALL).validation
    assert as_set(found[0]) < as_set(everything)
    # Drawn, not the first ones of the catalogue.
    assert max(found[0].other_ids) > "p45"


def test_a_count_is_remembered(catalog, table, tmp_path):
    memory, told = tmp_path / "memory" / "count.npz", []

    def count():
        return count_pairs(
            PairShards.open(tmp_path / "p"),
            catalog,
            ALL,
            memory=memory,
            progress=lambda done, total: told.append((done, total)),
        )

    shards(tmp_path / "p", table, files=2, group=500)
    first = count()
    assert told == [(500, 1000), (1000, 1000)]
    again = count()
    assert len(told) == 2
    assert (again.train, again.similar, again.unknown) == (
        first.train,
        first.similar,
        first.unknown,
    )
    assert as_set(again.validation) == as_set(first.validation)
    memory.write_bytes(b"PK no more")
    with pytest.raises(InputError, match=r"count.npz: cannot be read; delete it"):
        count()
