"""Pairs: unordered, once each, contradictions out."""

from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.data.pairs import (
    Pairs,
    canonical_pairs,
    join_pairs,
    read_pairs,
    write_pairs,
)
from simprod_tf.errors import InputError


def rows(pairs: Pairs):
    return list(
        zip(
            pairs.anchor_ids,
            pairs.other_ids,
            pairs.labels.tolist(),
            pairs.weights.tolist(),
            pairs.sources,
        )
    )


def test_pairs_are_made_canonical():
    pairs = canonical_pairs(
        ["b", "a", "c", "a", "d", "e"],
        ["a", "b", "c", "d", "a", "a"],
        [1, 1, 1, 0, 1, 0],
        weights=[0.5, 0.75, 1, 1, 1, 1],
    )
    assert rows(pairs) == [("a", "b", 1, 0.75, "hand"), ("a", "e", 0, 1.0, "hand")]
    assert pairs.dropped == {"self-pair": 1, "duplicate": 1, "conflicting labels": 1}
    assert pairs.num_positives == 1


def test_only_pairs_with_both_ids_are_within():
    pairs = canonical_pairs(["a", "b"], ["b", "c"], [1, 0])
    assert rows(pairs.within(["a", "b"])) == [("a", "b", 1, 1.0, "hand")]


def test_joining_believes_the_first():
    hand = canonical_pairs(["a"], ["b"], [1])
    mined = canonical_pairs(["b", "b"], ["a", "c"], [0, 1], source="mined")
    joined = join_pairs(hand, mined)
    assert rows(joined) == [("a", "b", 1, 1.0, "hand"), ("b", "c", 1, 1.0, "mined")]


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_what_is_written_comes_back(tmp_path, name):
    pairs = canonical_pairs(
        ["a", "b"], ["b", "c"], [1, 0], weights=[0.25, 1], source="mined"
    )
    write_pairs(pairs, tmp_path / name)
    assert rows(read_pairs(tmp_path / name, source="mined")) == rows(pairs)


def test_unknown_ids_are_left_out_and_counted(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("anchor_id,other_id,label\na,b,1\na,z,0\n")
    pairs = read_pairs(path, source="hand", known_ids=["a", "b"])
    assert len(pairs) == 1
    assert pairs.dropped == {"unknown id": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("anchor_id,label\na,1\n", "column 'other_id' is missing"),
        ("anchor_id,other_id,label\na,b,1\na,c,yes\n", "row 2: label must be a number"),
        ("anchor_id,other_id,label\na,b,2\n", r"row 1: label must be 1 .*, got 2"),
        ("anchor_id,other_id,label,weight\na,b,1,-1\n", "weight must be above 0"),
        ("anchor_id,other_id,label,weight\na,b,1,nan\n", "weight must be above 0"),
        ("anchor_id,other_id,label\na,,1\n", "row 1: an id is empty"),
        ("anchor_id,other_id,label\na,b\n", "row 1: 2 columns instead of 3"),
        ("anchor_id,other_id,label\na,a,1\n", "no usable pair"),
        ("anchor_id,other_id,label\nx,y,1\n", "none of its 1 pairs has both ids"),
    ],
)
def test_bad_files_are_refused_with_the_row(tmp_path, text, message):
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_pairs(path, source="hand", known_ids=["a", "b", "c"])


def test_the_type_refuses_what_is_not_canonical():
    def make(a="a", b="b", label=1, weight=1.0):
        text = [np.array([v], object) for v in (a, b)]
        return Pairs(
            *text,
            np.array([label], np.int8),
            np.array([weight], np.float32),
            np.array(["hand"], object),
        )

    make()
    for wrong, message in (
        ({"a": "c"}, "anchor_id must come before"),
        ({"label": 2}, "labels must be 0 or 1"),
        ({"weight": float("nan")}, "weights must be above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**wrong)
