from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from simprod_tf.errors import InputError, ModelError
from simprod_tf.evaluation.evaluate import Evaluation, evaluate_groups, evaluate_model
from simprod_tf.evaluation.group_metrics import group_rows
from simprod_tf.evaluation.retrieval import retrieval_metrics
from simprod_tf.evaluation.stored import read_rows, read_run, write_rows

IDS = [f"p{n}" for n in range(6)]
GROUPS = list("aabbcc")
PAIR_IDS = np.array([["p0", "p1"], ["p1", "p2"], ["p2", "p3"], ["p3", "p4"]])


def judged(name: str, *, seed: int = 0, probabilities: bool = False) -> Evaluation:
    """A model of random vectors in the plane, judged by pairs and searches."""
    vectors = np.random.default_rng(seed).normal(size=(6, 2))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f4")
    rows = np.array([[int(id[1]) for id in pair] for pair in PAIR_IDS])
    distances = np.linalg.norm(vectors[rows[:, 0]] - vectors[rows[:, 1]], axis=1)
    return evaluate_model(
        name,
        pair_distances=distances,
        pair_labels=[1, 0, 1, 0],
        pair_groups=["a", "a", "b", "b"],
        pair_ids=PAIR_IDS,
        pair_probabilities=1 - distances / 2 if probabilities else None,
        max_distance=1.9 if probabilities else None,
        retrieval=retrieval_metrics(
            vectors, vectors, GROUPS, GROUPS, query_ids=IDS, candidate_ids=IDS
        ),
        seed=3,
    )


def write(folder: Path, *evaluations: Evaluation, candidates: str = "abc") -> None:
    write_rows(folder, evaluations, candidates=candidates, seed=3)


def test_what_is_written_is_read_again_with_the_same_intervals(tmp_path: Path) -> None:
    truth = dict(zip(IDS, GROUPS))
    found = group_rows({"p0": "x", "p1": "x", "p2": "x"}, truth)
    models = [
        evaluate_groups("groups", found, seed=3),
        judged("plain"),
        judged("calibrated", seed=1, probabilities=True),
    ]
    write(tmp_path / "rows", *models)
    for model in models:
        again = read_rows(tmp_path / "rows", model.name).evaluation
        assert again.metrics == model.metrics
        assert again.max_distance == model.max_distance
        np.testing.assert_array_equal(again.pair_ids, model.pair_ids)
    plain = read_rows(tmp_path / "rows", "plain").evaluation
    assert plain.pair_probabilities is None
    np.testing.assert_array_equal(
        plain.retrieval.first_ranks, models[1].retrieval.first_ranks
    )
    assert read_rows(tmp_path / "rows").evaluation.name == "calibrated"


def test_the_test_sets_fingerprint_holds_what_was_asked_and_no_answer(
    tmp_path: Path,
) -> None:
    write(tmp_path / "one", judged("m"))
    write(tmp_path / "two", judged("n", seed=9, probabilities=True))
    write(tmp_path / "among others", judged("m"), candidates="abcd")
    one, two = read_rows(tmp_path / "one"), read_rows(tmp_path / "two")
    assert one.test == two.test
    assert set(one.test) == {"pairs", "queries"}
    other = read_rows(tmp_path / "among others")
    assert other.test["pairs"] == one.test["pairs"]
    assert other.test["queries"] != one.test["queries"]


def test_a_failure_leaves_the_rows_that_were_there(tmp_path: Path) -> None:
    write(tmp_path / "rows", judged("m"))
    nameless = evaluate_model(
        "nameless",
        pair_distances=[0.1],
        pair_labels=[1],
        pair_groups=["a"],
        retrieval=None,
        seed=0,
    )
    with pytest.raises(ValueError, match="nameless has pairs without their ids"):
        write(tmp_path / "rows", nameless)
    assert read_rows(tmp_path / "rows").evaluation.name == "m"
    assert [one.name for one in tmp_path.iterdir()] == ["rows"]


def test_what_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a name of its own, got .'m', 'm'."):
        write(tmp_path / "rows", judged("m"), judged("m"))
    vectors = np.eye(2, dtype=np.float32)
    searched = evaluate_model(
        "m",
        pair_distances=[],
        pair_labels=[],
        pair_groups=[],
        retrieval=retrieval_metrics(vectors, vectors, ["a", "b"], ["a", "b"]),
        seed=0,
    )
    with pytest.raises(ValueError, match="m was searched without ids"):
        write(tmp_path / "rows", searched)


def test_an_unknown_model_is_told_with_those_there_are(tmp_path: Path) -> None:
    write(tmp_path / "rows", judged("m"), judged("n"))
    with pytest.raises(InputError, match="no model 'x' was judged; there are: m, n"):
        read_rows(tmp_path / "rows", "x")


def test_damaged_and_other_formats_are_refused_with_the_way_out(tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    write(rows, judged("m"))
    (rows / "pairs.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="rows are damaged .* judge the model again"):
        read_rows(rows)
    content = json.loads((rows / "manifest.json").read_text(encoding="utf-8"))
    (rows / "manifest.json").write_text(json.dumps({**content, "format": 99}))
    with pytest.raises(InputError, match="format 1 are expected, got 99; judge"):
        read_rows(rows)
    with pytest.raises(ModelError, match="manifest.json is missing"):
        read_rows(tmp_path)


def test_an_earlier_versions_evaluation_is_told_from_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no evaluation; `simprod evaluate`"):
        read_run(tmp_path)
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(InputError, match="an earlier version wrote this evaluation"):
        read_run(tmp_path)
    write(tmp_path / "rows", judged("m"))
    assert read_run(tmp_path).evaluation.name == "m"
