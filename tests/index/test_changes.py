"""Products that come, are replaced and go, in every kind of index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.index import ExactIndex, Index, Match, ScannIndex, load_index
from simprod_tf.index.tuning import ScannSettings

KINDS = {
    "exact": (ExactIndex, None),
    "brute": (ScannIndex, None),
    # All leaves, all points compared anew: a tree that misses nothing.
    "tree": (ScannIndex, ScannSettings(8, leaves_to_search=8, reordered=500)),
}
DIM = 16


def vectors_of(n: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(n, DIM))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def make(name: str, held: dict[str, np.ndarray], **more: object) -> Index:
    kind, settings = KINDS[name]
    vectors = np.array(list(held.values()), np.float32).reshape(-1, DIM)
    return kind.build(
        list(held), vectors, encoder_fingerprint="f", settings=settings, **more
    )


def held_products(n: int = 300) -> dict[str, np.ndarray]:
    return dict(zip((f"p{row}" for row in range(n)), vectors_of(n)))


def require_same(index: Index, held: dict[str, np.ndarray], k: int = 5) -> None:
    """The index answers like one-by-one arithmetic over the products it shall hold."""
    assert sorted(index.ids) == sorted(held)
    queries = vectors_of(30, seed=9)
    for query, matches in zip(queries, index.search(queries, k=k)):
        distances = {id: np.linalg.norm(query - one) for id, one in held.items()}
        expected = sorted(distances, key=lambda id: distances[id])[:k]
        assert [match.id for match in matches] == expected
    for id in list(held)[:3]:
        np.testing.assert_array_equal(index.embedding(id), held[id])


@pytest.fixture(params=list(KINDS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_added_products_are_found_and_replaced_ones_have_moved(name: str) -> None:
    held = held_products()
    index = make(name, held)
    new = dict(zip(["p7", "n0", "p299", "n1"], vectors_of(4, seed=1)))
    assert index.add(list(new), np.array(list(new.values()))) == 2
    require_same(index, {**held, **new})
    [[match]] = index.search(new["p7"][None], k=1)
    assert match == Match("0", "p7", 0.0)


def test_removed_products_are_gone_and_the_others_stay(name: str) -> None:
    held = held_products()
    index = make(name, held)
    # The first, the last, neighbours at the end, and one in the middle.
    gone = ["p0", "p299", "p298", "p150", "p297"]
    index.remove(gone)
    for id in gone:
        del held[id]
        assert id not in index
    require_same(index, held)


def test_a_thousand_random_changes_leave_what_should_be_there(
    name: str, tmp_path: Path
) -> None:
    random = np.random.default_rng(3)
    held = held_products(200)
    index = make(name, held)
    fresh = iter(vectors_of(3000, seed=5))
    for step in range(250):
        ids = [str(id) for id in random.choice(list(held), 2, replace=False)]
        if step % 2:
            index.remove(ids)
            for id in ids:
                del held[id]
        else:
            new = {**dict.fromkeys(ids[:1]), f"n{step}": None, f"m{step}": None}
            new = {id: next(fresh) for id in new}
            index.add(list(new), np.array(list(new.values())))
            held.update(new)
        if step == 120:
            # Right after a reload, changes work as before.
            index.save(tmp_path / "index")
            index = load_index(tmp_path / "index")
    require_same(index, held)
    index.save(tmp_path / "index")
    require_same(load_index(tmp_path / "index"), held)
    index.compact()
    require_same(index, held)
    assert index.drift().changed == 0


def test_one_bad_row_changes_nothing(name: str) -> None:
    held = held_products()
    index = make(name, held)
    bad = vectors_of(3, seed=1)
    bad[2, 4] = np.nan
    with pytest.raises(ValueError, match="vector of c holds NaN"):
        index.add(["p1", "b", "c"], bad)
    with pytest.raises(ValueError, match="16 dimensions, got 8"):
        index.add(["p1"], np.eye(8, dtype=np.float32)[:1])
    with pytest.raises(ValueError, match="got 'b' twice"):
        index.add(["b", "b"], vectors_of(2))
    with pytest.raises(KeyError, match="holds no product 'nope'"):
        index.remove(["p1", "nope"])
    with pytest.raises(ValueError, match="got 'p1' twice"):
        index.remove(["p1", "p1"])
    require_same(index, held)


def test_an_index_may_be_emptied_and_filled_again(name: str, tmp_path: Path) -> None:
    held = held_products(200)
    index = make(name, held)
    index.remove(list(held))
    # So few, that a tree's leaves would be too many.
    assert index.add(["p0"], held["p0"][None]) == 1
    require_same(index, {"p0": held["p0"]}, k=1)
    index.remove(["p0"])
    assert index.search(vectors_of(1), k=3) == [[]]
    index.save(tmp_path / "index")
    loaded = load_index(tmp_path / "index")
    assert loaded.add(list(held), np.array(list(held.values()))) == 200
    require_same(loaded, held)


def test_what_is_removed_is_gone_from_the_views(name: str, tmp_path: Path) -> None:
    held = held_products()
    index = make(name, held)
    index.attach({"text": make(name, dict(list(held.items())[:250]))})
    with pytest.raises(KeyError, match="holds no product 'nope'"):
        index.remove(["p1", "nope"])
    assert "p1" in index.views["text"]
    index.remove(["p1", "p270"])
    assert len(index.views["text"]) == 249
    # A view with strangers could not be loaded again.
    index.save(tmp_path / "index")
    assert "p1" not in load_index(tmp_path / "index").views["text"]


def test_drift_counts_what_came_since_the_training(name: str, tmp_path: Path) -> None:
    index = make(name, held_products(100))
    assert index.drift().changed == 0
    index.add(["p0", "new"], vectors_of(2, seed=1))
    assert index.drift().changed == pytest.approx(2 / 101)
    index.remove(["p0", "p99"])
    assert index.drift().changed == pytest.approx(1 / 99)
    index.save(tmp_path / "index")
    assert load_index(tmp_path / "index").drift() == index.drift()
    assert not index.drift().due


def test_attributes_move_with_their_products(name: str, tmp_path: Path) -> None:
    held = held_products(100)
    prices = [float(row) for row in range(100)]
    index = make(name, held, attributes=pa.table({"price": prices}))
    index.remove(["p3", "p99"])
    changes = pa.table({"price": [500, 600]})
    index.add(["p4", "new"], vectors_of(2, seed=1), attributes=changes)
    index.save(tmp_path / "index")
    for one in (index, load_index(tmp_path / "index")):
        assert one.attributes is not None
        found = dict(zip(one.ids, one.attributes["price"].to_pylist()))
        expected = {f"p{row}": float(row) for row in range(99) if row != 3}
        assert found == {**expected, "p4": 500.0, "new": 600.0}
        rows = one.rows_where("price BETWEEN 4 AND 6 OR price > 550")
        assert sorted(one.ids[row] for row in rows) == ["new", "p5", "p6"]


def test_where_is_asked_for_attributes_that_fit(name: str) -> None:
    held = held_products(100)
    index = make(name, held, attributes=pa.table({"brand": ["a"] * 100}))
    with pytest.raises(ValueError, match="Got 0 rows of attributes for 1 ids"):
        index.add(["new"], vectors_of(1))
    with pytest.raises(ValueError, match="do not fit those of the index"):
        index.add(["new"], vectors_of(1), attributes=pa.table({"price": [1]}))
    assert len(index) == 100
    bare = make(name, held)
    with pytest.raises(ValueError, match="built without attributes, got some"):
        bare.add(["new"], vectors_of(1), attributes=pa.table({"price": [1]}))
    with pytest.raises(Exception, match="holds no attributes to ask"):
        bare.search(vectors_of(1), where="price < 3")
    with pytest.raises(ValueError, match="3 rows of attributes for 100 ids"):
        make(name, held, attributes=pa.table({"a": [1, 2, 3]}))


def test_where_finds_the_nearest_of_those_that_satisfy_it(name: str) -> None:
    held = held_products()
    shelf = [f"s{row % 3}" for row in range(300)]
    index = make(name, held, attributes=pa.table({"shelf": shelf}))
    queries = vectors_of(20, seed=2)
    some = {id: one for (id, one), at in zip(held.items(), shelf) if at == "s1"}
    found = index.search(queries, k=4, where="shelf = 's1'", exclude=["p1"] * 20)
    for query, matches in zip(queries, found):
        near = sorted(some, key=lambda id: np.linalg.norm(query - some[id]))
        assert [m.id for m in matches] == [id for id in near if id != "p1"][:4]
    assert index.search(queries[:1], where="shelf = 'none'") == [[]]
    rows = index.search_rows(queries, k=200, where="shelf = 's2'").rows
    assert (rows[:, :100] % 3 == 2).all()
    assert (rows[:, 100:] == -1).all()
