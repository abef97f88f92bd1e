"""Pairs: unordered, once each, contradictions out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.pairs import (
    Pairs,
    canonical_pairs,
    join_pairs,
    read_pairs,
    write_pairs,
)
from simprod_tf.data.tables import write_table
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


def test_contradictions_are_named_in_the_order_of_the_input():
    pairs = canonical_pairs(
        ["z", "a", "c", "b", "y", "a"], ["y", "b", "d", "a", "z", "c"],
        [1, 0, 1, 1, 0, 1],
    )  # fmt: skip
    assert pairs.conflicts == (("y", "z"), ("a", "b"))
    assert pairs.dropped == {"conflicting labels": 2}
    assert [row[:2] for row in rows(pairs)] == [("c", "d"), ("a", "c")]
    expected = "2 pairs are labelled both ways and left out, ('y', 'z') among them"
    assert pairs.conflict_note == expected
    assert canonical_pairs(["a"], ["b"], [1]).conflict_note == ""


def plainly(anchors, others, labels, weights):
    """Returns what `canonical_pairs` should, one row after the other."""
    seen = {}
    for anchor, other, label, weight in zip(anchors, others, labels, weights):
        if anchor != other:
            pair = seen.setdefault(tuple(sorted((anchor, other))), {})
            pair[label] = max(weight, pair.get(label, 0))
    kept = [(*pair, *of.popitem(), "hand") for pair, of in seen.items() if len(of) == 1]
    return kept, tuple(pair for pair, of in seen.items() if len(of) == 2)


def test_many_pairs_come_out_as_one_after_the_other():
    rng = np.random.default_rng(0)
    names = np.array([f"é{n}" if n % 3 else f"Z{n}" for n in range(40)], object)
    anchors, others = names[rng.integers(0, 40, (2, 1500))]
    labels = rng.integers(0, 2, 1500) * rng.integers(0, 2, 1500)
    weights = rng.integers(1, 9, 1500) / 8
    kept, conflicts = plainly(anchors, others, labels.tolist(), weights.tolist())
    pairs = canonical_pairs(anchors, others, labels, weights=weights)
    assert rows(pairs) == kept
    assert pairs.conflicts == conflicts
    assert sum(pairs.dropped.values()) + len(kept) + len(conflicts) == 1500


def test_what_was_left_out_stays_known_when_pairs_are_chosen():
    pairs = canonical_pairs(["a", "a", "a", "c", "d"], ["b", "b", "c", "d", "c"],
                            [1, 0, 1, 1, 0])  # fmt: skip
    some = pairs.within(["a", "b", "c"])
    assert some.conflicts == (("a", "b"),)
    assert some.dropped == {"conflicting labels": 2}
    assert pairs.where(np.zeros(1, bool)).conflicts == pairs.conflicts


def test_only_pairs_with_both_ids_are_within():
    pairs = canonical_pairs(["a", "b"], ["b", "c"], [1, 0])
    assert rows(pairs.within(["a", "b"])) == [("a", "b", 1, 1.0, "hand")]


def test_joining_believes_the_first_and_names_where_they_disagree():
    hand = canonical_pairs(["a", "a", "d", "d"], ["b", "c", "e", "e"], [1, 0, 1, 0])
    mined = canonical_pairs(
        ["b", "a", "b", "d", "f", "f"], ["a", "c", "c", "e", "g", "g"],
        [0, 0, 1, 1, 0, 1], weights=[0.5] * 6, source="mined",
    )  # fmt: skip
    joined = join_pairs(hand, mined)
    assert rows(joined) == [
        ("a", "b", 1, 1.0, "hand"),
        ("a", "c", 0, 1.0, "hand"),
        ("b", "c", 1, 0.5, "mined"),
    ]
    assert joined.conflicts == (("d", "e"), ("f", "g"), ("a", "b"))
    # a-b is labelled otherwise by hand, d-e both ways.
    assert joined.dropped == {"conflicting labels": 2, "overruled by hand": 2}


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_sources_come_back_and_hand_is_believed(tmp_path, name):
    hand = canonical_pairs(["a"], ["b"], [1])
    mined = canonical_pairs(["b"], ["c"], [1], weights=[0.5], source="mined")
    joined = join_pairs(hand, mined)
    write_pairs(joined, tmp_path / name)
    assert rows(read_pairs(tmp_path / name, source="mined")) == rows(joined)


def test_a_source_that_is_not_given_is_the_one_asked_for(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("anchor_id,other_id,label,source\na,b,0,\na,c,1,hand\nb,a,1,hand\n")
    pairs = read_pairs(path, source="mined")
    assert rows(pairs) == [("a", "c", 1, 1.0, "hand"), ("a", "b", 1, 1.0, "hand")]
    assert pairs.conflicts == (("a", "b"),)
    assert pairs.dropped == {"overruled by hand": 1}


def test_contradictions_in_a_file_are_warned_of(tmp_path, caplog):
    path = tmp_path / "p.csv"
    path.write_text("anchor_id,other_id,label\na,b,0\nb,a,1\na,c,1\n")
    assert read_pairs(path, source="hand").conflicts == (("a", "b"),)
    note = "1 pair is labelled both ways and left out, ('a', 'b') among them"
    assert f"p.csv: {note}" in caplog.text


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
        (
            "anchor_id,other_id,label,source\na,b,1,hand\na,c,1,guess\n",
            "row 2: source must be hand or mined, got 'guess'",
        ),
        ("anchor_id,other_id,label\n", "no usable pair"),
        ("anchor_id,other_id,label\na,b\n", "row 1: 2 columns instead of 3"),
        ("anchor_id,other_id,label\na,a,1\n", "no usable pair is in it.$"),
        (
            "anchor_id,other_id,label\na,b,1\na,b,0\n",
            "no usable pair is in it: 1 pair is labelled both ways",
        ),
        ("anchor_id,other_id,label\nx,y,1\n", "none of its 1 pairs has both ids"),
    ],
)
def test_bad_files_are_refused_with_the_row(tmp_path, text, message):
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_pairs(path, source="hand", known_ids=["a", "b", "c"])


def test_the_type_refuses_what_is_not_canonical():
    def make(a="a", b="b", label=1, weight=1.0, source="hand"):
        text = [np.array([v], object) for v in (a, b)]
        return Pairs(
            *text,
            np.array([label], np.int8),
            np.array([weight], np.float32),
            np.array([source], object),
        )

    make()
    for wrong, message in (
        ({"a": "c"}, "anchor_id must come before"),
        ({"label": 2}, "labels must be 0 or 1"),
        ({"weight": float("nan")}, "weights must be above 0"),
        ({"source": "guess"}, "sources must be hand or mined"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**wrong)


@pytest.mark.parametrize(
    ("label", "weight", "message"),
    [
        (2, 1.0, "labels must be 0 or 1"),
        (256, 1.0, "labels must be 0 or 1"),
        (1, 0.0, "weights must be above 0"),
        (1, float("nan"), "weights must be above 0"),
    ],
)
def test_labels_and_weights_that_cannot_be_are_refused(label, weight, message):
    with pytest.raises(ValueError, match=message):
        canonical_pairs(["a", "b"], ["b", "a"], [label, 1], weights=[weight, -1])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("other_id", " ", "an id is empty"),
        ("label", "x", "label must be a number, got 'x'"),
        ("label", "2", "label must be 1"),
        ("weight", "0", "weight must be above 0, got 0"),
        ("source", "guess", "source must be hand or mined, got 'guess'"),
    ],
)
def test_a_faulty_row_of_a_shard_is_named(tmp_path, column, value, message):
    good = {
        "anchor_id": ["a", "b"],
        "other_id": ["b", "c"],
        "label": ["1", "0"],
        "weight": ["1", "1"],
        "source": ["", ""],
    }
    write_table(pa.table(good), tmp_path / "part-00000.parquet")
    pairs = read_pairs(tmp_path, source="mined")
    assert list(zip(pairs.anchor_ids, pairs.other_ids)) == [("a", "b"), ("b", "c")]
    bad = {**good, column: [good[column][0], value]}
    write_table(pa.table(bad), tmp_path / "part-00001.parquet")
    with pytest.raises(InputError, match=rf"part-00001.parquet, row 2: {message}"):
        read_pairs(tmp_path, source="mined")
