"""What the decision does with labelled pairs, worked by hand."""

from __future__ import annotations

import math

import numpy as np

from simprod_tf.matching.candidates import Candidates
from simprod_tf.matching.outcome import OutcomeCounter, VetoCounter
from simprod_tf.matching.rule import Decided

# 0-1 and 2-3 are similar, 1-2 and 4-5 are not.
PAIRS = np.array([[1, 0], [2, 3], [1, 2], [4, 5]])
LABELS = np.array([1, 1, 0, 0])


def block(*decided: tuple[int, int, int]) -> tuple[Candidates, Decided]:
    """Returns candidates of these starts and ends, and whether they are similar."""
    starts, ends, similar = np.array(decided, np.int64).reshape(-1, 3).T
    flags = np.zeros(len(starts), np.uint64)
    candidates = Candidates(
        queries=np.unique(starts),
        starts=starts,
        ends=ends,
        ranks=np.ones(len(starts), np.int32),
        distances={"both": np.zeros(len(starts), np.float32)},
        via=np.ones(len(starts), np.uint32),
        sources=("both",),
    )
    return candidates, Decided(similar == 1, similar < 0, flags, ("both",))


def test_a_pair_is_accepted_in_either_direction_and_counts_once() -> None:
    counter = OutcomeCounter(PAIRS, LABELS, num_products=6)
    # 0-1 twice, 2-3 refused, 1-2 backwards; 0-5 is not labelled.
    counter.add(*block((0, 1, 1), (1, 0, 1), (2, 3, 0)))
    counter.add(*block((2, 1, 1), (0, 5, 1)))
    found = counter.outcome()
    assert (found.num_pairs, found.num_similar) == (4, 2)
    assert (found.num_accepted, found.num_hits) == (2, 1)
    assert (found.precision, found.recall) == (0.5, 0.5)


def test_one_direction_that_was_refused_does_not_undo_the_other() -> None:
    counter = OutcomeCounter(PAIRS, LABELS, num_products=6)
    counter.add(*block((2, 3, 1)))
    counter.add(*block((3, 2, 0)))
    assert counter.outcome().num_hits == 1


def test_what_is_no_candidate_counts_as_different() -> None:
    found = OutcomeCounter(PAIRS, LABELS, num_products=6).outcome()
    assert found.num_accepted == 0 and found.recall == 0
    assert math.isnan(found.precision)


def test_without_labelled_pairs_there_are_no_shares() -> None:
    counter = OutcomeCounter(np.empty((0, 2), np.int64), np.empty(0), num_products=6)
    counter.add(*block((0, 1, 1)))
    assert counter.outcome().num_pairs == 0
    assert math.isnan(counter.outcome().recall)


def test_vetoed_candidates_are_counted_over_all_blocks() -> None:
    counter = VetoCounter()
    counter.add(*block((0, 1, -1), (2, 3, 1), (3, 2, -1)))
    counter.add(*block((4, 5, 0), (5, 4, -1)))
    assert counter.num_vetoed == 3
