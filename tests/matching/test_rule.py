"""The decision, as a table worked by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from simprod_tf.matching.candidates import Candidates
from simprod_tf.matching.rule import MatchRule, decide

NAN = np.nan
# start, end, distance by both, by image, shares a GTIN, mutual
PAIRS = [
    (0, 1, 0.25, 0.90, 0, 1),
    (0, 2, 0.50, NAN, 0, 1),
    (0, 3, 0.51, 0.20, 0, 1),
    (1, 4, 0.90, NAN, 1, 1),
    (1, 5, 1.20, 1.20, 0, 1),
    (2, 6, 0.10, 0.10, 0, 1),
    (2, 7, 0.20, 0.80, 0, 0),
    (3, 6, 0.90, 0.90, 0, 0),
]
BOTH = {"both": 0.5, "image": 0.25}


def candidates() -> Candidates:
    starts, ends, both, image, key, mutual = np.array(PAIRS).T
    return Candidates(
        queries=np.arange(4),
        starts=starts.astype(np.int64),
        ends=ends.astype(np.int64),
        ranks=np.ones(len(PAIRS), np.int32),
        distances={"both": both.astype(np.float32), "image": image.astype(np.float32)},
        via=(1 + 4 * key).astype(np.uint32),
        sources=("both", "image", "key:gtin"),
        mutual=mutual.astype(bool),
    )


def quantity(starts: np.ndarray, ends: np.ndarray) -> Mapping[str, np.ndarray]:
    """Product 6 is in conflict with every other, in quantity and, with 2, in brand."""
    return {"quantity": ends == 6, "brand": (ends == 6) & (starts == 2)}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {},
            ["+both", "+both", "-", "-", "-", "+both", "+both", "-"],
        ),
        (
            {"union": True},
            ["+both", "+both", "+image", "-", "-", "+both image", "+both", "-"],
        ),
        (
            {"accept_keys": True},
            ["+both", "+both", "-", "+key:gtin", "-", "+both", "+both", "-"],
        ),
        (
            {"mutual": True},
            ["+both", "+both", "-", "-", "-", "+both", "-both veto:one-sided", "-"],
        ),
        (
            {"conflicts": quantity},
            ["+both", "+both", "-", "-", "-", "-both veto:quantity veto:brand"]
            + ["+both", "-"],
        ),
        (
            {"union": True, "accept_keys": True, "mutual": True, "conflicts": quantity},
            ["+both", "+both", "+image", "+key:gtin", "-"]
            + ["-both image veto:quantity veto:brand", "-both veto:one-sided", "-"],
        ),
    ],
)
def test_the_decision_and_its_reasons(
    options: dict[str, Any], expected: list[str]
) -> None:
    decided = decide(candidates(), MatchRule(BOTH, **options))
    every = np.arange(len(PAIRS))
    found = [
        ("+" if similar else "-") + " ".join(reasons)
        for similar, reasons in zip(decided.similar, decided.reasons(every).to_pylist())
    ]
    assert found == expected
    words = ["similar" if one[0] == "+" else "different" for one in expected]
    assert decided.decisions(every).to_pylist() == words
    some = np.array([6, 0])
    assert decided.reasons(some).to_pylist() == [
        expected[row][1:].split() for row in some
    ]


def test_a_veto_outweighs_a_shared_key() -> None:
    rule = MatchRule(
        {"both": 0},
        accept_keys=True,
        conflicts=lambda starts, ends: {"condition": ends == 4},
    )
    decided = decide(candidates(), rule)
    assert not decided.similar.any()
    assert decided.reasons(np.array([3])).to_pylist() == [
        ["key:gtin", "veto:condition"]
    ]


def test_conflicts_are_asked_of_the_pairs_that_pass() -> None:
    asked: list[int] = []

    def conflicts(starts: np.ndarray, ends: np.ndarray) -> dict[str, np.ndarray]:
        asked.extend(ends.tolist())
        return {}

    decide(candidates(), MatchRule(BOTH, conflicts=conflicts))
    assert asked == [1, 2, 6, 7]


def test_limits_by_row_are_those_of_the_query() -> None:
    by_row = np.array([0.3, 1.3, 0.15, 0.95])
    decided = decide(candidates(), MatchRule({"both": by_row}))
    assert decided.similar.tolist() == [True, False, False, *[True] * 3, False, True]


def test_a_limit_is_not_rounded_to_float32() -> None:
    # As float32, 0.3 is 0.30000001192.
    near = dataclasses.replace(
        candidates(), distances={"both": np.full(len(PAIRS), 0.3, np.float32)}
    )
    assert not decide(near, MatchRule({"both": 0.3})).similar.any()
    assert decide(near, MatchRule({"both": 0.30000002})).similar.all()


def test_no_candidates_give_no_decisions() -> None:
    none = np.empty(0, np.int64)
    empty = Candidates(
        none, none, none, none, {"both": none.astype(np.float32)}, none, ("both",)
    )
    decided = decide(empty, MatchRule({"both": 1.0}, conflicts=quantity))
    assert len(decided.reasons(none)) == len(decided.decisions(none)) == 0


def test_a_rule_refuses_what_is_no_limit() -> None:
    with pytest.raises(ValueError, match="needs a limit for 'both', got image"):
        MatchRule({"image": 1.0})
    for limit in (-1.0, float("nan"), np.array([0.1, np.nan]), np.ones((2, 2))):
        with pytest.raises(ValueError, match="limit of 'text' is one distance >= 0"):
            MatchRule({"both": 1.0, "text": limit})


def test_decide_refuses_candidates_that_lack_what_the_rule_needs() -> None:
    with pytest.raises(ValueError, match="limit for 'text'; views: both, image"):
        decide(candidates(), MatchRule({"both": 1, "text": 1}, union=True))
    with pytest.raises(ValueError, match="3 of them; got row 3"):
        decide(candidates(), MatchRule({"both": np.ones(3)}))
    found = dataclasses.replace(candidates(), mutual=None)
    with pytest.raises(ValueError, match="mutual=True"):
        decide(found, MatchRule({"both": 1}, mutual=True))


def test_a_decider_decides_in_place_of_the_whole_products() -> None:
    found = candidates()
    by_decider = np.array([0.9, 0.9, 0.2, 0.3, 0.1, 0.4, 0.9, 0.31], np.float32)
    more = dataclasses.replace(
        found, distances={**found.distances, "decider": by_decider}
    )
    rule = MatchRule({"decider": 0.3}, conflicts=quantity)
    assert rule.deciding == "decider" and rule.views == ("decider",)
    decided = decide(more, rule)
    # As float64 the float32 nearest to 0.3 is above it.
    assert decided.similar.tolist() == [False] * 2 + [True, False, True] + [False] * 3
    kept = np.flatnonzero(decided.similar)
    assert decided.reasons(kept).to_pylist() == [["decider"], ["decider"]]
    with pytest.raises(ValueError, match="A rule needs a limit for 'both', got image"):
        MatchRule({"image": 0.5})
    with pytest.raises(ValueError, match="has a limit for 'decider'; views: both, im"):
        decide(found, rule)
