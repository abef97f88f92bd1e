"""Several indexes over one catalogue, where not every product is in each."""

from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.errors import SimprodError
from simprod_tf.index import ExactIndex, Index
from simprod_tf.matching.candidate_graph import ListedView
from simprod_tf.matching.views import Views


def on_circle(**degrees: float) -> Index:
    """Returns an index of these products at these angles."""
    angles = np.radians(list(degrees.values()))
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    ids = list(degrees)
    return ExactIndex.build(ids, vectors.reshape(-1, 2), encoder_fingerprint="f")


@pytest.fixture
def views() -> Views:
    # The other view lacks b and has an order of its own.
    both = on_circle(a=0, b=10, c=30, d=31)
    return Views({"image": on_circle(d=0, c=180, a=60), "both": both})


def test_rows_are_those_of_both_which_comes_first(views: Views) -> None:
    assert views.names == ("both", "image")
    assert views.ids == ("a", "b", "c", "d") and len(views) == 4
    assert views.rows_of(["d", "a"]).tolist() == [3, 0]


def test_nearest_leaves_out_the_product_itself(views: Views) -> None:
    rows = np.array([0, 1, 2])
    assert views.nearest("both", rows, k=2).tolist() == [[1, 2], [0, 2], [3, 1]]
    # a: d at 60, c at 120 degrees; b is not there; c: a at 120, d at 180.
    expected = [[3, 2, -1], [-1, -1, -1], [0, 3, -1]]
    assert views.nearest("image", rows, k=3).tolist() == expected


def test_nearest_of_equal_products_leaves_out_the_right_one() -> None:
    views = Views({"both": on_circle(a=5, b=5, c=5, d=90)})
    nearest = views.nearest("both", np.array([1, 2]), k=2)
    assert nearest.tolist() == [[0, 2], [0, 1]]


def test_distances_are_nan_where_the_view_lacks_a_product(
    views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two pairs at once, so that several parts are put together.
    monkeypatch.setattr("simprod_tf.matching.views._BLOCK_VALUES", 4)
    starts, ends = np.array([3, 0, 2, 1]), np.array([2, 3, 0, 0])
    found = views.distances("image", starts, ends)
    # A chord is twice the sine of half its angle.
    np.testing.assert_allclose(found, [2, 1, np.sqrt(3), np.nan], rtol=1e-6)
    assert found.dtype == np.float32
    found = views.distances("both", starts, ends)
    chords = 2 * np.sin(np.radians([0.5, 15.5, 15, 5]))
    np.testing.assert_allclose(found, chords, rtol=1e-4)


def test_a_view_may_be_empty() -> None:
    views = Views({"both": on_circle(a=0, b=1), "image": on_circle()})
    assert views.nearest("image", np.array([0, 1]), k=1).tolist() == [[-1], [-1]]
    assert np.isnan(views.distances("image", np.array([0]), np.array([1]))).all()


def test_views_refuse_strangers_and_a_missing_whole() -> None:
    with pytest.raises(SimprodError, match="'text' holds 1 products .* 'x' among them"):
        Views({"both": on_circle(a=0), "text": on_circle(a=0, x=1)})
    with pytest.raises(ValueError, match="need 'both', got image"):
        Views({"image": on_circle(a=0)})


def test_a_decider_is_a_view_that_decides() -> None:
    views = Views({"both": on_circle(a=0, b=60, c=90)})
    assert views.deciding == "both"
    listed = ListedView(np.array([[2], [-1], [0]], np.int32), lambda a, b: a + b)
    more = views.replaced({"decider": listed})
    assert (more.names, more.deciding) == (("both", "decider"), "decider")
    assert views.names == ("both",)
    rows = np.array([2, 1])
    assert more.nearest("decider", rows, k=2).tolist() == [[0, -1], [-1, -1]]
    assert more.distances("decider", rows, rows).tolist() == [4, 2]
    assert more.ids == views.ids and len(more) == 3
    np.testing.assert_array_equal(more.rows_of(["c"]), [2])
    # 60 and 30 degrees from b.
    assert more.nearest("both", np.array([1]), k=1).tolist() == [[2]]
