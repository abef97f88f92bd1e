from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from simprod_tf.evaluation.evaluate import Evaluation, evaluate_model
from simprod_tf.evaluation.figures import (
    curves_svg,
    distances_svg,
    learning_svg,
    recall_svg,
    roc_points,
    roc_svg,
)
from simprod_tf.evaluation.report_data import LearningCurve

CURVE = LearningCurve(
    "model", np.array([1, 2]), {"loss": np.ones(2), "val_map_at_r": np.ones(2)}
)
LINES = {"loss": 0, "val_map_at_r": 3}


def evaluated(count: int = 40, *, max_distance: float | None = 0.9) -> Evaluation:
    generator = np.random.default_rng(0)
    return evaluate_model(
        "model",
        pair_distances=generator.random(count) * 2,
        pair_labels=np.arange(count) % 2,
        pair_groups=np.zeros(count),
        retrieval=None,
        max_distance=max_distance,
        seed=0,
    )


@pytest.mark.parametrize("max_distance", [None, 0.9])
def test_drawings_are_well_formed_and_take_the_pages_colours(
    max_distance: float | None,
) -> None:
    evaluation = evaluated(max_distance=max_distance)
    curves = curves_svg([evaluation] * 7)
    distances = distances_svg(evaluation, number=0)
    roc = roc_svg([evaluation] * 7)
    recall = recall_svg([(number, np.linspace(0, 1, 100)) for number in range(7)])
    for drawing in (curves, distances, roc, recall):
        ElementTree.fromstring(drawing)
        assert "currentColor" in drawing
        assert not re.search(r"#0[1-4]0[1-4]0[1-6]", drawing)
    for drawing in (curves, roc, recall):
        assert all(f"var(--line-{line})" in drawing for line in range(1, 7))
    assert "var(--similar)" in distances and "var(--other)" in distances


def test_drawings_on_one_page_share_no_id() -> None:
    evaluation = evaluated()
    drawings = [curves_svg([evaluation]), roc_svg([evaluation])]
    drawings += [distances_svg(evaluation, number=number) for number in range(2)]
    drawings += [recall_svg([(0, np.ones(3))]), learning_svg(CURVE, LINES, number=0)]
    ids = [set(re.findall(r'\bid="([^"]+)"', drawing)) for drawing in drawings]
    assert sum(map(len, ids)) == len(set().union(*ids))
    for drawing, own in zip(drawings, ids):
        assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', drawing)) <= own


def test_long_curves_are_thinned() -> None:
    evaluation = evaluated(20_000)
    assert len(curves_svg([evaluation])) < 60_000
    assert len(roc_svg([evaluation])) < 60_000


def test_same_evaluation_gives_the_same_bytes() -> None:
    assert curves_svg([evaluated()]) == curves_svg([evaluated()])


def test_pairs_of_one_kind_or_none_can_be_drawn() -> None:
    for count in (0, 1):
        assert "<svg" in curves_svg([evaluated(count)])
        assert "<svg" in roc_svg([evaluated(count)])
        assert "<svg" in distances_svg(evaluated(count), number=0)


def test_roc_points_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 2, 200)
    # In steps of 0.1: many pairs share a distance.
    distances = generator.integers(0, 20, 200) / 10
    others, similar = roc_points(labels, distances)
    expected = metrics.roc_curve(labels, -distances, drop_intermediate=False)
    np.testing.assert_allclose(others, expected[0])
    np.testing.assert_allclose(similar, expected[1])


def test_roc_of_four_pairs_by_hand() -> None:
    # By distance: similar, then one of each kind together, then another one.
    others, similar = roc_points(np.array([1, 0, 1, 0]), np.array([0.1, 0.5, 0.5, 0.9]))
    np.testing.assert_allclose(others, [0, 0, 0.5, 1])
    np.testing.assert_allclose(similar, [0, 0.5, 1, 1])


def test_losses_are_drawn_above_the_other_measures() -> None:
    both = learning_svg(CURVE, LINES, number=0)
    assert "Loss" in both and "On validation" in both
    assert "var(--line-1)" in both and "var(--line-4)" in both
    alone = learning_svg(CURVE, {"loss": 0}, number=0)
    assert "On validation" not in alone


def test_one_epoch_and_one_neighbour_are_drawn_as_points() -> None:
    one = LearningCurve("model", np.array([1]), {"loss": np.ones(1)})
    assert "<use" in learning_svg(one, {"loss": 0}, number=0)
    assert "Recall@k" in recall_svg([(0, np.ones(1))])
