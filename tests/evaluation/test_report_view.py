from __future__ import annotations

import numpy as np

from simprod_tf.evaluation.evaluate import Evaluation
from simprod_tf.evaluation.interval import Interval
from simprod_tf.evaluation.metrics import PrecisionRecallCurve
from simprod_tf.evaluation.report_data import LearningCurve
from simprod_tf.evaluation.report_view import (
    headlines,
    measure_label,
    measure_lines,
    metric_kinds,
    recall_text,
)

NOTHING = np.empty(0)


def evaluation(name: str, **metrics: float) -> Evaluation:
    return Evaluation(
        name,
        {
            key: Interval(value, value - 0.25, value + 0.25)
            for key, value in metrics.items()
        },
        PrecisionRecallCurve(NOTHING, NOTHING, NOTHING),
        NOTHING,
        NOTHING,
        NOTHING,
        None,
        None,
    )


def best(*evaluations: Evaluation) -> dict[str, list[bool]]:
    return {
        row.metric.name: [cell.best for cell in row.cells]
        for kind in metric_kinds(evaluations)
        for row in kind.rows
    }


def test_the_highest_is_best_but_of_errors_the_lowest():
    found = best(
        evaluation("a", f1=0.5, brier=0.25), evaluation("b", f1=0.75, brier=0.5)
    )
    assert found == {"f1": [False, True], "brier": [True, False]}


def test_one_model_or_equal_numbers_have_no_best():
    assert best(evaluation("a", f1=0.5)) == {"f1": [False]}
    # What shows as the same number is the same.
    found = best(evaluation("a", f1=0.50001), evaluation("b", f1=0.50002))
    assert found == {"f1": [False, False]}


def test_a_metric_that_a_model_lacks_is_not_available():
    kinds = metric_kinds([evaluation("a", mrr=0.5), evaluation("b", f1=0.5)])
    assert [kind.kind for kind in kinds] == ["Pairs", "Retrieval"]
    assert [cell.value for cell in kinds[0].rows[0].cells] == ["n/a", "0.500"]
    assert kinds[0].rows[0].cells[1].bounds == "[0.250, 0.750]"


def test_headlines_are_the_first_four_that_there_are_on_a_bar_of_hundred():
    found = headlines(
        evaluation("a", brier=0.1, row_f1=0.1, map_at_r=0.5, f1=0.9, pr_auc=np.nan)
    )
    assert [one.metric.name for one in found] == ["f1", "map_at_r", "row_f1"]
    # The interval [0.65, 1.15] ends at the bar's end.
    assert (found[0].place, found[0].low, found[0].high) == (90.0, 65.0, 100.0)


def test_bounds_that_are_not_known_are_where_the_value_is():
    alone = evaluation("a")
    unknown = {"f1": Interval(0.5, np.nan, np.nan)}
    (found,) = headlines(Evaluation(**{**vars(alone), "metrics": unknown}))
    assert (found.low, found.place, found.high) == (50.0, 50.0, 50.0)


def test_losses_have_the_first_lines_and_six_measures_are_shown():
    names = ["val_a", "loss", "val_b", "val_loss", "val_c", "val_d", "val_e"]
    curve = LearningCurve("m", np.array([1]), {name: np.ones(1) for name in names})
    assert list(measure_lines([curve])) == [
        "loss", "val_loss", "val_a", "val_b", "val_c", "val_d"
    ]  # fmt: skip
    assert measure_label("val_loss") == "validation loss"
    assert measure_label("gradient_norm") == "gradient norm"


def test_recall_is_told_as_far_as_it_goes():
    assert recall_text({"a": np.array([0.25, 0.5])}) == (
        "Recall at k over k. a: 0.250 at 1, 0.500 at 2."
    )
