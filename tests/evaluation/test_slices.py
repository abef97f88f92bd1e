from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.evaluation.section import Section, mean_section
from simprod_tf.evaluation.slices import MIXED, MOST_VALUES, of_pairs, sliced

VALUES = np.array([1.0, 0.0, 1.0, 1.0, 0.0])


def section_of(rows: np.ndarray) -> Section:
    return mean_section({"hit": VALUES[rows]}, np.arange(len(rows)))


def test_each_value_has_its_rows_the_most_first_and_few_are_marked() -> None:
    column = np.array(["mug", "pan", "mug", "", "mug"])
    found = sliced("category", column, section_of, kind="queries", fewest=2, seed=0)
    assert [(one.value, one.n, one.few) for one in found] == [
        ("mug", 3, False),
        ("(none)", 1, True),
        ("pan", 1, True),
    ]
    assert [one.metrics["hit"].value for one in found] == pytest.approx([2 / 3, 1, 0])
    assert {(one.column, one.kind) for one in found} == {("category", "queries")}


def test_the_rarest_of_many_values_are_one_slice_which_comes_last() -> None:
    names = [f"brand {n}" for n in range(MOST_VALUES + 5)]
    column = np.array([*names, *names[:3]])

    def count(rows: np.ndarray) -> Section:
        return mean_section({"n": np.ones(len(rows))}, np.arange(len(rows)))

    found = sliced("brand", column, count, kind="products", fewest=0, seed=0)
    assert len(found) == MOST_VALUES
    assert [one.n for one in found[:4]] == [2, 2, 2, 1]
    assert (found[-1].value, found[-1].n) == ("(others)", 6)
    assert sum(one.n for one in found) == len(column)


def test_a_pair_of_two_values_is_mixed() -> None:
    anchors, others = np.array(["mug", "pan", ""]), np.array(["mug", "mug", ""])
    assert of_pairs(anchors, others).tolist() == ["mug", MIXED, ""]


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="kind must be one of .*, got 'rows'"):
        sliced("c", np.array([]), section_of, kind="rows", fewest=0, seed=0)
    with pytest.raises(ValueError, match="fewest must be at least 0, got -1"):
        sliced("c", np.array([]), section_of, kind="pairs", fewest=-1, seed=0)
