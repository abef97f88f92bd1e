"""Candidates as edges for grouping: shares of the limit, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.matching.candidates import Candidates
from simprod_tf.matching.group_edges import FARTHEST, LINKED, EdgeCollector
from simprod_tf.matching.rule import Decided, Limit, MatchRule

IDS = ("a", "b", "c", "d")


def edges_of(
    limit: Limit, *pairs: tuple[int, int, float, str]
) -> dict[tuple[str, str], float]:
    """Returns the shares of pairs of start, end, distance, and what was decided."""
    starts, ends, distances, decisions = zip(*pairs)
    what = np.array(decisions)
    flags = np.zeros(len(starts), np.uint64)
    collector = EdgeCollector(MatchRule({"both": limit}))
    collector.add(
        Candidates(
            queries=np.unique(starts),
            starts=np.array(starts),
            ends=np.array(ends),
            ranks=np.ones(len(starts), np.int32),
            distances={"both": np.array(distances, np.float32)},
            via=np.ones(len(starts), np.uint32),
            sources=("both",),
        ),
        Decided(what == "similar", what == "vetoed", flags, ()),
    )
    rows = collector.table(IDS).to_pylist()
    return {(row["query_id"], row["id"]): row["distance"] for row in rows}


def test_a_distance_becomes_its_share_of_the_limit() -> None:
    found = edges_of(
        0.5, (0, 1, 0.25, "similar"), (1, 2, 0.5, "similar"), (2, 3, 0.75, "different")
    )
    assert found == {
        ("a", "b"): 0.5,
        ("b", "c"): LINKED,
        ("c", "d"): pytest.approx(1.5),
    }


def test_who_passed_by_other_means_is_at_the_limit() -> None:
    assert edges_of(0.5, (0, 1, 1.75, "similar")) == {("a", "b"): LINKED}


def test_who_did_not_pass_is_above_the_limit_and_not_beyond_the_farthest() -> None:
    # By 1e-9 above, which float32 does not hold.
    found = edges_of(0.5, (0, 1, 0.5, "different"), (0, 2, 1.9, "different"))
    assert LINKED < found["a", "b"] < LINKED + 1e-6
    assert found["a", "c"] == pytest.approx(FARTHEST)


def test_who_was_vetoed_is_no_edge() -> None:
    assert edges_of(0.5, (0, 1, 0.1, "vetoed"), (1, 0, 0.2, "similar")) == {
        ("b", "a"): pytest.approx(0.4)
    }


def test_a_limit_is_the_querys_own() -> None:
    limits = np.array([1.0, 0.5, 0.5, 0.0])
    found = edges_of(
        limits,
        (0, 1, 0.5, "similar"),
        (1, 0, 0.5, "similar"),
        (3, 2, 0.0, "similar"),
        (3, 1, 0.01, "different"),
    )
    assert found["a", "b"] == 0.5 and found["b", "a"] == LINKED
    assert found["d", "c"] == 0 and found["d", "b"] == pytest.approx(FARTHEST)


def test_nothing_decided_is_an_empty_table_of_the_same_columns() -> None:
    table = EdgeCollector(MatchRule({"both": 0.5})).table(IDS)
    assert table.num_rows == 0
    assert str(table.schema) == "query_id: string\nid: string\ndistance: float"


def test_where_a_decider_decides_shares_are_those_of_its_limit() -> None:
    collector = EdgeCollector(MatchRule({"decider": 0.25}))
    collector.add(
        Candidates(
            queries=np.array([0]),
            starts=np.array([0, 0]),
            ends=np.array([1, 2]),
            ranks=np.array([1, 2], np.int32),
            distances={
                "both": np.array([1.5, 0.1], np.float32),
                "decider": np.array([0.125, 0.375], np.float32),
            },
            via=np.ones(2, np.uint32),
            sources=("both", "decider"),
        ),
        Decided(np.array([True, False]), np.zeros(2, bool), np.zeros(2, np.uint64), ()),
    )
    assert collector.table(IDS)["distance"].to_pylist() == pytest.approx([0.5, 1.5])
