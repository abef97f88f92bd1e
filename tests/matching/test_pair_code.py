"""Pairs as numbers: the order of the two is all one."""

from __future__ import annotations

import numpy as np

from simprod_tf.matching.pair_code import is_mutual, pair_codes


def test_a_pair_has_one_code_in_either_order() -> None:
    starts, ends = np.array([0, 4, 3, 2]), np.array([4, 0, 3, 1])
    codes = pair_codes(starts, ends, n=5)
    assert codes.tolist() == [4, 4, 18, 7]
    assert np.divmod(codes, 5)[0].tolist() == [0, 0, 3, 1]


def test_codes_of_small_row_types_do_not_overflow() -> None:
    rows = np.array([2_000_000_000], np.int32)
    codes = pair_codes(rows, rows - 1, n=2_000_000_001)
    assert codes.dtype == np.int64
    assert codes.tolist() == [1_999_999_999 * 2_000_000_001 + 2_000_000_000]


def test_is_mutual_looks_for_the_edge_back() -> None:
    starts, ends = np.array([0, 1, 1, 2]), np.array([1, 0, 2, 0])
    assert is_mutual(starts, ends, n=3).tolist() == [True, True, False, False]
