"""What a training learns from and is judged by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import canonical_pairs
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

IDS = list("abcdefgh")
# a, b, c, d and e are to learn from, f, g and h to be judged by.
SPLIT = Split({one: "train" if one < "f" else "validation" for one in IDS})


def catalog(groups="", kind=None):
    """Products a to h, of groups by a letter each ("." for none)."""
    empty = text_array([""] * 8)
    named = [one.strip(".") for one in groups or "." * 8]
    columns = pa.table({} if kind is None else {"kind": list(kind)})
    return Catalog(text_array(IDS), empty, empty, text_array(named), columns)


def pairs(text, source="hand"):
    """Pairs as "ab1 cd0"; mined ones are between hand and nothing in weight."""
    each = text.split()
    return canonical_pairs(
        [one[0] for one in each],
        [one[1] for one in each],
        [int(one[2]) for one in each],
        source=source,
    )


def as_text(some):
    each = zip(some.anchor_ids, some.other_ids, some.labels)
    return " ".join(sorted(f"{a}{b}{label}" for a, b, label in each))


HAND, MINED = pairs("ab1 ac0 fg1 fh0"), pairs("cd1 de0 ac1 gh1", "mined")


def labels(plan=None, *, hand=HAND, mined=MINED, products=None, split=SPLIT, **kw):
    plan = plan or TrainPlan(**kw)
    return side_labels(products or catalog(), split, hand, mined, plan)


@pytest.mark.parametrize(
    ("train_on", "train", "classes"),
    [
        ("hand", "ab1 ac0", [0, 0, -1, -1, -1, -1, -1, -1]),
        ("mined", "ac1 cd1 de0", [0, -1, 0, 0, -1, -1, -1, -1]),
        # By hand, a and c are dissimilar.
        ("both", "ab1 ac0 cd1 de0", [0, 0, 1, 1, -1, -1, -1, -1]),
    ],
)
def test_pairs_train_on_their_side_and_hand_labels_judge(train_on, train, classes):
    found = labels(train_on=train_on)
    assert as_text(found.train) == train
    assert found.classes.tolist() == classes
    assert as_text(found.validation) == "fg1 fh0"
    # What hangs together by similar pairs is a group of the validation side.
    assert [bool(one) for one in found.groups] == [False] * 5 + [True, True, False]
    assert found.groups[5] == found.groups[6]


def test_mined_pairs_judge_where_there_are_no_others():
    assert as_text(labels(hand=None).validation) == "gh1"
    assert labels(hand=pairs("ab1 ac0")).validation is None


def test_mined_pairs_weigh_as_they_are_told():
    whole, half = (
        labels(training=TrainingSettings(mined_weight=one)).train for one in (1.0, 0.5)
    )
    by_hand = np.array([f"{a}{b}" in ("ab", "ac") for a, b in zip(
        whole.anchor_ids, whole.other_ids)])  # fmt: skip
    np.testing.assert_allclose(half.weights[by_hand], whole.weights[by_hand])
    np.testing.assert_allclose(half.weights[~by_hand], whole.weights[~by_hand] / 2)


def test_the_catalogues_own_groups_judge_before_those_of_pairs():
    found = labels(products=catalog("xxyyzzuu"))
    assert found.groups.tolist() == [""] * 5 + ["z", "u", "u"]


def test_groups_train_without_any_pair():
    found = labels(
        train_on="groups", hand=None, mined=None, products=catalog("xxyy.zzu")
    )
    # x and y are the classes; the z's lie on the other side and are none.
    assert found.classes.tolist() == [0, 0, 1, 1, -1, -1, -1, -1]
    assert set(as_text(found.train).split()) == {
        "ab1", "cd1", "ac0", "ad0", "bc0", "bd0"
    }  # fmt: skip
    assert set(as_text(found.validation).split()) == {"fg1", "fh0", "gh0"}
    assert found.groups.tolist() == [""] * 5 + ["z", "z", "u"]


def test_groups_may_lack_a_fellow_on_the_validation_side():
    found = labels(
        train_on="groups", hand=None, mined=None, products=catalog("xxyyyzuv")
    )
    assert found.validation is None


def test_classes_are_numbered_on_the_training_side_alone():
    # By name, the validation side's group comes first.
    found = labels(
        train_on="groups", hand=None, mined=None, products=catalog("yyzz.aab")
    )
    assert found.classes.tolist() == [0, 0, 1, 1, -1, -1, -1, -1]


def test_a_split_may_know_further_products():
    split = Split({**SPLIT.sides, "elsewhere": "train"})
    assert as_text(labels(split=split, train_on="hand").train) == "ab1 ac0"
    found = labels(
        split=split,
        train_on="groups",
        hand=None,
        mined=None,
        products=catalog("xxyy.zzu"),
    )
    assert found.classes.max() == 1


def test_what_is_not_there_is_refused():
    for train_on, kw, message in (
        ("both", {"hand": None, "mined": None}, "there are no hand or mined pairs"),
        ("hand", {"hand": None}, "there are no hand pairs; give a file of them"),
        ("mined", {"mined": None}, "there are no mined pairs; give a file of them"),
        ("groups", {}, "training on groups takes two groups, one with two products"),
        ("groups", {"products": catalog("xxx.....")}, "takes two groups"),
        (
            "hand",
            {"hand": pairs("ab0 bc0 fg1")},
            "2 pairs lie on the training side, 0 of them similar",
        ),
        ("hand", {"hand": pairs("af1")}, "0 pairs lie on the training side"),
    ):
        with pytest.raises(SimprodError, match=message):
            labels(train_on=train_on, **kw)


def test_the_best_epoch_is_watched_on_all_labels_of_the_kind():
    for train_on, watched in (
        ("hand", "fg1 fh0"),
        ("both", "fg1 fh0 gh1"),
        ("mined", "fg1 fh0 gh1"),
    ):
        assert as_text(labels(train_on=train_on).watched) == watched
    assert labels(hand=pairs("ab1 ac0"), mined=None).watched is None


def test_losses_of_both_labels_need_both():
    contrastive = TrainingSettings(loss=LossSettings("contrastive"))
    plan = TrainPlan(training=contrastive, train_on="hand")
    with pytest.raises(SimprodError, match="2 pairs lie on .* side, 2 of them similar"):
        labels(plan, hand=pairs("ab1 bc1 fg0"))
    # To npairs the rest of the batch is dissimilar; drawn pairs do for the others.
    assert as_text(labels(train_on="hand", hand=pairs("ab1 fg1")).train) == "ab1"
    drawn = replace(contrastive, negatives=NegativeSettings(random=1))
    plan = TrainPlan(training=drawn, train_on="hand")
    assert as_text(labels(plan, hand=pairs("ab1 fg1")).train) == "ab1"


def test_batches_of_groups_take_two_groups():
    for training in (
        TrainingSettings(batch=BatchSettings("groups")),
        TrainingSettings(loss=LossSettings("arcface")),
    ):
        plan = TrainPlan(training=training, train_on="hand")
        assert len(labels(plan, hand=pairs("ab1 cd1 fg1")).train) == 2
        with pytest.raises(SimprodError, match="take two groups .* and there are 1"):
            labels(plan, hand=pairs("ab1 cd0"))
        with pytest.raises(SimprodError, match="take two groups .* and there are 0"):
            labels(plan, hand=pairs("ab0 cd0"))


def test_raw_features_need_labels_of_no_kind_to_learn_from():
    found = labels(raw=True, hand=pairs("ab0 fg0"), mined=None)
    assert found.classes.tolist() == [-1] * 8
    assert not found.groups.astype(bool).any()


def test_negatives_of_a_column_need_it():
    training = TrainingSettings(negatives=NegativeSettings(random=1, column="kind"))
    labels(training=training, products=catalog(kind="rrrrssss"))
    with pytest.raises(SimprodError, match="negatives: no column 'kind'; the columns"):
        labels(training=training)
