from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.evaluation.sides import (
    FARTHEST,
    Members,
    checked_side,
    known_rows,
    pair_distances,
)

VECTORS = np.array([[1, 0], [0, 1], [0, 0]], np.float32)


def test_sound_float32_vectors_are_not_copied() -> None:
    side = checked_side(VECTORS, np.arange(3), np.arange(3), name="query")
    assert np.shares_memory(side.embeddings, VECTORS)


def test_a_length_that_is_a_little_off_is_mended_in_a_copy() -> None:
    long = VECTORS * np.float32(1.0005)
    side = checked_side(long, np.arange(3), np.arange(3), name="query")
    np.testing.assert_allclose(side.embeddings, VECTORS, atol=1e-7)
    assert long[0, 0] == np.float32(1.0005)


@pytest.mark.parametrize("length", [0.5, 1.01])
def test_other_lengths_are_refused(length: float) -> None:
    wrong = VECTORS * np.float32(length)
    with pytest.raises(ValueError, match=f"unit length, or zero, got .* {length}"):
        checked_side(wrong, np.arange(3), np.arange(3), name="query")


def test_members_are_those_of_the_group_by_rising_row() -> None:
    members = Members.by_group(np.array([2, 0, 2, 1]))
    lines, rows = members.of(np.array([2, 3, 0]))
    assert lines.tolist() == [0, 0, 2]
    assert rows.tolist() == [0, 2, 1]


def test_pairs_of_which_one_is_unknown_are_as_far_as_can_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("simprod_tf.evaluation.sides._BLOCK_ROWS", 2)
    anchors, others = np.array([0, 0, 2, 1]), np.array([1, 0, 2, 2])
    found = pair_distances(VECTORS, VECTORS, rows=(anchors, others))
    np.testing.assert_allclose(found, [np.sqrt(2), 0, FARTHEST, FARTHEST])
    assert known_rows(VECTORS).tolist() == [True, True, False]
