from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.evaluation.interval import mean_of, paired_difference
from simprod_tf.evaluation.section import (
    mean_section,
    section_differences,
    section_intervals,
)

NUMBERS = np.array([0, 0, 1, 2, 2, 2])


def test_no_measures_have_no_intervals() -> None:
    assert section_intervals(mean_section({}, NUMBERS), seed=0) == {}


def test_differences_are_drawn_together_for_the_names_that_both_have() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = generator.random(6), generator.random(6)
    first = mean_section({"a": ours, "b": theirs}, NUMBERS)
    second = mean_section({"c": ours, "a": theirs}, NUMBERS)
    found = section_differences(first, second, seed=2)
    slow = paired_difference(mean_of(ours), mean_of(theirs), groups=NUMBERS, seed=2)
    assert list(found) == ["a"]
    assert found["a"].value == pytest.approx(slow.value)
    assert found["a"].low == pytest.approx(slow.low)
    assert found["a"].high == pytest.approx(slow.high)


def test_other_rows_are_refused() -> None:
    first = mean_section({"a": np.ones(6)}, NUMBERS)
    second = mean_section({"a": np.ones(6)}, NUMBERS[::-1])
    with pytest.raises(ValueError, match="must be of the same rows"):
        section_differences(first, second, seed=0)
