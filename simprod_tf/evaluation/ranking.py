"""Measures of one ranking: which of the first candidates are right, and how many are.

At k = 1 the first candidate's precision, recall and gain are one number, `recall_at_1`:
the others are given from k = 2 up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def ranked_measures(
    right: np.ndarray, num_right: np.ndarray, *, ks: Sequence[int]
) -> dict[str, np.ndarray]:
    """Returns measures of each query by metric name, [B] float64 each.

    `recall_at_<k>`: 1 if any of the first k candidates is right, else 0, the convention
    of metric learning (Song et al. 2016, "Deep Metric Learning via Lifted Structured
    Feature Embedding", https://arxiv.org/abs/1511.06452). `share_found_at_<k>`: the
    share of all right candidates that are among the first k; recall@k as information
    retrieval has it (Manning, Raghavan and Schuetze 2008, "Introduction to Information
    Retrieval", chapter 8, https://nlp.stanford.edu/IR-book). `precision_at_<k>`: the
    share of the k that is right, of k even where there are fewer candidates.
    `ndcg_at_<k>`: gains of 1, discounted by log2(1 + rank), over those of the best
    order (Jarvelin and Kekalainen 2002, https://doi.org/10.1145/582415.582418).
    `map_at_r` and `r_precision`: average precision and precision over the first R
    candidates, R being the number of right ones (Musgrave et al. 2020, "A Metric
    Learning Reality Check", https://arxiv.org/abs/2003.08505).

    Args:
        right: [B, depth] bool, by rank; depth is at least each k and each R, or all
            candidates that there are.
        num_right: [B] int, R of each query, at least 1.
        ks: each k, at least 1.
    """
    several = [k for k in ks if k > 1]
    hits = {k: right[:, :k].sum(axis=1) for k in several}
    return {
        **{f"recall_at_{k}": right[:, :k].any(axis=1).astype(float) for k in ks},
        **{f"share_found_at_{k}": hits[k] / num_right for k in several},
        **{f"precision_at_{k}": hits[k] / k for k in several},
        **{f"ndcg_at_{k}": _ndcg(right[:, :k], num_right, k=k) for k in several},
        **_at_r(right, num_right),
    }


def first_ranks(right: np.ndarray) -> np.ndarray:
    """Returns [B] int64: the rank, from 1, of the first right one; 0 for none."""
    if not right.shape[1]:
        return np.zeros(len(right), np.int64)
    return np.where(right.any(axis=1), right.argmax(axis=1) + 1, 0)


def reciprocal_ranks(ranks: np.ndarray) -> np.ndarray:
    """Returns [B] float64: 1 / rank, 0 where the rank is 0; their mean is MRR.

    Voorhees 1999, "The TREC-8 Question Answering Track Report",
    https://trec.nist.gov/pubs/trec8/papers/qa_report.pdf.
    """
    return np.where(ranks > 0, 1.0 / np.maximum(ranks, 1), 0.0)


def _ndcg(right: np.ndarray, num_right: np.ndarray, *, k: int) -> np.ndarray:
    gains = 1.0 / np.log2(np.arange(2, k + 2))
    best = np.cumsum(gains)[np.minimum(num_right, k) - 1]
    return np.asarray(right @ gains[: right.shape[1]] / best)


def _at_r(right: np.ndarray, num_right: np.ndarray) -> dict[str, np.ndarray]:
    ranks = np.arange(1, right.shape[1] + 1)
    hits = right & (ranks <= num_right[:, None])
    precision = np.cumsum(hits, axis=1) / ranks
    return {
        "map_at_r": (hits * precision).sum(axis=1) / num_right,
        "r_precision": hits.sum(axis=1) / num_right,
    }
