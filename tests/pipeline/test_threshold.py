"""Thresholds of an index and its views, on a circle of pairs.

Products stand in twos, half a degree apart, every three degrees: two of one pair have
the distance 0.0087, those of neighbouring pairs (2.5 degrees) 0.0436.
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import numpy as np
import pytest

from simprod_tf.data.pairs import Pairs, canonical_pairs, join_pairs
from simprod_tf.errors import SimprodError, ThresholdError
from simprod_tf.index import ExactIndex, Index
from simprod_tf.matching.decisions import Decisions
from simprod_tf.matching.views import Views, views_of
from simprod_tf.pipeline.threshold import (
    ThresholdSettings,
    choose_decisions,
    described,
    labelled_rows,
)

TWOS = 100
NEAR = 2 * math.sin(math.radians(0.25))
# 100 of 100 keep this promise (100 / 102.7 is 0.974), 100 of 101 do not.
SETTINGS = ThresholdSettings(precision=0.97, prior="labelled")


def on_circle(angles: dict[str, float]) -> Index:
    turns = np.radians(np.array(list(angles.values()), np.float64))
    points = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return ExactIndex.build(list(angles), points, encoder_fingerprint="f")


def in_twos(*, apart: float = 0.5) -> dict[str, float]:
    """Returns the angles of a0, b0, a1, b1, ...; an a and its b are `apart`."""
    return {
        f"{letter}{two}": 3.0 * two + (apart if letter == "b" else 0.0)
        for two in range(TWOS)
        for letter in "ab"
    }


def labelled(*, different: int) -> Pairs:
    """Returns all a-b as similar, and b0-a1, b1-a2, ... as not."""
    same = [(f"a{two}", f"b{two}", 1) for two in range(TWOS)]
    others = [(f"b{two}", f"a{two + 1}", 0) for two in range(different)]
    anchors, ends, labels = zip(*same, *others)
    return canonical_pairs(anchors, ends, labels, source="hand")


@pytest.fixture(scope="module")
def index() -> Index:
    """By picture no similar two are known; by title they are 2.5 degrees apart."""
    index = on_circle(in_twos())
    pictures = {id: at for id, at in in_twos().items() if id.startswith("a")}
    titles = in_twos(apart=2.5)
    index.attach({"image": on_circle(pictures), "text": on_circle(titles)})
    return index


def chosen(
    index: Index, settings: ThresholdSettings, *, different: int = 99, **more: object
) -> Decisions:
    return choose_decisions(
        Views(views_of(index)),
        labelled_rows(index, labelled(different=different)),
        settings,
        encoder_fingerprint=index.encoder_fingerprint,
        date="2024-05-01",
        **more,  # type: ignore[arg-type]
    )


def test_each_view_is_decided_upon_or_says_why_not(index: Index) -> None:
    told = []
    found = chosen(index, SETTINGS, progress=lambda *what: told.append(what))
    assert list(found.by_view) == ["both"] and set(found.refused) == {"image", "text"}
    assert found.whole.max_distance == pytest.approx(NEAR, rel=1e-3)
    assert (found.whole.recall, found.whole.precision) == (1, 1)
    assert (found.whole.num_pairs, found.whole.num_positives) == (199, 100)
    assert found.whole.encoder_fingerprint == found.encoder_fingerprint == "f"
    assert (found.whole.date, found.whole.prior_source) == ("2024-05-01", "labelled")
    # By title the different ones are nearer than the similar ones.
    assert "No distance can promise a precision of 0.97" in found.refused["text"]
    assert [done for what, done, total in told] == [0, 1, 2, 3]


def test_a_product_that_a_view_lacks_is_no_evidence_there(index: Index) -> None:
    pairs = canonical_pairs(
        ["a0", "a0", "a1"], ["b0", "a1", "a2"], [1, 0, 0], source="hand"
    )
    found = choose_decisions(
        Views({"both": index, "image": index.views["image"]}),
        labelled_rows(index, labelled(different=99).where(np.arange(199) < 199)),
        SETTINGS,
        encoder_fingerprint="f",
        date="",
    )
    # No pair of two a's is labelled.
    assert "got 0 similar of 0" in found.refused["image"]
    with pytest.raises(ThresholdError, match="there are 3 labelled pairs, 1 of them"):
        choose_decisions(
            Views({"both": index}),
            labelled_rows(index, pairs),
            SETTINGS,
            encoder_fingerprint="f",
            date="",
        )


def test_a_precision_that_whole_products_cannot_promise_is_refused() -> None:
    index = on_circle(in_twos(apart=2.5))
    with pytest.raises(ThresholdError, match="No distance can promise a precision"):
        chosen(index, SETTINGS)


def test_the_prior_is_given_or_estimated_from_the_neighbours(index: Index) -> None:
    whole = on_circle(in_twos())
    settings = ThresholdSettings(precision=0.8, prior=0.4)
    given = chosen(whole, settings, different=40).whole
    assert (given.prior, given.prior_source) == (0.4, "given")
    assert given.labelled_prior == pytest.approx(100 / 140)
    # Each product's two nearest are its other half and one of the next pair.
    settings = ThresholdSettings(precision=0.8, prior="estimate", k=2)
    estimated = chosen(whole, settings, different=40).whole
    assert estimated.prior_source == "estimated"
    assert estimated.prior == pytest.approx(0.5, abs=0.02)


def test_a_prior_of_all_or_nothing_is_no_estimate() -> None:
    settings = ThresholdSettings(precision=0.8, prior="estimate", k=1)
    # With one neighbour each, no candidate is a different one.
    with pytest.raises(ThresholdError, match="got 100 similar of 100; add labelled"):
        chosen(on_circle(in_twos()), settings)


def test_the_same_seed_chooses_the_same(index: Index) -> None:
    settings = ThresholdSettings(precision=0.8, prior="estimate", k=2, seed=3)
    whole = on_circle(in_twos())
    assert chosen(whole, settings) == chosen(whole, settings)


def test_categories_of_another_scale_have_limits_of_their_own() -> None:
    # Similar up to 2 degrees among the fine ones, up to 20 among the coarse ones.
    random = np.random.default_rng(0)
    angles, triples, categories = {}, [], []
    for category, scale in (("fine", 2.0), ("coarse", 20.0)):
        for at in range(300):
            gap = scale * random.uniform(0, 1 if at % 2 else 5)
            angles.update({f"{category}{at}": 0.0, f"{category}{at}b": gap})
            triples.append((f"{category}{at}", f"{category}{at}b", int(gap <= scale)))
            categories += [category] * 2
    index = on_circle(angles)
    anchors, others, labels = zip(*triples)
    views = Views({"both": index})
    pairs = labelled_rows(
        index, canonical_pairs(anchors, others, labels, source="hand")
    )
    settings = ThresholdSettings(0.9, prior="labelled", k=1200, category="kind")
    choose = partial(
        choose_decisions, views, pairs, settings, encoder_fingerprint="f", date=""
    )
    found = choose(categories=np.array(categories, object))
    limits = found.whole.by_category
    # 2 degrees are 0.035, 20 are 0.347.
    assert limits["fine"] < 0.1 < 0.25 < limits["coarse"]
    assert found.whole.recall > choose().whole.recall + 0.1
    assert found.category == "kind"
    assert described(found)[1].startswith(
        "whole products: 2 categories have thresholds of their own, from 0.0"
    )


def test_labelled_pairs_become_rows_and_strangers_are_counted(index: Index) -> None:
    pairs = canonical_pairs(
        ["a1", "b0", "a0"], ["b0", "zzz", "b0"], [0, 1, 1], source="hand"
    )
    found = labelled_rows(index, pairs)
    assert found.left_out == 1
    assert {
        (*sorted(rows), label)
        for rows, label in zip(found.rows.tolist(), found.labels.tolist())
    } == {(0, 1, 1), (1, 2, 0)}
    strangers = canonical_pairs(["x", "a0"], ["y", "y"], [1, 0], source="hand")
    with pytest.raises(SimprodError, match="of 2 labelled pairs the index holds none"):
        labelled_rows(index, strangers)


def test_what_was_chosen_is_told_in_sentences(index: Index) -> None:
    lines = described(chosen(index, SETTINGS))
    assert lines[0].startswith("whole products: similar up to distance 0.0087; ")
    assert "at a prior of 0.503 (labelled)" in lines[0]
    assert lines[0].endswith("chosen on 199 labelled pairs, 100 of them similar")
    assert lines[1].startswith("pictures alone: no threshold. ")
    assert lines[2].startswith("titles alone: no threshold. No distance can promise")


def test_that_categories_bring_nothing_is_told(index: Index) -> None:
    found = chosen(
        index,
        dataclasses.replace(SETTINGS, category="kind"),
        categories=np.array(["x", "y"] * TWOS, object),
    )
    assert found.whole.by_category == {}
    assert described(found)[1] == (
        "whole products: one threshold for all, since by kind no more similar pairs "
        "are found"
    )


def test_pairs_that_are_no_candidates_do_not_count(index: Index) -> None:
    whole = on_circle(in_twos())
    far = [(f"a{two}", f"a{(two + 50) % TWOS}", 0) for two in range(50)]
    near = labelled(different=99)
    anchors, others, labels = zip(*far)
    pairs = join_pairs(near, canonical_pairs(anchors, others, labels, source="hand"))
    choose = partial(
        choose_decisions,
        Views({"both": whole}),
        labelled_rows(whole, pairs),
        encoder_fingerprint="f",
        date="",
    )
    assert choose(SETTINGS).whole.num_pairs == 199
    # The farthest are candidates of each other if all are.
    everyone = dataclasses.replace(SETTINGS, k=2 * TWOS)
    assert choose(everyone).whole.num_pairs == 249


def test_pairs_that_a_conflict_vetoes_do_not_count(index: Index) -> None:
    whole = on_circle(in_twos())

    def conflicts(starts: np.ndarray, ends: np.ndarray) -> dict[str, np.ndarray]:
        # Rows 0 and 1 are a0 and b0, and so on: other rows are of other twos.
        return {"pack": starts // 2 != ends // 2}

    settings = dataclasses.replace(SETTINGS, veto=("pack",))
    with pytest.raises(ThresholdError, match="got 100 similar of 100"):
        chosen(whole, settings, conflicts=conflicts)
    spared = chosen(whole, settings, conflicts=lambda a, b: {"pack": a == 0})
    assert spared.whole.num_pairs == 198
    assert spared.veto == ("pack",)


@pytest.mark.parametrize("prior", ["often", 0.0, 1.5])
def test_a_prior_that_is_none_is_refused(prior: float | str) -> None:
    with pytest.raises(ValueError, match="prior is a share between 0 and 1"):
        ThresholdSettings(prior=prior)
