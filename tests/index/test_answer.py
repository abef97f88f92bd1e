"""What an index says of itself."""

from __future__ import annotations

import pytest

from simprod_tf.index.answer import Drift


@pytest.mark.parametrize(
    ("recall", "of_changed", "num_changed", "fallen_to"),
    [
        # Two standard errors on 1,000 queries at .9: .019.
        (0.93, 0.93, 1000, None),
        (0.90, 0.93, 1000, 0.90),
        (0.93, 0.80, 1000, 0.80),
        (0.90, 0.91, 1000, 0.90),
        # Three products with 7 of their 10 neighbours each: 0.7 + 0.53 may be chance.
        (0.93, 0.70, 3, None),
        (0.93, 0.0, 3, 0.0),
        (1.0, 1.0, 0, None),
    ],
)
def test_a_recall_has_fallen_where_chance_does_not_explain_it(
    recall: float, of_changed: float, num_changed: int, fallen_to: float | None
) -> None:
    drift = Drift(0.1, recall, of_changed, 0.95, 1000, num_changed)
    assert drift.fallen_to == fallen_to
    assert drift.due == (fallen_to is not None)
