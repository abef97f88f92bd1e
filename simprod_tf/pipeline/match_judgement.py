"""How good a run of matching is: by labelled pairs, and by groups that are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simprod_tf.evaluation.group_metrics import (
    GroupedPairMetrics,
    GroupMetrics,
    group_metrics,
    grouped_pair_metrics,
)
from simprod_tf.matching.candidate_recall import CandidateRecall, RecallCounter
from simprod_tf.matching.candidates import Candidates
from simprod_tf.matching.grouping import Groups
from simprod_tf.matching.outcome import Outcome, OutcomeCounter
from simprod_tf.matching.rule import Decided
from simprod_tf.pipeline.threshold import LabelledRows


@dataclass(frozen=True, eq=False)
class Judgement:
    """What came out for labelled pairs, and for products of known groups.

    Attributes:
        candidates: how many of the similar pairs are candidates: what the decision
            can reach at most.
        decision: of the labelled pairs.
        left_out: labelled pairs of which the index lacks a product.
        trained_on: labelled pairs that the pair decider was trained on.
        grouped: of the labelled pairs, after grouping.
        groups: found groups against true ones.
    """

    candidates: CandidateRecall | None = None
    decision: Outcome | None = None
    left_out: int = 0
    trained_on: int = 0
    grouped: GroupedPairMetrics | None = None
    groups: GroupMetrics | None = None


class Judge:
    """Counts what becomes of labelled pairs while candidates and decisions pass."""

    def __init__(
        self,
        labelled: LabelledRows | None,
        truth: Mapping[str, str],
        *,
        ids: Sequence[str],
        trained_on: int = 0,
    ) -> None:
        """Takes what is known.

        Args:
            labelled: pairs as rows; None for none.
            truth: the group of each product that is judged by it.
            ids: of the index, in row order.
            trained_on: how many of the pairs the pair decider was trained on.
        """
        self._trained_on = trained_on
        self._labelled, self._truth, self._ids = labelled, truth, ids
        rows = np.empty((0, 2), np.int64) if labelled is None else labelled.rows
        labels = np.empty(0, np.int64) if labelled is None else labelled.labels
        self._recall = RecallCounter(rows[labels == 1], num_products=len(ids))
        self._outcome = OutcomeCounter(rows, labels, num_products=len(ids))

    def watch(self, blocks: Iterable[Candidates]) -> Iterator[Candidates]:
        """Yields the blocks of candidates as they come, and counts each of them."""
        return self._recall.watch(blocks)

    def add(self, candidates: Candidates, decided: Decided) -> None:
        """Counts what was decided on one block."""
        self._outcome.add(candidates, decided)

    def judgement(self, groups: Groups | None) -> Judgement:
        """Returns what was counted, and how good the groups are, if there are any."""
        known = None
        if groups is not None and self._truth:
            known = group_metrics(groups.table, self._truth)
        if self._labelled is None:
            return Judgement(groups=known)
        pairs = [(self._ids[a], self._ids[b]) for a, b in self._labelled.rows.tolist()]
        return Judgement(
            candidates=self._recall.recall(),
            decision=self._outcome.outcome(),
            left_out=self._labelled.left_out,
            trained_on=self._trained_on,
            grouped=None
            if groups is None
            else grouped_pair_metrics(
                groups.table, pairs, labels=self._labelled.labels
            ),
            groups=known,
        )


def judged(judgement: Judgement) -> list[str]:
    """Returns how good it is, in sentences; none where nothing is known."""
    lines = []
    if (found := judgement.candidates) is not None:
        by = ", ".join(f"{name} {share:.3f}" for name, share in found.recall_by.items())
        line = (
            f"Labelled pairs: {found.recall:.3f} of the {found.num_positives} similar "
            f"ones are candidates ({by})"
        )
        if judgement.left_out:
            line += f"; {judgement.left_out} pairs are not in the index"
        lines.append(line)
    if judgement.trained_on:
        lines.append(
            f"{judgement.trained_on} of the labelled pairs were those that the decider "
            "was trained on, which flatters it"
        )
    if judgement.decision is not None:
        lines.append(_measured("Decision", judgement.decision))
    if judgement.grouped is not None:
        lines.append(_measured("After grouping", judgement.grouped))
    if (groups := judgement.groups) is not None:
        lines.append(
            f"Groups against the catalogue's own: B-cubed precision "
            f"{groups.b_cubed_precision:.3f}, recall {groups.b_cubed_recall:.3f}, F1 "
            f"{groups.b_cubed_f1:.3f}; the largest holds {groups.largest}"
        )
    return lines


def _measured(what: str, found: Outcome | GroupedPairMetrics) -> str:
    return (
        f"{what}: precision {found.precision:.3f}, recall {found.recall:.3f} of the "
        "labelled pairs"
    )
