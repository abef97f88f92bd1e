"""Training on several devices or machines, by `tf.distribute`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from simprod_tf.errors import SimprodError

# (row, count): the shard at `row` of `count`.
Shard = tuple[int, int]

_EXAMPLE = (
    'TF_CONFIG=\'{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}\''
)


def strategy_of(name: str) -> tf.distribute.Strategy:
    """Returns the strategy in whose `scope()` models are built and compiled.

    Args:
        name: "none" for one device; "mirrored" for all GPUs of this machine, a copy of
            the model on each; "multi-worker" for several machines, each of which runs
            the same program with its own TF_CONFIG in the environment.

    Raises:
        ValueError: there is no such strategy.
        SimprodError: TF_CONFIG is missing, or no cluster.
    """
    if name not in STRATEGIES:
        raise ValueError(
            f"strategy must be one of {', '.join(STRATEGIES)}, got {name!r}."
        )
    return STRATEGIES[name]()


@dataclass(frozen=True, eq=False)
class FitInput:
    """What `fit` takes.

    Attributes:
        dataset: A `tf.data.Dataset`, or one that is distributed already.
        steps_per_epoch: Of a distributed one, which Keras demands; None otherwise.
    """

    dataset: Any
    steps_per_epoch: int | None = None


def distributed(
    strategy: tf.distribute.Strategy, make: Callable[[Shard], tf.data.Dataset]
) -> FitInput:
    """Returns what to `fit` on under `strategy`: whole batches for each replica.

    TensorFlow's own sharding cuts each batch along its first axis, which labels of all
    pairs within a batch, [B, B], do not bear. Here `make` gives each worker its share
    of the batches, which go to the worker's replicas in turn: a step takes one whole
    batch a replica. Batches left over for less than a step begin the next epoch.

    On several replicas Keras runs one iterator through all epochs, and fetches a
    pass's first batches before the epoch begins: let the dataset count its passes
    rather than look at an `EpochClock`. All workers need equally many batches.

    Args:
        strategy: Of `strategy_of`.
        make: Called once a worker, with (row, count): the dataset of every count-th
            batch from `row` on. `dataset.shard(count, row)` of batches will do.

    Raises:
        ValueError: on several replicas, the dataset does not know its length.
    """
    if strategy.num_replicas_in_sync == 1:
        return FitInput(make((0, 1)))
    steps: list[int] = []

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        count = context.num_input_pipelines
        dataset = make((context.input_pipeline_id, count))
        batches = int(dataset.cardinality())
        replicas = context.num_replicas_in_sync // count
        if batches < replicas:
            raise ValueError(
                f"{replicas} replicas need a dataset of at least as many batches, and "
                f"of a known number; its cardinality is {batches}."
            )
        steps.append(batches // replicas)
        return dataset.repeat()

    dataset = strategy.distribute_datasets_from_function(of_worker)
    return FitInput(dataset, steps[0])


def _multi_worker() -> tf.distribute.Strategy:
    _check_cluster(os.environ.get("TF_CONFIG", ""))
    return tf.distribute.MultiWorkerMirroredStrategy()


def _check_cluster(text: str) -> None:
    """Says what is wrong before TensorFlow waits for workers that never come."""
    if not text:
        raise SimprodError(
            "multi-worker training reads its cluster from the environment variable "
            f"TF_CONFIG, which is not set; on the first of two machines: {_EXAMPLE}."
        )
    try:
        content = json.loads(text)
        workers = content["cluster"]["worker"]
        kind, row = content["task"]["type"], int(content["task"]["index"])
    except (ValueError, KeyError, TypeError) as error:
        raise SimprodError(
            f"TF_CONFIG must name the workers and this task, as in {_EXAMPLE}; "
            f"got {text}."
        ) from error
    if kind == "worker" and not 0 <= row < len(workers):
        raise SimprodError(
            f"TF_CONFIG names {len(workers)} workers, and this task's index is {row}."
        )


STRATEGIES: dict[str, Callable[[], tf.distribute.Strategy]] = {
    "none": tf.distribute.get_strategy,
    "mirrored": tf.distribute.MirroredStrategy,
    "multi-worker": _multi_worker,
}
