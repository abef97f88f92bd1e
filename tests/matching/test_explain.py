from __future__ import annotations

from dataclasses import dataclass

import pytest

from simprod_tf.data.catalog import Product
from simprod_tf.matching.explain import (
    EXPLAINED,
    NOT_SIMILAR,
    SIMILAR,
    UNDECIDED,
    explain,
)
from simprod_tf.matching.views import DECIDER, IMAGE, TEXT, WHOLE

FLOUR = Product("a", "white flour 400 g")
MORE_FLOUR = Product("b", "flour white organic 200 g")


def explained(distances, threshold=0.5, **more):
    return explain(
        FLOUR,
        MORE_FLOUR,
        distances=distances,
        thresholds=dict.fromkeys(EXPLAINED, threshold),
        **more,
    )


@pytest.mark.parametrize(
    ("distance", "threshold", "verdict", "text"),
    [
        (0.412, 0.5, SIMILAR, "0.412, 0.088 below the threshold 0.500"),
        (0.5, 0.5, SIMILAR, "0.500, 0.000 below the threshold 0.500"),
        (0.75, 0.5, NOT_SIMILAR, "0.750, 0.250 above the threshold 0.500"),
        (0.75, None, UNDECIDED, "0.750"),
        (None, 0.5, UNDECIDED, "not known"),
    ],
)
def test_the_distance_of_whole_products_decides(distance, threshold, verdict, text):
    found = explained({WHOLE: distance, IMAGE: 0.1, TEXT: 0.1}, threshold)
    assert found.verdict == verdict
    assert str(found.standings[0]) == text


def test_the_sentence_names_the_reason_and_the_conflicts():
    assert explained({WHOLE: 0.412}).sentence == (
        "Similar: the distance is 0.412, 0.088 below the threshold 0.500. In conflict: "
        "quantity 400 g against 200 g."
    )
    alone = explain(FLOUR, FLOUR, distances={WHOLE: 0.4}, thresholds={})
    assert alone.sentence == (
        "Undecided: the distance is 0.400, and there is no threshold."
    )


def test_each_view_stands_against_its_own_threshold():
    found = explain(
        FLOUR,
        MORE_FLOUR,
        distances={WHOLE: 0.3, IMAGE: 0.9},
        thresholds={WHOLE: 0.5, IMAGE: 0.4},
        missing={TEXT: "b has no title"},
    )
    both, image, text = found.standings
    assert [one.view for one in found.standings] == list(EXPLAINED)
    assert (both.below, image.below, text.below) == (True, False, None)
    assert str(text) == "not known: b has no title"


def test_words_are_parted_into_shared_and_own_ones():
    tokens = (["white", "flour", "400g", "white"], ["flour", "white", "organic"])
    found = explained({WHOLE: 0.1}, tokens=tokens)
    assert found.shared_tokens == ("white", "flour")
    assert found.this_tokens == ("400g",)
    assert found.that_tokens == ("organic",)


def test_traits_of_both_are_shared_or_in_conflict():
    found = explained({WHOLE: 0.1})
    assert [(t.kind, t.differs) for t in found.traits] == [
        ("quantity", True),
    ]
    assert [one.kind for one in found.conflicts] == ["quantity"]


def test_an_unknown_view_is_refused():
    with pytest.raises(ValueError, match="a view is one of .*, got 'smell'"):
        explained({"smell": 1.0})


@dataclass(frozen=True)
class Added:
    feature: str
    value: float
    log_odds: float


def test_a_decider_decides_and_its_features_are_kept() -> None:
    added = (Added("title_overlap", 0.5, -2.0), Added("price", float("nan"), 0.25))
    found = explain(
        FLOUR,
        MORE_FLOUR,
        distances={WHOLE: 0.1, DECIDER: 0.7},
        thresholds={DECIDER: 0.6},
        contributions=added,
    )
    assert [one.view for one in found.standings] == ["decider", *EXPLAINED]
    assert found.verdict == NOT_SIMILAR and found.contributions == added
    assert found.sentence.startswith(
        "Not similar: the pair decider's distance is 0.700, 0.100 above the threshold"
    )
    with pytest.raises(ValueError, match="a view is one of .*, got 'decider'"):
        explain(FLOUR, FLOUR, distances={WHOLE: 0.1}, thresholds={DECIDER: 0.5})
