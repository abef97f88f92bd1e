"""How the metrics are called and what they mean, for people."""

from __future__ import annotations

import re
from dataclasses import dataclass

from simprod_tf.evaluation.evaluate import LOWER_IS_BETTER

PAIRS, RETRIEVAL, GROUPS, INDEX, OTHER = (
    "Pairs",
    "Retrieval",
    "Groups",
    "Index",
    "Further",
)
KINDS = (PAIRS, RETRIEVAL, GROUPS, INDEX, OTHER)


@dataclass(frozen=True)
class MetricName:
    """A metric's name, and what it says.

    Attributes:
        name: the key by which evaluations hold it.
        kind: one of `KINDS`.
        label: for a table's head.
        meaning: in words, or "".
    """

    name: str
    kind: str
    label: str
    meaning: str = ""

    @property
    def lower_is_better(self) -> bool:
        """Whether the lowest value is the best."""
        return self.name in LOWER_IS_BETTER


# {k} is the number that the name ends in.
_NAMES = [
    MetricName(
        "pr_auc",
        PAIRS,
        "PR-AUC",
        "area under the precision-recall curve of the test pairs (average precision)",
    ),
    MetricName(
        "roc_auc",
        PAIRS,
        "ROC-AUC",
        "how often a similar pair is nearer than a not similar one",
    ),
    MetricName(
        "precision",
        PAIRS,
        "Precision",
        "share of the pairs within the model's threshold that are similar",
    ),
    MetricName(
        "recall",
        PAIRS,
        "Recall",
        "share of the similar pairs that are within the model's threshold",
    ),
    MetricName(
        "f1",
        PAIRS,
        "F1",
        "harmonic mean of precision and recall at the model's threshold",
    ),
    MetricName(
        "best_f1",
        PAIRS,
        "Best F1 (oracle)",
        "the highest F1 of any threshold, chosen on the test pairs themselves: a "
        "bound, not what the model reaches",
    ),
    MetricName(
        "recall_at_precision",
        PAIRS,
        "Recall at precision {share}",
        "the highest recall of any threshold with that precision on the test pairs",
    ),
    MetricName(
        "brier",
        PAIRS,
        "Brier",
        "mean squared difference of probability and label",
    ),
    MetricName(
        "expected_calibration_error",
        PAIRS,
        "ECE",
        "expected calibration error: how far the share of similar pairs is from the "
        "probability, on average over bins",
    ),
    MetricName(
        "recall_at",
        RETRIEVAL,
        "Recall@{k}",
        "share of queries with a right product among the first {k}",
    ),
    MetricName(
        "share_found_at",
        RETRIEVAL,
        "Share found@{k}",
        "share of a query's right products that are among the first {k}, averaged",
    ),
    MetricName(
        "precision_at",
        RETRIEVAL,
        "Precision@{k}",
        "share of the first {k} that are right",
    ),
    MetricName(
        "map_at_r",
        RETRIEVAL,
        "MAP@R",
        "average precision over as many neighbours as there are right products",
    ),
    MetricName(
        "r_precision",
        RETRIEVAL,
        "R-precision",
        "share right of as many neighbours as there are right products",
    ),
    MetricName(
        "mrr",
        RETRIEVAL,
        "MRR",
        "mean of 1 over the rank of the first right product",
    ),
    MetricName(
        "ndcg_at",
        RETRIEVAL,
        "nDCG@{k}",
        "discounted gain of right products among the first {k}, over the best possible",
    ),
    MetricName(
        "b_cubed_precision",
        GROUPS,
        "B-cubed precision",
        "mean share of a product's found group that is of its true group",
    ),
    MetricName(
        "b_cubed_recall",
        GROUPS,
        "B-cubed recall",
        "mean share of a product's true group that is in its found group",
    ),
    MetricName(
        "b_cubed_f1",
        GROUPS,
        "B-cubed F1",
        "harmonic mean of B-cubed precision and recall",
    ),
    MetricName(
        "pair_precision",
        GROUPS,
        "Pairwise precision",
        "share of the pairs of products in one found group that are in one true group",
    ),
    MetricName(
        "pair_recall",
        GROUPS,
        "Pairwise recall",
        "share of the pairs of products in one true group that are in one found group",
    ),
    MetricName(
        "pair_f1",
        GROUPS,
        "Pairwise F1",
        "harmonic mean of pairwise precision and recall",
    ),
    MetricName(
        "row_f1",
        GROUPS,
        "Row-mean F1",
        "F1 of each product's found group against its true group, averaged",
    ),
    MetricName(
        "index_recall_at",
        INDEX,
        "Index recall@{k}",
        "share of the exact {k} nearest that the index finds",
    ),
]
_BY_NAME = {one.name: one for one in _NAMES}


def metric_name(name: str) -> MetricName:
    """Returns what is known of a metric; an unknown one goes by its own name."""
    numbered = re.fullmatch(r"(\w+)_(\d+)", name)
    if name in _BY_NAME or not numbered or numbered[1] not in _BY_NAME:
        return _BY_NAME.get(name, MetricName(name, OTHER, name))
    found, number = _BY_NAME[numbered[1]], numbered[2]
    shown = {"k": number, "share": f".{number}"}
    return MetricName(
        name,
        found.kind,
        found.label.format(**shown),
        found.meaning.format(**shown),
    )
