"""Groups on graphs small enough to draw."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.errors import SimprodError
from simprod_tf.evaluation.group_metrics import group_metrics
from simprod_tf.index import ExactIndex
from simprod_tf.matching import find_matches, group_matches
from simprod_tf.matching.grouping import Groups, extend_groups


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


def table_of(**groups: str) -> pa.Table:
    """Returns the table of groups of {name: members}."""
    lines = [(id, name) for name, ids in groups.items() for id in ids]
    return pa.table(
        {
            "id": pa.array([line[0] for line in lines], pa.string()),
            "group": pa.array([line[1] for line in lines], pa.string()),
        }
    )


def groups_of(table: pa.Table) -> dict[str, str]:
    """Returns the members of each group, as a string."""
    members: dict[str, str] = {}
    for line in table.to_pylist():
        members[line["group"]] = members.get(line["group"], "") + line["id"]
    return members


def bridges_of(groups: Groups) -> list[tuple[str, float, str]]:
    """Returns each bridge as its two ends, distance and two groups, - for none."""
    return [
        (
            line["query_id"] + line["id"],
            round(line["distance"], 6),
            f"{line['group'] or '-'}{line['other_group'] or '-'}",
        )
        for line in groups.bridges.to_pylist()
    ]


def drawn_matches(seed: int, *, n: int, noise: float = 0.12) -> tuple[pa.Table, dict]:
    """Matches up to 0.4 of n products about n / 5 places, and their true places."""
    generator = np.random.default_rng(seed)
    places = generator.normal(size=(n // 5, 8))
    truth = generator.integers(len(places), size=n)
    vectors = places[truth] + generator.normal(size=(n, 8)) * noise * 3
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"p{row:03d}" for row in generator.permutation(n)]
    index = ExactIndex.build(ids, vectors.astype(np.float32), encoder_fingerprint="f")
    return find_matches(index, k=20, max_distance=0.4), dict(zip(ids, truth.tolist()))


# Two triangles and an edge between them: c and d are near, the others do not match.
TWO_TRIANGLES = {"ab": 0.2, "ac": 0.2, "bc": 0.3, "de": 0.2, "df": 0.2, "ef": 0.3}
BRIDGED = {**TWO_TRIANGLES, "cd": 0.25}


def test_linkage_keeps_bridged_groups_apart() -> None:
    for linkage in ("average", "complete"):
        groups = group_matches(matches(BRIDGED), linkage=linkage)
        assert groups_of(groups.table) == {"a": "abc", "d": "def"}
        assert bridges_of(groups) == [("cd", 0.25, "ad")]
        assert groups.num_split == 0


def test_single_linkage_chains() -> None:
    groups = group_matches(matches(BRIDGED), linkage="single")
    assert groups_of(groups.table) == {"a": "abcdef"}
    assert bridges_of(groups) == []


def test_tables_have_their_columns() -> None:
    groups = group_matches(matches({}))
    assert str(groups.table.schema) == "id: string\ngroup: string"
    assert groups.bridges.schema.names == [
        "query_id",
        "id",
        "distance",
        "group",
        "other_group",
    ]
    assert groups.bridges["distance"].type == pa.float32()
    assert (len(groups.table), len(groups.bridges)) == (0, 0)
    assert (groups.num_groups, groups.sizes) == (0, {})


def test_groups_are_counted() -> None:
    edges = {"ab": 0.2, "de": 0.2, "fg": 0.2, "fh": 0.2, "gh": 0.2}
    groups = group_matches(matches(edges))
    assert groups.num_groups == 3
    assert list(groups.sizes.items()) == [("f", 3), ("a", 2), ("d", 2)]


def test_bridges_to_lone_products_have_no_group_there_shortest_first() -> None:
    # c is near to b alone, and x near to a and to d: the mean to each pair is over 1.
    edges = {"ab": 0.1, "de": 0.1, "bc": 0.3, "ax": 0.2, "dx": 0.25}
    groups = group_matches(matches(edges))
    assert groups_of(groups.table) == {"a": "ab", "d": "de"}
    expected = [("ax", 0.2, "a-"), ("dx", 0.25, "d-"), ("bc", 0.3, "a-")]
    assert bridges_of(groups) == expected


def test_an_edge_in_one_direction_counts_when_not_mutual() -> None:
    table = matches({"ab": 0.1}, one_way={"cd": 0.1})
    assert groups_of(group_matches(table).table) == {"a": "ab"}
    both = group_matches(table, mutual=False)
    assert groups_of(both.table) == {"a": "ab", "c": "cd"}


def test_matches_beyond_max_distance_inform_the_mean_but_join_nothing() -> None:
    # c lies 0.25 and 0.5 from b and a: 0.375 in the mean if ac is told, 1.125 if not.
    edges = {"ab": 0.1, "bc": 0.25}
    more = {**edges, "ac": 0.5, "yz": 0.45}
    found = group_matches(matches(more), max_distance=0.375)
    assert groups_of(found.table) == {"a": "abc"}
    assert bridges_of(found) == []
    found = group_matches(matches(edges), max_distance=0.4)
    assert groups_of(found.table) == {"a": "ab"}


def test_missing_distance_sets_how_far_unknown_pairs_are() -> None:
    # From c to a and b: 0.25 and what is missing, 0.5 in the mean for 0.75.
    table = matches({"ab": 0.1, "bc": 0.25})
    for missing, expected in ((0.75, "abc"), (0.8, "ab")):
        found = group_matches(table, max_distance=0.5, missing_distance=missing)
        assert groups_of(found.table) == {"a": expected}


def test_a_chain_is_cut_at_its_longest_edges() -> None:
    # a -.1- b -.5- c -.2- d -.3- e: without bc the pieces are 2 and 3.
    chain = matches({"ab": 0.1, "bc": 0.5, "cd": 0.2, "de": 0.3})
    for max_size, expected, num_split in [
        (5, {"a": "abcde"}, 0),
        (4, {"a": "ab", "c": "cde"}, 1),
        # Down to 2, de goes as well and e stands alone.
        (2, {"a": "ab", "c": "cd"}, 1),
        (1, {}, 1),
    ]:
        found = group_matches(chain, linkage="single", max_size=max_size)
        assert (groups_of(found.table), found.num_split) == (expected, num_split)


def test_a_group_above_the_cap_is_split_along_its_tree() -> None:
    # All six know each other; abc and def are the two branches, de and ab below.
    edges = {**TWO_TRIANGLES, "ab": 0.1, "de": 0.1}
    edges.update({a + b: 0.4 for a in "abc" for b in "def"})
    table = matches(edges)
    assert groups_of(group_matches(table, max_size=6).table) == {"a": "abcdef"}
    for max_size in (5, 3):
        found = group_matches(table, max_size=max_size)
        assert groups_of(found.table) == {"a": "abc", "d": "def"}
        assert found.num_split == 1
        assert len(found.bridges) == 9
    found = group_matches(table, max_size=2)
    assert groups_of(found.table) == {"a": "ab", "d": "de"}


@pytest.mark.parametrize("linkage", ["average", "complete", "single"])
def test_the_order_of_the_rows_does_not_matter(linkage: str) -> None:
    # All distances are equal: only the order of the ids can settle what goes first.
    edges = ["ab", "bc", "cd", "da", "ce", "ef", "fa", "bd", "eg", "gf"]
    table = matches(dict.fromkeys(edges, 0.2))
    expected = group_matches(table, linkage=linkage, max_size=3)
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(len(table))
        shuffled = table.take(pa.array(order))
        found = group_matches(shuffled, linkage=linkage, max_size=3)
        assert found.table.equals(expected.table)
        assert found.bridges.equals(expected.bridges)


def test_the_matchers_table_can_be_grouped() -> None:
    angles = np.array([0.0, 0.1, 0.2, 2.0, 2.1, 4.0])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    index = ExactIndex.build(list("abcdef"), vectors, encoder_fingerprint="f")
    table = find_matches(index, k=5, max_distance=0.25)
    assert groups_of(group_matches(table).table) == {"a": "abc", "d": "de"}


def test_names_are_inherited_from_the_run_before() -> None:
    before = group_matches(matches({"bc": 0.1, "xy": 0.1}))
    edges = matches({"ab": 0.1, "bc": 0.1, "ac": 0.1, "xy": 0.1})
    found = group_matches(edges, previous=before.table)
    assert groups_of(found.table) == {"b": "abc", "x": "xy"}
    again = group_matches(edges, previous=found.table)
    assert again.table.equals(found.table)


def test_a_lone_product_does_not_take_its_groups_name_with_it() -> None:
    # Of "p", a is alone now and bx are together.
    found = group_matches(matches({"bx": 0.1}), previous=table_of(p="ab"))
    assert groups_of(found.table) == {"p": "bx"}


def test_grouping_on_drawn_products_finds_most_of_their_places() -> None:
    table, truth = drawn_matches(0, n=400)
    average = group_metrics(group_matches(table).table, truth)
    single = group_metrics(group_matches(table, linkage="single").table, truth)
    assert average.b_cubed_precision > single.b_cubed_precision
    assert average.b_cubed_f1 > 0.5


def test_values_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(ValueError, match="max_size must be at least 1, got 0"):
        group_matches(matches({}), max_size=0)
    with pytest.raises(ValueError, match="linkage must be one of average, complete"):
        group_matches(matches({}), linkage="centroid")
    with pytest.raises(ValueError, match="got 2.0 and 2.0; lower"):
        group_matches(matches({"ab": 2.0}))
    with pytest.raises(SimprodError, match="column 'group'"):
        group_matches(matches({}), previous=pa.table({"id": ["a"]}))


PREVIOUS = table_of(g="abc", h="de")


def test_a_new_product_joins_the_group_that_is_near_as_a_whole() -> None:
    near = {"xa": 0.125, "xb": 0.25, "xc": 0.75}
    for linkage, max_distance, expected in [
        ("average", 0.375, "abcx"),
        ("average", 0.374, "abc"),
        ("complete", 0.75, "abcx"),
        ("complete", 0.749, "abc"),
        ("single", 0.125, "abcx"),
        ("single", 0.124, "abc"),
    ]:
        found = extend_groups(
            PREVIOUS,
            matches({}, one_way=near),
            linkage=linkage,
            max_distance=max_distance,
        )
        assert groups_of(found.table) == {"g": expected, "h": "de"}


def test_members_that_do_not_match_the_new_product_count_as_far() -> None:
    # To g: (0.1 + 2 + 2) / 3; with missing pairs at 0.5, 1.1 / 3 = 0.367.
    new = matches({}, one_way={"xa": 0.1})
    found = extend_groups(PREVIOUS, new, max_distance=0.4)
    assert groups_of(found.table) == {"g": "abc", "h": "de"}
    assert bridges_of(found) == [("ax", 0.1, "g-")]
    found = extend_groups(PREVIOUS, new, max_distance=0.4, missing_distance=0.5)
    assert groups_of(found.table) == {"g": "abcx", "h": "de"}


def test_new_products_found_groups_with_each_other_and_with_lone_ones() -> None:
    new = matches({"xy": 0.1}, one_way={"zf": 0.2})
    found = extend_groups(PREVIOUS, new, max_distance=0.4)
    assert groups_of(found.table) == {"g": "abc", "h": "de", "x": "xy", "f": "fz"}


def test_new_products_can_join_together() -> None:
    # Alone, y would not join h; but with x, whom it knows first, it is at 0.28.
    new = {"xd": 0.2, "xe": 0.2, "yd": 0.36, "ye": 0.36}
    new_ones = matches({"xy": 0.1}, one_way=new)
    found = extend_groups(PREVIOUS, new_ones, max_distance=0.3)
    assert groups_of(found.table) == {"g": "abc", "h": "dexy"}


@pytest.mark.parametrize("linkage", ["average", "complete", "single"])
def test_a_product_between_two_groups_joins_the_nearer_and_bridges_them(
    linkage: str,
) -> None:
    new = {"xd": 0.2, "xe": 0.2, "xa": 0.3, "xb": 0.3, "xc": 0.3}
    found = extend_groups(
        PREVIOUS, matches({}, one_way=new), linkage=linkage, max_distance=0.5
    )
    assert groups_of(found.table) == {"g": "abc", "h": "dex"}
    bridges = [("ax", 0.3, "gh"), ("bx", 0.3, "gh"), ("cx", 0.3, "gh")]
    assert bridges_of(found) == bridges


def test_a_chain_of_new_products_does_not_merge_two_groups() -> None:
    # a -.1- x -.3- y -.1- e: x and y have joined their groups before .3 comes.
    new = matches({"xy": 0.3}, one_way={"xa": 0.1, "ye": 0.1})
    found = extend_groups(PREVIOUS, new, linkage="single", max_distance=0.5)
    assert groups_of(found.table) == {"g": "abcx", "h": "dey"}
    assert bridges_of(found) == [("xy", 0.3, "gh")]


def test_a_full_group_takes_no_more_and_a_larger_one_stays() -> None:
    new = matches({}, one_way={"xa": 0.1, "xb": 0.1, "xc": 0.1, "yd": 0.1, "ye": 0.1})
    found = extend_groups(PREVIOUS, new, max_distance=0.5, max_size=3)
    assert groups_of(found.table) == {"g": "abc", "h": "dey"}
    assert found.num_split == 1
    found = extend_groups(PREVIOUS, new, max_distance=0.5, max_size=2)
    assert groups_of(found.table) == {"g": "abc", "h": "de"}


def test_a_new_groups_name_is_not_an_earlier_ones() -> None:
    previous = table_of(x="ab")
    found = extend_groups(previous, matches({"xy": 0.1}), max_distance=0.5)
    assert groups_of(found.table) == {"x": "ab", "x~2": "xy"}


def test_nothing_new_leaves_everything() -> None:
    found = extend_groups(PREVIOUS, matches({}), max_distance=0.5)
    assert groups_of(found.table) == {"g": "abc", "h": "de"}
    assert extend_groups(table_of(), matches({}), max_distance=0.5).table.equals(
        table_of()
    )


def test_from_nothing_it_is_a_full_run() -> None:
    table, _ = drawn_matches(3, n=200)
    full = group_matches(table, mutual=False, max_distance=0.4)
    found = extend_groups(table_of(), table, max_distance=0.4)
    assert found.table.equals(full.table)
    assert found.bridges.equals(full.bridges)


def extended_one_by_one(table: pa.Table, ids: list[str], *, linkage: str) -> pa.Table:
    """Adds one product after the other, each with its matches among those before."""
    groups, seen = table_of(), set()
    lines = table.to_pylist()
    for id in ids:
        rows = [each for each in lines if each["query_id"] == id and each["id"] in seen]
        new = pa.Table.from_pylist(rows, schema=table.schema)
        before = dict(zip(*groups.to_pydict().values()))
        groups = extend_groups(groups, new, linkage=linkage, max_distance=0.4).table
        after = dict(zip(*groups.to_pydict().values()))
        # Who was in a group is in it still: nothing is merged, split or renamed.
        assert {each: after[each] for each in before} == before
        seen.add(id)
    return groups


@pytest.mark.parametrize("linkage", ["average", "complete", "single"])
def test_one_product_at_a_time_stays_close_to_a_full_run(linkage: str) -> None:
    for seed in range(2):
        table, truth = drawn_matches(seed, n=150)
        full = group_matches(table, linkage=linkage, mutual=False, max_distance=0.4)
        whole = dict(zip(*full.table.to_pydict().values()))
        found = extended_one_by_one(table, sorted(truth), linkage=linkage)
        close = group_metrics(found, {id: whole.get(id, (id,)) for id in truth})
        assert close.b_cubed_f1 > 0.85, close


@pytest.mark.parametrize("linkage", ["average", "complete", "single"])
def test_what_no_accepted_edge_connects_changes_nothing(linkage: str) -> None:
    # Equal distances everywhere: only the order of the clusters can decide.
    generator = np.random.default_rng(0)
    edges = {}
    for letters in ("abcdefgh", "ijklmnop"):
        for one, other in generator.choice([*letters], (20, 2)).tolist():
            edges[one + other] = 0.5
    far = {a + b: 1.5 for a, b in zip("aaaaccgg", "ijklmnop")}
    apart, whole = matches(edges), matches({**edges, **far})
    for max_size in (3, 50):
        found, expected = (
            group_matches(t, linkage=linkage, max_distance=1.0, max_size=max_size)
            for t in (whole, apart)
        )
        assert found.table.equals(expected.table)
        assert found.bridges.equals(expected.bridges)
