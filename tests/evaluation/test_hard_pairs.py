from __future__ import annotations

import numpy as np

from simprod_tf.evaluation.hard_pairs import hardest_pairs

#            0    1    2    3    4    5
DISTANCES = [0.2, 0.4, 0.9, 1.5, 0.1, np.nan]
LABELS = [0, 0, 1, 1, 1, 1]
ANCHORS = ["a", "c", "e", "g", "i", "k"]
OTHERS = ["b", "d", "f", "h", "j", "l"]


def rows(max_distance, *, anchors=ANCHORS, count=12):
    found = hardest_pairs(
        DISTANCES,
        LABELS,
        max_distance=max_distance,
        anchors=anchors,
        others=OTHERS,
        count=count,
    )
    return found.false_positives.tolist(), found.false_negatives.tolist()


def test_without_a_threshold_near_and_far_ones_are_hard():
    assert rows(None) == ([0, 1], [3, 2, 4])


def test_with_a_threshold_errors_alone_are_hard():
    # On the threshold is within.
    assert rows(0.4) == ([0, 1], [3, 2])
    assert rows(0.3) == ([0], [3, 2])
    assert rows(1.5) == ([0, 1], [])


def test_no_more_than_asked_for_are_given():
    assert rows(None, count=1) == ([0], [3])
    assert rows(None, count=0) == ([], [])


def test_a_product_stands_in_one_pair_of_a_kind():
    anchors = ["a", "b", "e", "g", "h", "k"]
    # Row 1 shares b with row 0, row 4 shares h with row 3.
    assert rows(None, anchors=anchors) == ([0], [3, 2])
