"""Training on several devices or machines, by `tf.distribute`."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import tensorflow as tf

from simprod_tf.errors import SimprodError
from simprod_tf.features.epoch_clock import EpochClock

# (row, count): the shard at `row` of `count`.
Shard = tuple[int, int]
Made = TypeVar("Made")

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


@dataclass(frozen=True, eq=False)
class PassClock:
    """Tells the passes of one iterator that runs through all epochs their epoch.

    Attributes:
        start: Whose epoch the first pass is of; read as the iterator is made.
        now: The clock that the dataset looks at.
    """

    start: EpochClock
    now: EpochClock

    def endless(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Returns the dataset over and over, `now` set before each pass."""

        def epochs() -> Iterator[int]:
            epoch = self.start.epoch
            while True:
                yield epoch
                epoch += 1

        def tell(epoch: int) -> None:
            self.now.epoch = int(epoch)

        def one_pass(epoch: tf.Tensor) -> tf.data.Dataset:
            # Within a function TensorFlow keeps the order of what has effects: the
            # clock is set before the pass is begun.
            tf.numpy_function(tell, [epoch], [])
            return dataset

        numbers = tf.data.Dataset.from_generator(
            epochs, output_signature=tf.TensorSpec([], tf.int64)
        )
        return numbers.flat_map(one_pass)


def distributed(
    strategy: tf.distribute.Strategy,
    make: Callable[[Shard], tf.data.Dataset],
    *,
    clock: PassClock | None = None,
) -> FitInput:
    """Returns what to `fit` on under `strategy`: whole batches for each replica.

    TensorFlow's own sharding cuts each batch along its first axis, which labels of all
    pairs within a batch, [B, B], do not bear. Here `make` gives each worker its share
    of the batches, which go to the worker's replicas in turn: a step takes one whole
    batch a replica. Batches left over for less than a step are left out of the pass.

    On several replicas Keras runs one iterator through all epochs, and fetches a
    pass's first batches before the epoch begins: there the dataset must not look at
    the clock that Keras' epochs move, but at one of `clock`, or count its passes. All
    workers need equally many batches.

    Args:
        strategy: Of `strategy_of`.
        make: Called once a worker, with (row, count): the dataset of every count-th
            batch from `row` on. `dataset.shard(count, row)` of batches will do.
        clock: Set for each pass on several replicas; None for none.

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
        # A pass is an epoch: so a training that was interrupted goes on exactly.
        dataset = dataset.take(batches // replicas * replicas)
        return dataset.repeat() if clock is None else clock.endless(dataset)

    dataset = strategy.distribute_datasets_from_function(of_worker)
    return FitInput(dataset, steps[0])


def cluster_config(workers: Sequence[str], worker: int) -> str:
    """Returns the TF_CONFIG of one worker of a cluster.

    Args:
        workers: "host:port" of each, in the same order on all machines.
        worker: Which of them this one is, from 0; the first one writes the files.

    Raises:
        ValueError: an address has no port, one stands there twice, or there is no
            such worker.
    """
    for one in workers:
        host, _, port = one.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(
                f"a worker is host:port, such as 10.0.0.1:2222; got {one!r}."
            )
    if len(set(workers)) < len(workers):
        raise ValueError(f"a worker stands there twice: {', '.join(workers)}.")
    if not 0 <= worker < len(workers):
        raise ValueError(
            f"the {len(workers)} workers are numbered from 0 to {len(workers) - 1}, "
            f"got {worker}."
        )
    return json.dumps(
        {
            "cluster": {"worker": list(workers)},
            "task": {"type": "worker", "index": worker},
        }
    )


def writes(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this is the one worker that writes files."""
    return bool(strategy.extended.should_checkpoint)


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Returns once all workers are here: files of one may then be another's."""
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        ones = strategy.run(lambda: tf.constant(1.0))
        strategy.reduce(tf.distribute.ReduceOp.SUM, ones, axis=None)


def one_by_one(strategy: tf.distribute.Strategy, make: Callable[[], Made]) -> Made:
    """Returns what `make` gives, called by one worker after the other.

    What the first one writes to a folder that only one may write to, such as a store
    of features, the others find there.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return make()
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict()
    tasks = [
        (kind, row)
        for kind in ("chief", "worker")
        for row in range(len(cluster.get(kind, ())))
    ]
    found: list[Made] = []
    for task in tasks:
        if task == (resolver.task_type, resolver.task_id):
            found.append(make())
        wait_for_all(strategy)
    return found[0]


@contextlib.contextmanager
def naming_lost_workers(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Says so where the block fails because another worker is gone.

    Raises:
        SimprodError: another worker is gone.
    """
    try:
        yield
    except _LOST as error:
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            raise
        raise SimprodError(
            "another worker is gone, or cannot be reached, and without it there is no "
            "going on: see what it said, and start all workers again with the same "
            "commands; the training goes on after its last whole epoch."
        ) from error


def _multi_worker() -> tf.distribute.Strategy:
    config = os.environ.get("TF_CONFIG", "")
    _check_cluster(config)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (*_LOST, tf.errors.UnknownError) as error:
        raise SimprodError(
            "the cluster does not come about: this machine's port may be in use, or "
            f"another worker is not there ({error.message}); TF_CONFIG is {config}."
        ) from error


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


# What TensorFlow's collective operations fail with when a worker goes.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)

STRATEGIES: dict[str, Callable[[], tf.distribute.Strategy]] = {
    "none": tf.distribute.get_strategy,
    "mirrored": tf.distribute.MirroredStrategy,
    "multi-worker": _multi_worker,
}
