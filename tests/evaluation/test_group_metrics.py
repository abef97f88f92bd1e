from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.errors import SimprodError
from simprod_tf.evaluation.group_metrics import (
    GROUP_METRICS,
    group_metrics,
    group_rows,
    group_section,
    grouped_pair_metrics,
)
from simprod_tf.evaluation.interval import bootstrap_interval
from simprod_tf.evaluation.section import section_intervals

# Bagga and Baldwin's own example, products for mentions: true groups of 5, 2 and 5.
# The first response joins the small group to a large one, the second the two large.
TRUTH = {
    str(n): "one" if n <= 5 else "two" if n <= 7 else "three" for n in range(1, 13)
}
SMALL_JOINED = {id: "two" if group == "three" else group for id, group in TRUTH.items()}
LARGE_JOINED = {id: "one" if group == "three" else group for id, group in TRUTH.items()}


def slow_b_cubed(
    found: dict[str, str], truth: dict[str, Hashable]
) -> tuple[float, float]:
    """Returns precision and recall, product by product."""
    precision = recall = 0.0
    for id in truth:
        mine = {
            other
            for other in truth
            if other == id or (id in found and found.get(other) == found[id])
        }
        right = {other for other in truth if truth[other] == truth[id]}
        precision += len(mine & right) / len(mine)
        recall += len(mine & right) / len(right)
    return precision / len(truth), recall / len(truth)


def slow_pairs(
    found: dict[str, str], truth: dict[str, Hashable]
) -> tuple[float, float]:
    ids = list(truth)
    pairs = [(a, b) for place, a in enumerate(ids) for b in ids[:place]]
    together = {(a, b) for a, b in pairs if a in found and found[a] == found.get(b)}
    similar = {(a, b) for a, b in pairs if truth[a] == truth[b]}
    hits = len(together & similar)
    return hits / len(together), hits / len(similar)


def test_b_cubed_of_the_published_example() -> None:
    # (5 * 1 + 2 * 2/7 + 5 * 5/7) / 12, and (10 * 5/10 + 2 * 1) / 12.
    metrics = group_metrics(SMALL_JOINED, TRUTH)
    assert metrics.b_cubed_precision == pytest.approx((5 + 4 / 7 + 25 / 7) / 12)
    assert metrics.b_cubed_recall == 1.0
    assert group_metrics(LARGE_JOINED, TRUTH).b_cubed_precision == pytest.approx(7 / 12)


def test_every_measure_of_five_products_by_hand() -> None:
    # Found ab, cd, e; truly abc, d, e.
    found = {"a": "g", "b": "g", "c": "h", "d": "h"}
    truth = {"a": 1, "b": 1, "c": 1, "d": 2, "e": 3}
    metrics = group_metrics(found, truth)
    # Of each product's found group: 1, 1, 1/2, 1/2, 1; of its true one: 2/3, 2/3, 1/3.
    assert metrics.b_cubed_precision == pytest.approx(4 / 5)
    assert metrics.b_cubed_recall == pytest.approx((5 / 3 + 2) / 5)
    assert metrics.b_cubed_f1 == pytest.approx(2 / (5 / 4 + 15 / 11))
    # Together ab and cd; truly together ab, ac, bc.
    assert metrics.pair_precision == pytest.approx(1 / 2)
    assert metrics.pair_recall == pytest.approx(1 / 3)
    assert (metrics.num_products, metrics.num_groups) == (5, 2)
    assert (metrics.num_singletons, metrics.largest) == (1, 2)


@pytest.mark.parametrize("seed", range(10))
def test_measures_equal_the_slow_oracle(seed: int) -> None:
    generator = np.random.default_rng(seed)
    ids = [f"p{row}" for row in range(80)]
    truth: dict[str, Hashable] = dict(
        zip(ids, generator.integers(20, size=80).tolist())
    )
    found = {id: f"g{generator.integers(25)}" for id in ids[:60]}
    metrics = group_metrics(found, truth)
    b_cubed = metrics.b_cubed_precision, metrics.b_cubed_recall
    assert b_cubed == pytest.approx(slow_b_cubed(found, truth), abs=1e-12)
    pairs = metrics.pair_precision, metrics.pair_recall
    assert pairs == pytest.approx(slow_pairs(found, truth), abs=1e-12)


def test_a_table_is_judged_like_a_mapping() -> None:
    table = pa.table({"id": list(SMALL_JOINED), "group": list(SMALL_JOINED.values())})
    assert group_metrics(table, TRUTH) == group_metrics(SMALL_JOINED, TRUTH)


def test_products_without_a_true_group_are_left_out() -> None:
    found = {"a": "g", "b": "g", "x": "g", "y": "h", "z": "h"}
    metrics = group_metrics(found, {"a": 1, "b": 1})
    assert (metrics.b_cubed_precision, metrics.pair_precision) == (1.0, 1.0)
    assert (metrics.num_products, metrics.num_groups, metrics.largest) == (2, 1, 2)


def test_lone_products_have_no_pairs() -> None:
    metrics = group_metrics({}, {"a": 1, "b": 2})
    assert (metrics.b_cubed_precision, metrics.b_cubed_recall) == (1.0, 1.0)
    assert math.isnan(metrics.pair_precision)
    assert math.isnan(metrics.pair_recall)
    assert (metrics.num_singletons, metrics.num_groups) == (2, 0)


