from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simprod_tf.decider.evidence.ragged import Ragged, crossed

LISTS = st.lists(
    st.lists(st.integers(0, 9), max_size=5).map(lambda one: sorted(set(one))),
    min_size=1,
    max_size=6,
)
SPAN = 10


@given(LISTS, st.data())
def test_taken_lists_are_those_of_the_rows(lists, data):
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=8))
    taken = Ragged.of(lists).take(np.array(rows, np.int64))
    assert taken.size == len(rows)
    for line, row in enumerate(rows):
        assert taken.values[taken.lines == line].tolist() == lists[row]
    assert (Ragged.of(lists).values[taken.places] == taken.values).all()


@given(LISTS, st.data())
def test_among_equals_set_membership(lists, data):
    held = Ragged.of(lists)
    rows = st.lists(st.integers(0, len(lists) - 1), min_size=4, max_size=4)
    one, two, three = (np.array(data.draw(rows)) for _ in range(3))
    taken = held.take(one)
    found = taken.among(held.take(two), held.take(three), span=SPAN)
    expected = [
        value in lists[two[line]] or value in lists[three[line]]
        for line, value in zip(taken.lines, taken.values)
    ]
    assert found.tolist() == expected


@given(LISTS, st.data())
def test_crossed_is_every_two_of_a_line(lists, data):
    held = Ragged.of(lists)
    rows = st.lists(st.integers(0, len(lists) - 1), min_size=3, max_size=3)
    one, two = (held.take(np.array(data.draw(rows))) for _ in range(2))
    even, odd = one.values % 2 == 0, two.values % 2 == 1
    left, right = crossed(one, two, keep_one=even, keep_two=odd)
    expected = {
        (i, j)
        for i in range(len(one.values))
        for j in range(len(two.values))
        if one.lines[i] == two.lines[j] and even[i] and odd[j]
    }
    assert set(zip(left.tolist(), right.tolist())) == expected
    assert len(left) == len(expected)


def test_sums_counts_and_maxima_of_lines():
    held = Ragged.of([[1, 2], [], [5]])
    taken = held.take(np.array([2, 1, 0, 0]))
    weights = np.array([7.0, 1.0, -3.0, 4.0, 2.0])
    assert taken.sum(weights).tolist() == [7, 0, -2, 6]
    assert taken.max(weights).tolist() == [7, 0, 1, 4]
    assert taken.count().tolist() == [1, 0, 2, 2]
    assert taken.count(taken.values > 1).tolist() == [1, 0, 1, 1]
    assert held.counts.tolist() == [2, 0, 1]
    assert held.sums(np.array([1.0, 2.0, 4.0])).tolist() == [3, 0, 4]
    assert taken.where(taken.values > 1).values.tolist() == [5, 2, 2]
