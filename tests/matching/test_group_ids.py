"""Names of groups from run to run, on groups written as strings of members."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.errors import SimprodError
from simprod_tf.matching.group_ids import group_by_id, name_groups


def names(*groups: str, previous: dict[str, str] | None = None) -> dict[str, str]:
    """Returns {members: name} of groups, with earlier {name: members}."""
    ids = sorted("".join(groups))
    labels = [next(i for i, each in enumerate(groups) if id in each) for id in ids]
    earlier = {id: name for name, each in (previous or {}).items() for id in each}
    found = name_groups(np.array(ids, object), np.array(labels), previous=earlier)
    by_members: dict[str, str] = {}
    for id, name in zip(ids, found.tolist()):
        members = next(each for each in groups if id in each)
        assert by_members.setdefault(members, name) == name
    return by_members


def test_a_new_group_is_called_by_its_first_product() -> None:
    assert names("dcb", "ae") == {"dcb": "b", "ae": "a"}


def test_the_same_groups_keep_their_names() -> None:
    previous = {"x": "ab", "c": "cd"}
    assert names("ab", "cd", previous=previous) == {"ab": "x", "cd": "c"}


def test_a_name_stays_when_a_product_with_a_smaller_id_joins() -> None:
    assert names("abc", previous={"b": "bc"}) == {"abc": "b"}


def test_the_larger_piece_of_a_split_keeps_the_name() -> None:
    assert names("ab", "cde", previous={"a": "abcde"}) == {"cde": "a", "ab": "a~2"}


def test_equal_pieces_of_a_split_go_by_their_first_product() -> None:
    assert names("cd", "ab", previous={"q": "abcd"}) == {"ab": "q", "cd": "c"}


def test_merged_groups_take_the_name_of_the_larger_share() -> None:
    assert names("abcde", previous={"a": "ab", "c": "cde"}) == {"abcde": "c"}
    # Of equal shares, the smaller name.
    assert names("abcd", previous={"z": "ab", "y": "cd"}) == {"abcd": "y"}


def test_a_group_whose_name_went_elsewhere_takes_its_second_choice() -> None:
    # bc and d of "p" would both be "p"; d has a share of "q", too.
    found = names("bc", "de", previous={"p": "bcd", "q": "e"})
    assert found == {"bc": "p", "de": "q"}


def test_the_name_of_a_group_that_is_no_more_does_not_pass_to_strangers() -> None:
    assert names("ae", previous={"a": "bc"}) == {"ae": "a~2"}


def test_numbered_names_avoid_names_in_use() -> None:
    ids = np.array(["a", "a~2", "b", "c", "d", "e"], object)
    labels = np.array([0, 1, 0, 1, 2, 2])
    previous = {"d": "a", "e": "a", "gone": "a~3"}
    found = name_groups(ids, labels, previous=previous)
    assert found.tolist() == ["a~4", "a~2", "a~4", "a~2", "a", "a"]


def test_no_products_have_no_names() -> None:
    none = np.empty(0, np.int64)
    assert len(name_groups(np.empty(0, object), none, previous={"a": "a"})) == 0


def test_each_products_group_is_read_from_the_table() -> None:
    table = pa.table({"group": ["g", "g", "h"], "id": ["a", "b", "c"]})
    assert group_by_id(table) == {"a": "g", "b": "g", "c": "h"}


def test_a_product_in_two_groups_is_refused_by_name() -> None:
    table = pa.table({"id": ["a", "b", "b"], "group": ["g", "g", "h"]})
    with pytest.raises(SimprodError, match="each product once, got 'b' twice"):
        group_by_id(table)


def test_a_table_without_groups_is_refused() -> None:
    with pytest.raises(SimprodError, match="groups must have a column 'group', got id"):
        group_by_id(pa.table({"id": ["a"]}))