def test_no_products_are_judged_by_nan() -> None:
    metrics = group_metrics({"a": "g"}, {})
    assert math.isnan(metrics.b_cubed_f1)
    assert metrics.num_products == 0


def test_a_product_in_two_groups_is_refused() -> None:
    table = pa.table({"id": ["a", "a"], "group": ["g", "h"]})
    with pytest.raises(SimprodError, match="each product once, got 'a' twice"):
        group_metrics(table, {"a": 1})


def test_labelled_pairs_are_judged_by_their_groups() -> None:
    found = {"a": "g", "b": "g", "c": "g", "d": "h"}
    pairs = [("a", "b"), ("a", "c"), ("a", "d"), ("d", "e"), ("e", "f")]
    metrics = grouped_pair_metrics(found, pairs, labels=[1, 0, 1, 1, 0])
    # Together: ab and ac. Similar: ab, ad, de.
    assert metrics.precision == pytest.approx(1 / 2)
    assert metrics.recall == pytest.approx(1 / 3)
    counts = metrics.num_pairs, metrics.num_similar, metrics.num_together
    assert (*counts, metrics.num_hits) == (5, 3, 2, 1)


def test_products_in_no_group_are_not_together() -> None:
    metrics = grouped_pair_metrics({}, [("a", "b")], labels=[1])
    assert metrics.num_together == 0
    assert math.isnan(metrics.precision)
    assert metrics.recall == 0.0


def test_no_pairs_have_no_precision() -> None:
    table = pa.table({"id": ["a"], "group": ["a"]})
    metrics = grouped_pair_metrics(table, [], labels=[])
    assert math.isnan(metrics.precision)
    assert metrics.num_pairs == 0


@pytest.mark.parametrize("labels", [[1], [1, 2], [[1, 0]]])
def test_labels_that_do_not_fit_are_refused(labels: list) -> None:
    with pytest.raises(ValueError, match="labels must be one row of 2 values"):
        grouped_pair_metrics({}, [("a", "b"), ("c", "d")], labels=labels)


def slow_row_f1(found: dict[str, str], truth: dict[str, Hashable]) -> float:
    """The score of Kaggle's Shopee competition: F1 of two sets of ids, row by row."""
    total = 0.0
    for id in truth:
        mine = {other for other in truth if other == id or is_with(found, id, other)}
        right = {other for other in truth if truth[other] == truth[id]}
        total += 2 * len(mine & right) / (len(mine) + len(right))
    return total / len(truth)


def is_with(found: dict[str, str], one: str, other: str) -> bool:
    return one in found and found[one] == found.get(other)


def test_row_f1_and_pair_f1_of_five_products_by_hand() -> None:
    # Found ab, cd, e; truly abc, d, e. F1: a, b 2*2/5; c 2*1/5; d 2*1/3; e 1.
    found = {"a": "g", "b": "g", "c": "h", "d": "h"}
    truth = {"a": 1, "b": 1, "c": 1, "d": 2, "e": 3}
    metrics = group_metrics(found, truth)
    assert metrics.row_f1 == pytest.approx((4 / 5 + 4 / 5 + 2 / 5 + 2 / 3 + 1) / 5)
    # One pair of the two together and of the three similar ones is both.
    assert metrics.pair_f1 == pytest.approx(2 / 5)


@pytest.mark.parametrize("seed", range(4))
def test_row_f1_equals_the_slow_oracle(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth = {str(n): int(generator.integers(6)) for n in range(30)}
    found = {id: str(generator.integers(8)) for id in truth if generator.random() < 0.8}
    assert group_metrics(found, truth).row_f1 == pytest.approx(
        slow_row_f1(found, truth)
    )


def test_intervals_equal_the_bootstrap_of_the_products_rows() -> None:
    generator = np.random.default_rng(7)
    truth = {str(n): n // 3 for n in range(60)}
    found = {id: str(generator.integers(20)) for id in truth}
    rows = group_rows(found, truth)
    intervals = section_intervals(group_section(rows), seed=1)
    assert tuple(intervals) == GROUP_METRICS
    whole = group_metrics(found, truth)
    for name in GROUP_METRICS:
        assert intervals[name].value == pytest.approx(getattr(whole, name))

    def row_f1(drawn: np.ndarray) -> float:
        some = rows.take(drawn)
        return float((2 * some.shared / (some.found_sizes + some.true_sizes)).mean())

    def pair_precision(drawn: np.ndarray) -> float:
        some = rows.take(drawn)
        return float((some.shared - 1).sum() / (some.found_sizes - 1).sum())

    for name, statistic in (("row_f1", row_f1), ("pair_precision", pair_precision)):
        slow = bootstrap_interval(statistic, rows.groups, seed=1)
        assert intervals[name].low == pytest.approx(slow.low)
        assert intervals[name].high == pytest.approx(slow.high)


def test_no_products_have_no_measures_to_resample() -> None:
    assert section_intervals(group_section(group_rows({}, {})), seed=0) == {}
