"""Requests below each other, worked by hand."""

from __future__ import annotations

import numpy as np

from simprod_tf.serving.server.joining import join, split_rows


def test_rows_are_joined_filled_up_and_told_apart_again():
    first = {"x": np.float32([[1, 2]]), "s": np.array([b"a"], object)}
    second = {"x": np.float32([[3, 4], [5, 6]]), "s": np.array([b"b", b""], object)}
    joined = join([first, second], rows=5)
    np.testing.assert_array_equal(
        joined["x"], np.float32([[1, 2], [3, 4], [5, 6], [1, 2], [1, 2]])
    )
    assert joined["s"].tolist() == [b"a", b"b", b"", b"a", b"a"]
    apart = split_rows([joined["x"], joined["s"]], [1, 2])
    for request, arrays in zip((first, second), apart):
        np.testing.assert_array_equal(arrays[0], request["x"])
        np.testing.assert_array_equal(arrays[1], request["s"])


def test_shorter_rows_are_padded_with_their_own_first_element():
    joined = join(
        [{"x": np.int64([[7, 8, 9]])}, {"x": np.int64([[5]])}, {"x": np.ones((1, 0))}],
        rows=3,
    )
    assert joined["x"].tolist() == [[7, 8, 9], [5, 5, 5], [0, 0, 0]]
    words = join(
        [{"s": np.array([[b"a", b"b"]], object)}, {"s": np.empty((1, 0), object)}],
        rows=2,
    )
    assert words["s"].tolist() == [[b"a", b"b"], [b"", b""]]


def test_a_lone_request_is_handed_through():
    array = np.float32([1, 2])
    assert join([{"x": array}], rows=2)["x"] is array
