from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from simprod_tf.evaluation.evaluate import Evaluation, evaluate_model
from simprod_tf.evaluation.figures import curves_svg, distances_svg


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
    for drawing in (curves, distances):
        ElementTree.fromstring(drawing)
        assert "currentColor" in drawing
        assert not re.search(r"#0[1-4]0[1-4]0[1-6]", drawing)
    assert all(f"var(--line-{line})" in curves for line in range(1, 7))
    assert "var(--similar)" in distances and "var(--other)" in distances


def test_drawings_on_one_page_share_no_id() -> None:
    evaluation = evaluated()
    drawings = [curves_svg([evaluation])]
    drawings += [distances_svg(evaluation, number=number) for number in range(2)]
    ids = [set(re.findall(r'\bid="([^"]+)"', drawing)) for drawing in drawings]
    assert not (ids[0] & ids[1] or ids[0] & ids[2] or ids[1] & ids[2])
    for drawing, own in zip(drawings, ids):
        assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', drawing)) <= own


def test_long_curves_are_thinned() -> None:
    assert len(curves_svg([evaluated(20_000)])) < 60_000


def test_same_evaluation_gives_the_same_bytes() -> None:
    assert curves_svg([evaluated()]) == curves_svg([evaluated()])


def test_pairs_of_one_kind_or_none_can_be_drawn() -> None:
    for count in (0, 1):
        assert "<svg" in curves_svg([evaluated(count)])
        assert "<svg" in distances_svg(evaluated(count), number=0)
