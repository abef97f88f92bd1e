"""Names of groups in tables, against those that one machine gives."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.engine.embedded import Embedded
from simprod_tf.matching.group_ids import name_groups
from simprod_tf.matching.group_names import name_clusters


@pytest.fixture(scope="module")
def engine() -> Iterator[Embedded]:
    with Embedded() as engine:
        yield engine


def names_of(
    engine: Embedded,
    ids: list[str],
    labels: list[int],
    *,
    previous: dict[str, str],
    more_firsts: str = "SELECT id FROM earlier LIMIT 0",
) -> list[str]:
    """Returns each product's group, as `name_clusters` calls it."""
    nodes = np.arange(len(ids))
    _, first, numbers = np.unique(labels, return_index=True, return_inverse=True)
    leaders = first[numbers]
    engine.load("members", pa.table({"leader": leaders, "node": nodes}))
    engine.load("nodes", pa.table({"id": pa.array(ids, pa.string()), "node": nodes}))
    earlier = {"id": list(previous), "name": list(previous.values())}
    schema = pa.schema([("id", pa.string()), ("name", pa.string())])
    engine.load("earlier", pa.table(earlier, schema=schema))
    name_clusters(
        engine,
        members="members",
        nodes="nodes",
        earlier="earlier",
        more_firsts=more_firsts,
    )
    table = engine.query("SELECT leader, name FROM grouping_names")
    names = dict(zip(*table.to_pydict().values()))
    assert len(names) == len(table)
    return [names[leader] for leader in leaders.tolist()]


@pytest.mark.parametrize("seed", range(4))
def test_names_are_those_of_one_machine(engine: Embedded, seed: int) -> None:
    generator = np.random.default_rng(seed)
    ids = sorted([f"p{number}" for number in range(40)] + ["p3~2", "p8~2", "p8~3"])
    labels = generator.integers(12, size=len(ids))
    # Groups that share products with several others, by names that are products' too.
    drawn = generator.choice(ids, 12, replace=False)[labels // 2 * 2]
    moved = generator.random(len(ids)) < 0.5
    drawn[moved] = generator.choice(ids, moved.sum())
    previous = dict(zip(ids, drawn.tolist()))
    expected = name_groups(np.array(ids, object), labels, previous=previous)
    found = names_of(engine, ids, labels.tolist(), previous=previous)
    assert found == expected.tolist()


def test_the_larger_share_gets_the_name_the_other_one_its_second(
    engine: Embedded,
) -> None:
    # "p" and "q" were abc and de; now it is {a, d}, {b, c} and {e, f}.
    previous = {"a": "p", "b": "p", "c": "p", "d": "q", "e": "q"}
    found = names_of(engine, [*"abcdef"], [0, 1, 1, 0, 2, 2], previous=previous)
    # bc has 2 of p; of q, {a, d} and {e, f} have one each: the first product decides.
    assert found == ["q", "p", "p", "q", "e", "e"]


def test_a_numbered_name_is_no_earlier_groups_and_no_first_product(
    engine: Embedded,
) -> None:
    previous = {"y": "a", "z": "a~2"}
    ids, labels = ["a", "a~3", "b", "c"], [0, 1, 0, 1]
    found = names_of(engine, ids, labels, previous=previous)
    assert found == ["a~4", "a~3", "a~4", "a~3"]
    more = "SELECT 'a~4' AS id"
    found = names_of(engine, ids, labels, previous=previous, more_firsts=more)
    assert found == ["a~5", "a~3", "a~5", "a~3"]
