"""The rows of an index: they grow, and the last one closes a hole."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.index.rows import Rows


def line(value: float, n: int = 1) -> np.ndarray:
    """[n, 2] float32, all of one value: what stands in a row tells whose it is."""
    return np.full((n, 2), value, np.float32)


def rows_of(n: int, *, attributes: bool = True) -> Rows:
    """Products p0, p1, ... at rows 0, 1, ..., each with its number everywhere."""
    numbers = np.arange(n, dtype=np.float32)
    return Rows(
        [f"p{row}" for row in range(n)],
        np.stack([numbers, numbers], axis=1),
        attributes=pa.table({"number": numbers}) if attributes else None,
    )


def told(rows: Rows) -> list[tuple[str, float, float]]:
    """Returns (id, embedding's value, attribute) in row order."""
    assert rows.attributes is not None
    numbers = rows.attributes["number"].to_pylist()
    found = list(zip(rows.ids, rows.embeddings[:, 0].tolist(), numbers))
    assert [rows.row_of(id) for id in rows.ids] == list(range(len(rows)))
    assert [rows.id_of(row) for row in range(len(rows))] == list(rows.ids)
    return found


def test_new_products_come_last_and_known_ones_keep_their_row() -> None:
    rows = rows_of(3)
    change = rows.put(
        ["new", "p1"], line(7, 2), pa.table({"number": np.float32([8, 9])})
    )
    assert (change.rows.tolist(), change.first_new) == ([3, 1], 3)
    assert told(rows) == [("p0", 0, 0), ("p1", 7, 9), ("p2", 2, 2), ("new", 7, 8)]
    assert rows.changed.tolist() == [False, True, False, True]


def test_the_last_row_closes_a_hole() -> None:
    rows = rows_of(5)
    # p3's place is taken by p4, which then moves on to that of p1.
    rows.drop([3, 1])
    assert told(rows) == [("p0", 0, 0), ("p4", 4, 4), ("p2", 2, 2)]
    assert "p1" not in rows
    assert rows.row_of("p3") is None
    rows.drop([2])
    assert told(rows) == [("p0", 0, 0), ("p4", 4, 4)]


def test_a_row_moved_into_a_hole_takes_its_mark_of_change_along() -> None:
    rows = rows_of(3)
    rows.put(["p2"], line(5), pa.table({"number": np.float32([5])}))
    rows.drop([0])
    assert rows.changed.tolist() == [True, False]
    assert told(rows) == [("p2", 5, 5), ("p1", 1, 1)]


def test_random_changes_agree_with_a_dict() -> None:
    random = np.random.default_rng(0)
    rows, held = rows_of(40), {f"p{row}": (row, row) for row in range(40)}
    for step in range(400):
        if step % 3 and held:
            id = str(random.choice(list(held)))
            row = rows.row_of(id)
            assert row is not None
            rows.drop([row])
            del held[id]
        else:
            ids = [f"p{number}" for number in random.permutation(60)[:4]]
            numbers = pa.table({"number": np.float32([step] * 4)})
            rows.put(ids, line(-step, 4), numbers)
            held.update({id: (-step, step) for id in ids})
        # Looked at now and then only: changes pile up in between.
        if step % 7 == 0:
            assert {id: (x, y) for id, x, y in told(rows)} == held
    assert {id: (x, y) for id, x, y in told(rows)} == held


def test_a_file_that_is_mapped_is_left_alone_by_changes(tmp_path) -> None:
    np.save(tmp_path / "e.npy", line(1, 3))
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    rows = Rows(["a", "b", "c"], mapped)
    assert np.shares_memory(rows.embeddings, mapped)
    rows.put(["b"], line(2), None)
    rows.drop([0])
    assert rows.embeddings[:, 0].tolist() == [1, 2]
    assert np.load(tmp_path / "e.npy")[:, 0].tolist() == [1, 1, 1]


def test_single_changes_copy_neither_embeddings_nor_attributes() -> None:
    rows = rows_of(3000)
    one = pa.table({"number": np.float32([1])})
    rows.put(["first"], line(1), one)
    buffer = rows.embeddings
    for number in range(1000):
        rows.put([f"n{number}"], line(1), one)
        assert rows.attribute_schema == one.schema
    assert np.shares_memory(rows.embeddings, buffer)
    assert len(rows) == 4001


def test_without_attributes_there_are_none() -> None:
    rows = rows_of(2, attributes=False)
    rows.put(["new"], line(1), None)
    rows.drop([0])
    assert rows.attributes is None
    assert rows.attribute_schema is None
    assert rows.ids == ("new", "p1")


@pytest.mark.parametrize("n", [0, 1])
def test_rows_may_all_go_and_come_back(n: int) -> None:
    rows = rows_of(n)
    rows.drop(list(range(n)))
    assert told(rows) == []
    rows.put(["a"], line(3), pa.table({"number": np.float32([4])}))
    assert told(rows) == [("a", 3, 4)]
