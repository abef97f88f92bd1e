"""Mined pairs in shards serve a training as those of a file do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pair_shards import PairShards
from simprod_tf.data.pairs import canonical_pairs, read_pairs
from simprod_tf.data.split import Split
from simprod_tf.errors import SimprodError
from simprod_tf.pipeline.labels import side_labels
from simprod_tf.pipeline.plan import TrainPlan
from simprod_tf.training.settings import (
    BatchSettings,
    LossSettings,
    NegativeSettings,
    TrainingSettings,
)

IDS = list("abcdefghi")
# a to e are to learn from, f to i to be judged by.
SPLIT = Split({one: "train" if one < "f" else "validation" for one in IDS})
EMPTY = text_array([""] * len(IDS))
CATALOG = Catalog(text_array(IDS), EMPTY, EMPTY, EMPTY, pa.table({}))
# By hand ac is not similar; xa is of no product, af and dg of two sides.
MINED = "cd1 de0 ac1 be1 fg0 gh1 hi0 xa1 af1 dg0"


def pairs(text):
    each = text.split()
    return canonical_pairs(
        [one[0] for one in each],
        [one[1] for one in each],
        [int(one[2]) for one in each],
    )


HAND = pairs("ab1 ac0 fg1 fi0")


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    """The same pairs in two shards, and as a file."""
    each = MINED.split()
    table = pa.table(
        {
            "anchor_id": [one[0] for one in each],
            "other_id": [one[1] for one in each],
            "label": [int(one[2]) for one in each],
            "weight": pa.array(np.linspace(0.1, 0.9, len(each)), pa.float32()),
        }
    )
    folder = tmp_path_factory.mktemp("mined")
    (folder / "shards").mkdir()
    pq.write_table(table, folder / "pairs.parquet")
    for number in range(2):
        some = table.slice(5 * number, 5)
        pq.write_table(some, folder / "shards" / f"part-{number}.parquet")
    shards = PairShards.open(folder / "shards")
    file = folder / "pairs.parquet"
    return shards, read_pairs(file, source="mined", known_ids=CATALOG.ids)


def weighted(some):
    """The pairs by their ids, with label and weight."""
    ends = zip(some.anchor_ids, some.other_ids)
    values = zip(some.labels.tolist(), np.round(some.weights, 5).tolist())
    return dict(zip(ends, values))


def streamed(stream):
    """The pairs of a pass, as `weighted` gives them."""
    found = {}
    for block in stream.blocks(np.random.default_rng(0)):
        ends = [tuple(CATALOG.ids[row]) for row in block.rows]
        values = zip(block.labels.astype(int).tolist(), block.weights.round(5).tolist())
        found.update(zip(ends, values))
    return found


@pytest.mark.parametrize("hand", [None, HAND])
@pytest.mark.parametrize("train_on", ["mined", "both"])
def test_shards_train_and_judge_as_a_file_does(mined, hand, train_on):
    plan = TrainPlan(train_on=train_on, training=TrainingSettings(mined_weight=0.5))
    shards, file = (side_labels(CATALOG, SPLIT, hand, one, plan) for one in mined)
    assert streamed(shards.train) == weighted(file.train)
    assert len(shards.train) == len(file.train)
    assert shards.train.num_positives == file.train.num_positives
    for name in ("validation", "watched"):
        one, other = getattr(shards, name), getattr(file, name)
        assert weighted(one) == weighted(other)
    same_group = [
        labels.groups[:, np.newaxis] == labels.groups for labels in (shards, file)
    ]
    np.testing.assert_array_equal(*same_group)


def test_shards_serve_nothing_where_hand_labels_alone_train(mined):
    plan = TrainPlan(train_on="hand")
    found = side_labels(CATALOG, SPLIT, HAND, mined[0], plan)
    assert weighted(found.train) == weighted(HAND.within(list("abcde")))
    assert weighted(found.watched) == weighted(HAND.within(list("fghi")))


def test_unknown_ids_are_told(mined, caplog):
    side_labels(CATALOG, SPLIT, None, mined[0], TrainPlan())
    assert "1 pairs left out: unknown id" in caplog.text


def test_the_count_is_remembered_for_the_same_shards_and_sides(mined, tmp_path):
    told = []

    def count(split=SPLIT, hand=HAND):
        side_labels(
            CATALOG, split, hand, mined[0], TrainPlan(), memory=tmp_path,
            progress=lambda *one: told.append(one),
        )  # fmt: skip
        return len(list(tmp_path.iterdir()))

    assert count() == 1
    assert told == [("Counting mined pairs", 5, 10), ("Counting mined pairs", 10, 10)]
    assert count() == 1
    assert len(told) == 2
    assert count(hand=None) == 2
    assert count(split=Split({**SPLIT.sides, "i": "train"})) == 3


@pytest.mark.parametrize(
    ("training", "asked"),
    [
        (
            TrainingSettings(loss=LossSettings("arcface")),
            "--loss arcface with --batches groups",
        ),
        (
            TrainingSettings(batch=BatchSettings("groups")),
            "--loss npairs with --batches groups",
        ),
        (TrainingSettings(negatives=NegativeSettings(hard=1)), "--hard-negatives"),
        (TrainingSettings(negatives=NegativeSettings(random=1)), "--random-negatives"),
    ],
)
def test_what_takes_all_pairs_at_once_is_refused(mined, training, asked):
    plan = TrainPlan(training=training)
    message = f"{asked} takes all labelled pairs at once, .* or give one file of mined"
    with pytest.raises(SimprodError, match=message):
        side_labels(CATALOG, SPLIT, None, mined[0], plan)
    # Without training, and where hand labels alone train, nothing is asked of them.
    assert side_labels(CATALOG, SPLIT, None, mined[0], replace(plan, raw=True))


def test_a_side_without_pairs_to_learn_from_is_refused(mined):
    split = Split(dict.fromkeys(IDS, "validation"))
    with pytest.raises(SimprodError, match="0 pairs lie on the training side"):
        side_labels(CATALOG, split, None, mined[0], TrainPlan())
