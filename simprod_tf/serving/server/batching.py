"""Joins requests that come at the same time into one run, as TF Serving does.

Worth it only where a model's cost lies in the batch and not in its rows; for a small
model it costs more than it gives, so it is off unless it is asked for.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import numpy as np
import tensorflow as tf

from simprod_tf.serving.server.batching_options import BatchingOptions
from simprod_tf.serving.server.joining import join, split_rows, trailing
from simprod_tf.serving.server.limits import Deadline
from simprod_tf.serving.status import ServingError

if TYPE_CHECKING:
    from simprod_tf.serving.models.servable import Servable
    from simprod_tf.serving.protos.server_config_pb2 import BatchingParameters

Run = Callable[..., "list[np.ndarray]"]


@dataclass
class _Task:
    """One request in a batch; `outcome` is where its thread waits."""

    inputs: Mapping[str, np.ndarray]
    rows: int
    deadline: Deadline
    outcome: futures.Future[list[np.ndarray]] = field(default_factory=futures.Future)


def run_servable(
    servable: Servable,
    signature: str,
    inputs: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    *,
    timeout: float | None,
) -> list[np.ndarray]:
    """Returns the outputs of one run; `Batcher` can be given another one."""
    return servable.run(signature, inputs, outputs, timeout=timeout)


@dataclass(frozen=True)
class _Call:
    """What requests must have in common to be joined."""

    servable: Servable
    signature: str
    outputs: tuple[str, ...]
    # Name, dtype and shape without rows of every input.
    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]


@dataclass
class _Batch:
    tasks: list[_Task] = field(default_factory=list)
    rows: int = 0
    opened: float = field(default_factory=time.monotonic)


class Batcher:
    """Runs requests in batches, in threads of its own."""

    def __init__(
        self,
        parameters: BatchingParameters | BatchingOptions,
        *,
        run: Run = run_servable,
    ) -> None:
        """Starts the threads, which run servables by `run`."""
        if not isinstance(parameters, BatchingOptions):
            parameters = BatchingOptions.of(parameters)
        self.options = parameters
        self._run_servable = run
        self._changed = threading.Condition()
        # Batches of each call; the last of each is open, and one call after the other
        # has its turn.
        self._queues: OrderedDict[_Call, deque[_Batch]] = OrderedDict()
        self._closed = False
        # Signatures whose outputs are not as long as their inputs.
        self._alone: weakref.WeakKeyDictionary[Servable, set[str]]
        self._alone = weakref.WeakKeyDictionary()
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{number}", daemon=True)
            for number in range(self.options.num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(
        self,
        servable: Servable,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str],
        *,
        deadline: Deadline,
    ) -> list[np.ndarray]:
        """Returns the outputs for one request, run together with others where it can.

        Inputs without a common number of rows are run alone.

        Raises:
            ServingError: INVALID_ARGUMENT for more rows than a batch has, UNAVAILABLE
                where too many batches wait, DEADLINE_EXCEEDED.
            tf.errors.OpError: what the runtime refuses; never another request's error.
        """
        lengths = {array.shape[:1] for array in inputs.values()}
        if (
            len(lengths) != 1
            or not next(iter(lengths))
            or lengths == {(0,)}
            or signature in self._alone.get(servable, ())
        ):
            return self._run_servable(
                servable, signature, inputs, outputs, timeout=deadline.left()
            )
        ((rows,),) = lengths
        if rows > self.options.max_batch_size:
            return self._in_pieces(
                servable, signature, inputs, outputs, rows=rows, deadline=deadline
            )
        shapes = tuple(
            (name, inputs[name].dtype.str, self._common(inputs[name]))
            for name in sorted(inputs)
        )
        call = _Call(servable, signature, tuple(outputs), shapes)
        task = _Task(inputs, rows, deadline)
        self._enqueue(call, task)
        return _awaited(task)

    def close(self) -> None:
        """Runs what waits, then ends the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _common(self, array: np.ndarray) -> tuple[int, ...]:
        if self.options.pad_variable_length_inputs:
            return (array.ndim,)
        return trailing(array)

    def _in_pieces(
        self,
        servable: Servable,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str],
        *,
        rows: int,
        deadline: Deadline,
    ) -> list[np.ndarray]:
        size = self.options.max_batch_size
        if not self.options.split_large_batches:
            raise ServingError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Task size {rows} is larger than maximum input batch size {size}",
            )
        pieces = [
            self.run(
                servable,
                signature,
                {name: array[start : start + size] for name, array in inputs.items()},
                outputs,
                deadline=deadline,
            )
            for start in range(0, rows, size)
        ]
        return [np.concatenate(arrays) for arrays in zip(*pieces)]

    def _enqueue(self, call: _Call, task: _Task) -> None:
        with self._changed:
            batches = self._queues.setdefault(call, deque())
            if (
                not batches
                or batches[-1].rows + task.rows > self.options.max_batch_size
            ):
                if len(batches) >= self.options.max_enqueued_batches:
                    raise ServingError(
                        grpc.StatusCode.UNAVAILABLE,
                        "The batch scheduling queue to which this task was submitted "
                        f"is full; task size is {task.rows}",
                    )
                batches.append(_Batch())
            batches[-1].tasks.append(task)
            batches[-1].rows += task.rows
            self._changed.notify()

    def _work(self) -> None:
        while True:
            found = self._next()
            if found is None:
                return
            self._run(*found)
            # Else the last batch, and its servable, lives until the next one comes.
            del found

    def _next(self) -> tuple[_Call, list[_Task]] | None:
        """Waits for a batch that is full, or has waited long enough."""
        with self._changed:
            while True:
                wait: float | None = None
                for call, batches in self._queues.items():
                    left = self._left(batches)
                    if left <= 0:
                        return call, self._taken(call).tasks
                    wait = left if wait is None else min(wait, left)
                if self._closed:
                    return None
                self._changed.wait(wait)

    def _left(self, batches: deque[_Batch]) -> float:
        """Returns the seconds for which the first batch still stays open."""
        first = batches[0]
        full = len(batches) > 1 or first.rows >= self.options.max_batch_size
        if full or self._closed:
            return 0.0
        return first.opened + self.options.timeout_s - time.monotonic()

    def _taken(self, call: _Call) -> _Batch:
        batches = self._queues.pop(call)
        batch = batches.popleft()
        if batches:
            # Behind the others.
            self._queues[call] = batches
        return batch

    def _run(self, call: _Call, tasks: list[_Task]) -> None:
        # Those whose deadline has passed, or whose client went away, are not run.
        tasks = [task for task in tasks if task.outcome.set_running_or_notify_cancel()]
        if len(tasks) <= 1 and not self.options.allowed_batch_sizes:
            self._run_each(call, tasks)
            return
        try:
            outputs = self._joint(call, tasks)
        except tf.errors.OpError:
            # One of them is at fault; the others must not suffer for it.
            outputs = None
        except Exception as error:
            for task in tasks:
                task.outcome.set_exception(error)
            return
        if outputs is None:
            self._run_each(call, tasks)
            return
        for task, arrays in zip(tasks, outputs):
            task.outcome.set_result(arrays)

    def _joint(self, call: _Call, tasks: list[_Task]) -> list[list[np.ndarray]] | None:
        """Returns each task's outputs; None where they cannot be told apart."""
        rows = [task.rows for task in tasks]
        total = self.options.padded(sum(rows))
        joined = join([task.inputs for task in tasks], rows=total)
        left = [task.deadline.left() for task in tasks]
        timeout = (
            None if None in left else max(each for each in left if each is not None)
        )
        arrays = self._call(call, joined, timeout=timeout)
        if any(array.shape[:1] != (total,) for array in arrays):
            self._alone.setdefault(call.servable, set()).add(call.signature)
            return None
        return split_rows(arrays, rows)

    def _run_each(self, call: _Call, tasks: Sequence[_Task]) -> None:
        for task in tasks:
            try:
                arrays = self._call(call, task.inputs, timeout=task.deadline.left())
            except Exception as error:
                task.outcome.set_exception(error)
            else:
                task.outcome.set_result(arrays)

    def _call(
        self, call: _Call, inputs: Mapping[str, np.ndarray], *, timeout: float | None
    ) -> list[np.ndarray]:
        return self._run_servable(
            call.servable, call.signature, inputs, call.outputs, timeout=timeout
        )


def _awaited(task: _Task) -> list[np.ndarray]:
    left = task.deadline.left()
    try:
        return task.outcome.result(
            None if left is None else min(left, threading.TIMEOUT_MAX)
        )
    except futures.TimeoutError as error:
        task.outcome.cancel()
        raise ServingError(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "The request's deadline passed before its batch was done.",
        ) from error
