"""How many similar pairs are among the candidates, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simprod_tf.matching.candidate_recall import RecallCounter, candidate_recall
from simprod_tf.matching.candidates import Candidates

NONE = np.empty((0, 2), np.int64)


def block(*proposed: tuple[int, int, int]) -> Candidates:
    """Returns candidates of these starts, ends and via; bit 0 both, 1 image, 2 key."""
    starts, ends, via = np.array(proposed, np.int64).reshape(-1, 3).T
    return Candidates(
        queries=np.unique(starts),
        starts=starts,
        ends=ends,
        ranks=np.ones(len(starts), np.int32),
        distances={"both": np.zeros(len(starts), np.float32)},
        via=via.astype(np.uint32),
        sources=("both", "image", "key:gtin"),
    )


BLOCKS = [
    block((0, 1, 0b001), (0, 2, 0b011), (1, 0, 0b010)),
    block((3, 2, 0b010), (4, 5, 0b100), (4, 0, 0b001)),
]
# 0-1 by both and, backwards, by image; 2-3 by image; 4-5 by key; 1-5 by none.
POSITIVES = np.array([[1, 0], [0, 1], [2, 3], [4, 5], [5, 1]])


def test_a_pair_counts_in_either_direction_and_once() -> None:
    found = candidate_recall(BLOCKS, POSITIVES, num_products=6)
    assert (found.num_positives, found.num_found, found.recall) == (4, 3, 0.75)
    assert found.found_by == {"both": 1, "image": 2, "key:gtin": 1}
    assert found.found_only_by == {"both": 0, "image": 1, "key:gtin": 1}
    assert found.recall_by == {"both": 0.25, "image": 0.5, "key:gtin": 0.25}


def test_a_pair_found_twice_in_one_block_keeps_both_sources() -> None:
    found = candidate_recall(BLOCKS[:1], np.array([[0, 1]]), num_products=6)
    assert found.found_by == {"both": 1, "image": 1, "key:gtin": 0}


def test_the_blocks_are_counted_as_they_pass() -> None:
    counter = RecallCounter(POSITIVES, num_products=6)
    passing = counter.watch(iter(BLOCKS))
    assert counter.recall().num_found == 0
    assert next(passing) is BLOCKS[0]
    assert counter.recall().num_found == 1
    assert next(passing) is BLOCKS[1]
    assert counter.recall() == candidate_recall(BLOCKS, POSITIVES, num_products=6)


def test_no_similar_pairs_have_no_recall() -> None:
    found = candidate_recall(BLOCKS, NONE, num_products=6)
    assert found.num_positives == 0 and math.isnan(found.recall)
    assert candidate_recall([block()], POSITIVES, num_products=6).recall == 0


def test_pairs_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \[P, 2\], got \[3\]"):
        RecallCounter(np.arange(3), num_products=6)
