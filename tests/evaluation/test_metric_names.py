from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.evaluation.evaluate import evaluate_model
from simprod_tf.evaluation.metric_names import OTHER, PAIRS, RETRIEVAL, metric_name
from simprod_tf.evaluation.retrieval import retrieval_metrics


@pytest.mark.parametrize(
    ("name", "label", "meaning"),
    [
        ("recall_at_10", "Recall@10", "among the first 10"),
        ("recall_at_precision_95", "Recall at precision .95", "highest recall"),
        ("ndcg_at_5", "nDCG@5", "among the first 5"),
        ("pr_auc", "PR-AUC", "average precision"),
    ],
)
def test_a_name_is_put_into_words(name: str, label: str, meaning: str) -> None:
    found = metric_name(name)
    assert found.label == label and meaning in found.meaning


def test_an_unknown_metric_goes_by_its_own_name() -> None:
    found = metric_name("novelty_7")
    assert (found.label, found.kind, found.meaning) == ("novelty_7", OTHER, "")


def test_errors_are_better_the_lower_they_are() -> None:
    assert metric_name("brier").lower_is_better
    assert not metric_name("f1").lower_is_better


def test_every_metric_of_an_evaluation_has_a_name() -> None:
    found = evaluate_model(
        "m",
        pair_distances=[0.1, 0.9],
        pair_labels=[1, 0],
        pair_groups=["a", "b"],
        pair_probabilities=np.array([0.9, 0.1]),
        retrieval=retrieval_metrics(np.eye(2), np.eye(2), ["a", "b"], ["a", "b"]),
        max_distance=0.5,
        seed=0,
    )
    kinds = {name: metric_name(name).kind for name in found.metrics}
    assert set(kinds.values()) == {PAIRS, RETRIEVAL}, kinds
