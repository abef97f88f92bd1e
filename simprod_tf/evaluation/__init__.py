"""Metrics with intervals, and a report with the products' pictures side by side."""

from simprod_tf.evaluation.evaluate import (
    Evaluation,
    evaluate_model,
    metric_difference,
)
from simprod_tf.evaluation.explanation import write_explanation
from simprod_tf.evaluation.group_metrics import (
    GroupedPairMetrics,
    GroupMetrics,
    group_metrics,
    grouped_pair_metrics,
)
from simprod_tf.evaluation.interval import (
    Interval,
    bootstrap_interval,
    mean_of,
    paired_difference,
)
from simprod_tf.evaluation.metrics import (
    PrecisionRecall,
    PrecisionRecallCurve,
    pr_auc,
    precision_recall_at,
    precision_recall_curve,
    roc_auc,
)
from simprod_tf.evaluation.reliability import (
    Reliability,
    expected_calibration_error,
    reliability,
)
from simprod_tf.evaluation.report import (
    QueryRow,
    QuerySection,
    Shown,
    write_report,
)
from simprod_tf.evaluation.retrieval import Retrieval, retrieval_metrics

__all__ = [
    "Evaluation",
    "GroupMetrics",
    "GroupedPairMetrics",
    "Interval",
    "PrecisionRecall",
    "PrecisionRecallCurve",
    "QueryRow",
    "QuerySection",
    "Reliability",
    "Retrieval",
    "Shown",
    "bootstrap_interval",
    "evaluate_model",
    "expected_calibration_error",
    "group_metrics",
    "grouped_pair_metrics",
    "mean_of",
    "metric_difference",
    "paired_difference",
    "pr_auc",
    "precision_recall_at",
    "precision_recall_curve",
    "reliability",
    "retrieval_metrics",
    "roc_auc",
    "write_explanation",
    "write_report",
]
