"""What an evaluation costs: time and peak memory, on synthetic vectors.

    python benchmarks/evaluation_memory.py --products 120000 --dim 512

Every product searches among all products; pairs and groups are judged too, all with
intervals. The vectors are random (synthetic): 3 products a group about a centre, so
that some right products are the nearest and others are not. No encoder takes part.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from simprod_tf.evaluation.evaluate import (
    Evaluation,
    evaluate_groups,
    evaluate_model,
)
from simprod_tf.evaluation.group_metrics import group_rows
from simprod_tf.evaluation.retrieval import Retrieval, retrieval_metrics
from simprod_tf.evaluation.sides import pair_distances

GROUP_SIZE = 3
NUM_PAIRS = 100_000
# A product's noise is as long as its centre times this.
NOISE = 2.2
_BLOCK = 8192
Result = TypeVar("Result")


def vectors(groups: np.ndarray, dim: int, *, seed: int) -> np.ndarray:
    """Returns [P, dim] float32 of unit length, near their groups' random centres."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((int(groups.max()) + 1, dim), dtype=np.float32)
    made = np.empty((len(groups), dim), np.float32)
    for start in range(0, len(groups), _BLOCK):
        part = slice(start, start + _BLOCK)
        noise = rng.standard_normal((len(groups[part]), dim), dtype=np.float32)
        block = centres[groups[part]] + NOISE * noise
        made[part] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return made


def peak_mib() -> float:
    """Returns the most memory that this process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(what: str, work: Callable[[], Result]) -> Result:
    """Does the work, and prints how long it took and the peak of memory since."""
    start, cpu = time.perf_counter(), time.process_time()
    done = work()
    line = {
        "part": what,
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_mib": round(peak_mib()),
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    return done


def judge_pairs(
    embeddings: np.ndarray, groups: np.ndarray, retrieval: Retrieval
) -> Evaluation:
    """Returns the evaluation of random pairs, half of them similar, and the search."""
    rng = np.random.default_rng(1)
    anchors = rng.integers(0, len(groups), NUM_PAIRS)
    similar = rng.random(NUM_PAIRS) < 0.5
    fellows = anchors - anchors % GROUP_SIZE + (anchors + 1) % GROUP_SIZE
    strangers = rng.integers(0, len(groups), NUM_PAIRS)
    others = np.minimum(np.where(similar, fellows, strangers), len(groups) - 1)
    distances = pair_distances(embeddings, embeddings, rows=(anchors, others))
    return evaluate_model(
        "synthetic",
        pair_distances=distances,
        pair_labels=(groups[anchors] == groups[others]).astype(np.int64),
        pair_groups=groups[anchors],
        retrieval=retrieval,
        max_distance=1.3,
        pair_probabilities=np.clip(1 - distances / 2, 0, 1),
        seed=0,
    )


def judge_groups(groups: np.ndarray) -> Evaluation:
    """Returns the evaluation of groups of which every tenth product is torn off."""
    ids = [str(row) for row in range(len(groups))]
    found = {id: str(group) for id, group in zip(ids, groups) if int(id) % 10}
    truth = {id: str(group) for id, group in zip(ids, groups)}
    return evaluate_groups("synthetic", group_rows(found, truth), seed=0)


def main() -> None:
    """Prints a line of JSON a part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--products", type=int, default=120_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    groups = np.arange(given.products) // GROUP_SIZE
    embeddings = vectors(groups, given.dim, seed=given.seed)
    timed("synthetic vectors", lambda: None)
    ids = np.arange(given.products)
    retrieval = timed(
        "retrieval",
        lambda: retrieval_metrics(
            embeddings,
            embeddings,
            groups,
            groups,
            query_ids=ids,
            candidate_ids=ids,
        ),
    )
    judged = timed(
        "pairs, and all intervals", lambda: judge_pairs(embeddings, groups, retrieval)
    )
    grouped = timed("groups", lambda: judge_groups(groups))
    for one in (judged, grouped):
        for name, interval in one.metrics.items():
            sys.stdout.write(f"{name}: {interval}\n")


if __name__ == "__main__":
    main()
