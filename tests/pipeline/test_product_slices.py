"""Slices of pairs, queries and groups, on a shop where all is seen by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.evaluation.evaluate import evaluate_groups, evaluate_model
from simprod_tf.evaluation.group_metrics import group_rows
from simprod_tf.evaluation.retrieval import retrieval_metrics
from simprod_tf.pipeline.judge import HeldOut
from simprod_tf.pipeline.product_slices import Slicing, with_slices


def shop() -> Catalog:
    """Six products in three groups; "e" has no picture; "f" has no colour."""
    return Catalog(
        text_array("abcdef"),
        text_array("tttttt"),
        text_array(["p", "p", "p", "p", "", "p"]),
        text_array("xxyyzz"),
        pa.table({"colour": ["red", "red", "red", "blue", "blue", None]}),
    )


PAIRS = canonical_pairs(["a", "a", "c", "d"], ["b", "c", "d", "e"], [1, 0, 1, 0])
TEST = HeldOut(shop(), shop(), PAIRS)


def judged():
    turns = np.deg2rad([0, 5, 90, 95, 180, 270])
    vectors = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)
    ids, groups = TEST.catalog.ids.astype(str), TEST.catalog.groups.astype(str)
    return evaluate_model(
        "m",
        pair_distances=[0.1, 1.4, 0.1, 1.3],
        pair_labels=PAIRS.labels,
        pair_groups=["x", "x", "y", "y"],
        pair_ids=np.stack([PAIRS.anchor_ids, PAIRS.other_ids], axis=1),
        retrieval=retrieval_metrics(
            vectors, vectors, groups, groups, query_ids=ids, candidate_ids=ids
        ),
        seed=0,
    )


def counts(evaluation) -> dict[tuple[str, str, str], int]:
    return {(one.kind, one.column, one.value): one.n for one in evaluation.slices}


def test_slices_by_a_column_by_what_is_seen_and_by_what_is_missing() -> None:
    slicing = Slicing(("colour",), frozenset("abc"), fewest=2)
    found = with_slices(judged(), TEST, slicing, seed=0)
    assert counts(found) == {
        ("pairs", "colour", "red"): 2,
        ("pairs", "colour", "(mixed)"): 1,
        ("pairs", "colour", "blue"): 1,
        ("pairs", "seen", "seen"): 2,
        ("pairs", "seen", "(mixed)"): 1,
        ("pairs", "seen", "unseen"): 1,
        ("pairs", "picture", "with"): 3,
        ("pairs", "picture", "(mixed)"): 1,
        ("queries", "colour", "red"): 3,
        ("queries", "colour", "blue"): 2,
        ("queries", "colour", "(none)"): 1,
        ("queries", "seen", "seen"): 3,
        ("queries", "seen", "unseen"): 3,
        ("queries", "picture", "with"): 5,
        ("queries", "picture", "without"): 1,
    }
    by_place = {(one.kind, one.column, one.value): one for one in found.slices}
    red = by_place["pairs", "colour", "red"]
    assert red.metrics["pr_auc"].value == 1
    assert not red.few
    assert by_place["queries", "picture", "without"].few
    # "e" and "f" are 90 degrees apart, "d" and "e" 85: the first answer is wrong.
    assert by_place["queries", "seen", "seen"].metrics["recall_at_1"].value == 1
    assert by_place["queries", "seen", "unseen"].metrics[
        "recall_at_1"
    ].value == pytest.approx(1 / 3)


def test_groups_have_slices_of_products() -> None:
    truth = dict(zip(TEST.catalog.ids, TEST.catalog.groups))
    rows = group_rows({"a": "1", "b": "1", "c": "1"}, truth)
    found = with_slices(
        evaluate_groups("g", rows, seed=0), TEST, Slicing(("group",)), seed=0
    )
    values = {
        one.value: one.metrics["row_f1"].value
        for one in found.slices
        if one.column == "group"
    }
    # Found abc, d, e, f; truly ab, cd, ef.
    assert values == pytest.approx({"x": 4 / 5, "y": (2 / 5 + 2 / 3) / 2, "z": 2 / 3})
    assert {one.kind for one in found.slices} == {"products"}


def test_a_full_catalogue_has_no_slices_by_what_is_missing() -> None:
    full = shop().take(np.array([0, 1, 2, 3]))
    test = HeldOut(full, full)
    rows = group_rows({}, dict(zip(full.ids, full.groups)))
    found = with_slices(evaluate_groups("g", rows, seed=0), test, Slicing(), seed=0)
    assert found.slices == ()


def test_a_column_of_the_catalogue_named_like_a_worked_out_one_goes_first() -> None:
    full = shop().take(np.array([0, 1, 2, 3]))
    named = Catalog(
        full.ids, full.titles, full.images, full.groups,
        pa.table({"seen": ["1999", "1999", "2020", "2020"]}),
    )  # fmt: skip
    rows = group_rows({}, dict(zip(named.ids, named.groups)))
    found = with_slices(
        evaluate_groups("g", rows, seed=0),
        HeldOut(named, named),
        Slicing(("seen",), frozenset("a")),
        seed=0,
    )
    assert [one.value for one in found.slices] == ["1999", "2020"]


def test_unknown_columns_and_minimums_are_refused() -> None:
    with pytest.raises(KeyError, match="no column 'size'; the columns are: group, col"):
        with_slices(judged(), TEST, Slicing(("size",)), seed=0)
    with pytest.raises(ValueError, match="fewest must be at least 0, got -1"):
        Slicing(fewest=-1)
