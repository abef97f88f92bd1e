"""Search among the products that satisfy a condition."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.errors import SimprodError
from simprod_tf.index import where as module
from simprod_tf.index.rows import Rows
from simprod_tf.index.where import Where

# On a circle, 10 degrees apart.
ANGLES = np.radians(10 * np.arange(10))
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
PRICES = [float(row) for row in range(10)]


def rows_of(prices: list[float] | None) -> Rows:
    table = None if prices is None else pa.table({"price": prices})
    return Rows([f"p{row}" for row in range(10)], CIRCLE.copy(), attributes=table)


def test_the_nearest_of_some_rows_are_named_by_their_rows_in_the_whole() -> None:
    where = Where(rows_of(PRICES))
    rows = where.rows("price >= 4 AND price <> 5")
    assert rows.tolist() == [4, 6, 7, 8, 9]
    # The second time from what was kept.
    for _ in range(2):
        found = where.nearest(CIRCLE[[0, 9]], 2, rows)
        assert found.rows.tolist() == [[4, 6], [9, 8]]
        expected = 2 * np.sin(np.radians([[20, 30], [0, 5]]))
        np.testing.assert_allclose(found.distances, expected, atol=1e-6)
    other = where.nearest(CIRCLE[[0]], 1, np.array([7]))
    assert other.rows.tolist() == [[7]]


def test_what_was_kept_is_forgotten_after_a_change() -> None:
    rows = rows_of(PRICES)
    where = Where(rows)
    cheap = where.rows("price < 2")
    assert where.nearest(CIRCLE[[0]], 2, cheap).rows.tolist() == [[0, 1]]
    rows.put(["p0", "p9"], CIRCLE[[5, 0]], pa.table({"price": [1.0, 0.0]}))
    where.forget()
    cheap = where.rows("price < 2")
    assert cheap.tolist() == [0, 1, 9]
    assert where.nearest(CIRCLE[[0]], 3, cheap).rows.tolist() == [[9, 1, 0]]


def test_threads_with_the_first_condition_make_one_filter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []

    class Counted(module.AttributeFilter):
        def __init__(self, attributes: pa.Table) -> None:
            made.append(attributes)
            super().__init__(attributes)

    monkeypatch.setattr(module, "AttributeFilter", Counted)
    where = Where(rows_of(PRICES))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(where.rows, [f"price < {n % 5}" for n in range(40)]))
    assert [len(rows) for rows in found] == [n % 5 for n in range(40)]
    assert len(made) == 1


def test_without_attributes_there_is_nothing_to_ask() -> None:
    with pytest.raises(SimprodError, match=r"no attributes to ask .*--attribute"):
        Where(rows_of(None)).rows("price < 2")
