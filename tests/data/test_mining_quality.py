"""The precision of mined pairs by hand labels: counts, intervals, slots."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest

from simprod_tf.data.events import read_events
from simprod_tf.data.mining import MiningSettings
from simprod_tf.data.mining_quality import Precision, mining_quality, quality_by_slots
from simprod_tf.data.pairs import Pairs, canonical_pairs
from simprod_tf.engine.embedded import Embedded


def labelled(text: str) -> Pairs:
    """Pairs by hand: "ab1 ac0"."""
    rows = text.split()
    return canonical_pairs(
        [row[0] for row in rows],
        [row[1] for row in rows],
        [int(row[2]) for row in rows],
    )


def mined(text: str) -> pa.Table:
    rows = text.split()
    columns = {
        "anchor_id": [row[0] for row in rows],
        "other_id": [row[1] for row in rows],
        "label": pa.array(np.array([int(row[2]) for row in rows], np.int8)),
    }
    return pa.table(columns)


def test_only_pairs_that_both_know_are_judged() -> None:
    found = mining_quality(
        mined("ab1 ac1 ad1 bc0 bd0 xy0"),
        labelled("ba1 ac0 bc0 bd0 ad1 ef1"),
        negative_slots=5,
    )
    # Of positives ab, ac and ad the second is wrong; xy is not known by hand.
    assert (found.positives, found.negatives) == (Precision(2, 3), Precision(2, 2))
    assert (found.pairs, found.negative_slots) == (6, 5)


@pytest.mark.parametrize(
    ("right", "known"), [(0, 1), (1, 1), (2, 3), (50, 50), (7, 90)]
)
def test_the_interval_is_wilsons(right: int, known: int) -> None:
    expected = binomtest(right, known).proportion_ci(0.95, method="wilson")
    found = Precision(right, known)
    assert (found.low, found.high) == pytest.approx(
        (expected.low, expected.high), abs=1e-6
    )
    assert found.share == right / known
    assert 0 <= found.low <= found.share <= found.high <= 1


def test_without_overlap_there_is_no_precision() -> None:
    found = mining_quality(mined("ab1"), labelled("cd1"), negative_slots=1)
    assert math.isnan(found.positives.share)
    assert math.isnan(found.positives.low)
    assert str(found.positives) == str(found.negatives) == "none known"


def test_a_precision_shows_its_bounds_and_number() -> None:
    assert str(Precision(3, 4)) == "0.750 [0.301, 0.954] of 4"


def test_each_number_of_slots_is_mined_and_judged(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = [f"s,{id_},view,{n}" for n, id_ in enumerate("abcd")] + ["s,p,buy,9"]
    path.write_text("\n".join(["session,id,event,time", *rows]))
    # One slot back is d itself: for and against cancel out.
    hand = labelled("dp1 cp1 bp0 ap0")
    with Embedded(threads=1) as engine:
        found = quality_by_slots(
            read_events(path, engine=engine),
            hand,
            slots=[1, 2, 3, 5],
            settings=MiningSettings(min_support=1),
        )
    assert [one.negative_slots for one in found] == [1, 2, 3, 5]
    assert [one.pairs for one in found] == [0, 2, 2, 1]
    positives, negatives = (
        [getattr(one, n) for one in found] for n in ("positives", "negatives")
    )
    assert positives == [Precision(0, 0), *[Precision(1, 1)] * 3]
    # c is similar to p, by hand; b is not.
    assert negatives == [
        Precision(0, 0),
        Precision(0, 1),
        Precision(1, 1),
        Precision(0, 0),
    ]
