"""What is judged where little is known; the figures are in test_match.py."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from simprod_tf.matching.grouping import Groups
from simprod_tf.pipeline.match_judgement import Judge, judged
from simprod_tf.pipeline.threshold import LabelledRows

IDS = ("a", "b", "c")
GROUPS = Groups(
    pa.table({"id": ["a", "b"], "group": ["a", "a"]}),
    pa.table({"query_id": pa.array([], pa.string())}),
    0,
)


def test_who_knows_nothing_judges_nothing() -> None:
    found = Judge(None, {}, ids=IDS).judgement(GROUPS)
    assert judged(found) == []
    assert (found.candidates, found.decision, found.grouped, found.groups) == (
        None,
    ) * 4


def test_known_groups_judge_without_labelled_pairs() -> None:
    found = Judge(None, {"a": "x", "b": "x", "c": "x"}, ids=IDS)
    lines = judged(found.judgement(GROUPS))
    # Recall: 2/3, 2/3 and 1/3.
    assert lines == [
        "Groups against the catalogue's own: B-cubed precision 1.000, recall 0.556, F1 "
        "0.714; the largest holds 2"
    ]
    assert judged(found.judgement(None)) == []


def test_without_groups_the_decision_alone_is_judged() -> None:
    pairs = LabelledRows(np.array([[0, 1], [1, 2]]), np.array([1, 0]), 0)
    lines = judged(Judge(pairs, {}, ids=IDS).judgement(None))
    assert lines == [
        "Labelled pairs: 0.000 of the 1 similar ones are candidates ()",
        "Decision: precision nan, recall 0.000 of the labelled pairs",
    ]
