"""Metrics with intervals, and a report with the products' pictures side by side."""

from simprod_tf.evaluation.compare import MetricDifference, compare_stored
from simprod_tf.evaluation.evaluate import (
    LOWER_IS_BETTER,
    Evaluation,
    evaluate_groups,
    evaluate_model,
    metric_difference,
    metric_differences,
)
from simprod_tf.evaluation.explanation import write_explanation
from simprod_tf.evaluation.group_metrics import (
    GroupedPairMetrics,
    GroupMetrics,
    GroupRows,
    group_metrics,
    group_rows,
    grouped_pair_metrics,
)
from simprod_tf.evaluation.index_recall import IndexRecall, index_recall
from simprod_tf.evaluation.interval import (
    Interval,
    bootstrap_interval,
    mean_of,
    paired_difference,
)
from simprod_tf.evaluation.learning_curve import read_learning_curve
from simprod_tf.evaluation.metrics import (
    PrecisionRecall,
    PrecisionRecallCurve,
    best_f1,
    pr_auc,
    precision_recall_at,
    precision_recall_curve,
    recall_at_precision,
    roc_auc,
)
from simprod_tf.evaluation.probability_metrics import brier
from simprod_tf.evaluation.reliability import (
    Reliability,
    expected_calibration_error,
    reliability,
)
from simprod_tf.evaluation.report import write_report
from simprod_tf.evaluation.report_data import (
    HardPair,
    HardPairs,
    LearningCurve,
    QueryRow,
    QuerySection,
    Said,
    Shown,
    WordCoverage,
)
from simprod_tf.evaluation.retrieval import Retrieval, retrieval_metrics
from simprod_tf.evaluation.slices import SliceRow, sliced
from simprod_tf.evaluation.stored import StoredEvaluation, read_run, write_rows

__all__ = [
    "Evaluation",
    "GroupMetrics",
    "GroupRows",
    "GroupedPairMetrics",
    "HardPair",
    "HardPairs",
    "IndexRecall",
    "Interval",
    "LOWER_IS_BETTER",
    "LearningCurve",
    "MetricDifference",
    "PrecisionRecall",
    "PrecisionRecallCurve",
    "QueryRow",
    "QuerySection",
    "Reliability",
    "Retrieval",
    "Said",
    "Shown",
    "SliceRow",
    "StoredEvaluation",
    "WordCoverage",
    "best_f1",
    "bootstrap_interval",
    "brier",
    "compare_stored",
    "evaluate_groups",
    "evaluate_model",
    "expected_calibration_error",
    "group_metrics",
    "group_rows",
    "grouped_pair_metrics",
    "index_recall",
    "mean_of",
    "metric_difference",
    "metric_differences",
    "paired_difference",
    "pr_auc",
    "precision_recall_at",
    "precision_recall_curve",
    "read_learning_curve",
    "read_run",
    "recall_at_precision",
    "reliability",
    "retrieval_metrics",
    "roc_auc",
    "sliced",
    "write_explanation",
    "write_report",
    "write_rows",
]
