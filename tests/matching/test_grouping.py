"""Groups on graphs small enough to draw."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.index import ExactIndex
from simprod_tf.matching import find_matches, group_matches


def matches(
    edges: dict[str, float], *, one_way: dict[str, float] | None = None
) -> pa.Table:
    """Returns the table of {"ab": distance}: both directions, or one."""
    rows = [(e[0], e[1], d) for e, d in edges.items()]
    rows += [(e[1], e[0], d) for e, d in edges.items()]
    rows += [(e[0], e[1], d) for e, d in (one_way or {}).items()]
    return pa.table(
        {
            "query_id": pa.array([row[0] for row in rows], pa.string()),
            "id": pa.array([row[1] for row in rows], pa.string()),
            "distance": pa.array([row[2] for row in rows], pa.float32()),
        }
    )


def groups_of(table: pa.Table) -> set[str]:
    """Returns the groups as strings of their members."""
    members: dict[str, str] = {}
    for line in table.to_pylist():
        members[line["group"]] = members.get(line["group"], "") + line["id"]
    assert all(group == ids[0] for group, ids in members.items())
    return set(members.values())


def test_components_of_mutual_edges_are_groups() -> None:
    table = matches({"ba": 0.1, "bc": 0.2, "ef": 0.3}, one_way={"cd": 0.1, "ae": 0.1})
    groups = group_matches(table)
    assert groups_of(groups.table) == {"abc", "ef"}
    assert groups.num_split == 0
    assert str(groups.table.schema) == "id: string\ngroup: string"


def test_an_edge_told_twice_is_not_mutual() -> None:
    table = matches({}, one_way={"ab": 0.1})
    assert group_matches(pa.concat_tables([table, table])).table.num_rows == 0


def test_a_chain_is_cut_at_its_longest_edges() -> None:
    # a -.1- b -.5- c -.2- d -.3- e: without bc the pieces are 2 and 3.
    chain = matches({"ab": 0.1, "bc": 0.5, "cd": 0.2, "de": 0.3})
    assert groups_of(group_matches(chain, max_size=5).table) == {"abcde"}
    cut = group_matches(chain, max_size=4)
    assert (groups_of(cut.table), cut.num_split) == ({"ab", "cde"}, 1)
    # Down to 2, de goes as well and e stands alone.
    cut = group_matches(chain, max_size=2)
    assert (groups_of(cut.table), cut.num_split) == ({"ab", "cd"}, 1)
    cut = group_matches(chain, max_size=1)
    assert (groups_of(cut.table), cut.num_split) == (set(), 1)


def test_only_components_above_the_cap_are_split() -> None:
    table = matches({"ab": 0.1, "bc": 0.2, "cd": 0.3, "xy": 0.9, "yz": 0.9})
    groups = group_matches(table, max_size=3)
    assert (groups_of(groups.table), groups.num_split) == ({"abc", "xyz"}, 1)


def test_the_order_of_the_rows_does_not_matter() -> None:
    edges = {"ab": 0.2, "bc": 0.2, "cd": 0.2, "da": 0.2, "ce": 0.2, "ef": 0.2}
    table = matches(edges)
    expected = group_matches(table, max_size=3)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(table))
        found = group_matches(table.take(pa.array(order)), max_size=3)
        assert found.table.equals(expected.table)


def test_the_matchers_table_can_be_grouped() -> None:
    angles = np.array([0.0, 0.1, 0.2, 2.0, 2.1, 4.0])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    index = ExactIndex.build(list("abcdef"), vectors, encoder_fingerprint="f")
    table = find_matches(index, k=5, max_distance=0.15)
    assert groups_of(group_matches(table).table) == {"abc", "de"}


def test_no_matches_give_no_groups() -> None:
    assert group_matches(matches({})).table.num_rows == 0


def test_a_cap_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="max_size must be at least 1, got 0"):
        group_matches(matches({}), max_size=0)
