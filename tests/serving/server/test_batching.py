"""Batches, against a servable that writes down what it ran."""

from __future__ import annotations

import threading
import weakref
from concurrent import futures

import grpc
import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.serving.server.batching import Batcher
from simprod_tf.serving.server.batching_options import BatchingOptions
from simprod_tf.serving.server.limits import Deadline
from simprod_tf.serving.status import ServingError

PATIENCE_S = 20
# Longer than any test: a batch runs because it is full, not because time is up.
NEVER_S = 1000.0


class Doubler:
    """`y` = 2 `x`; refuses negative x, and waits while `gate` is shut."""

    def __init__(self):
        self.ran = []
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Semaphore(0)

    def run(self, signature, inputs, outputs, *, timeout=None):
        self.ran.append(inputs["x"].tolist())
        self.started.release()
        assert self.gate.wait(PATIENCE_S)
        if signature == "sum":
            return [np.float32([inputs["x"].sum()])]
        if signature == "bug":
            raise KeyError("a bug")
        if (inputs["x"] < 0).any():
            raise tf.errors.InvalidArgumentError(None, None, "negative")
        return [2 * inputs["x"] for _ in outputs]


@pytest.fixture
def servable():
    return Doubler()


@pytest.fixture
def batcher():
    """`batcher(**options)`; all are closed at the end."""
    made = []

    def make(**options):
        made.append(Batcher(BatchingOptions(**{"num_threads": 1, **options})))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def ask():
    """`ask(batcher, servable, *values)`: the answer's future."""
    with futures.ThreadPoolExecutor(16) as pool:

        def send(batcher, servable, x, *, signature="double", timeout=PATIENCE_S):
            inputs = {"x": np.asarray(x, np.float32)}
            deadline = Deadline(timeout)
            return pool.submit(
                batcher.run, servable, signature, inputs, ["y"], deadline=deadline
            )

        yield send


def got(future):
    return future.result(PATIENCE_S)[0].tolist()


def waiting_rows(batcher):
    with batcher._changed:
        return [batch.rows for queue in batcher._queues.values() for batch in queue]


def until(condition):
    for _ in range(20_000):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not come about")


def test_requests_run_together_and_each_gets_its_own_rows(servable, batcher, ask):
    joining = batcher(max_batch_size=4, timeout_s=NEVER_S)
    one = ask(joining, servable, [1.0])
    two = ask(joining, servable, [2.0, 3.0])
    until(lambda: waiting_rows(joining) == [3])
    three = ask(joining, servable, [4.0])
    assert (got(one), got(two), got(three)) == ([2.0], [4.0, 6.0], [8.0])
    assert [sorted(rows) for rows in servable.ran] == [[1.0, 2.0, 3.0, 4.0]]


def test_what_does_not_fit_closes_the_batch_before_it(servable, batcher, ask):
    joining = batcher(max_batch_size=4, timeout_s=NEVER_S)
    one = ask(joining, servable, [1.0, 2.0, 3.0])
    until(lambda: waiting_rows(joining) == [3])
    two = ask(joining, servable, [4.0, 5.0])
    assert got(one) == [2.0, 4.0, 6.0]
    joining.close()
    assert got(two) == [8.0, 10.0]


def test_without_a_timeout_nobody_waits_for_others(servable, batcher, ask):
    joining = batcher(max_batch_size=4, timeout_s=0.0)
    assert got(ask(joining, servable, [1.0])) == [2.0]
    assert servable.ran == [[1.0]]


def test_other_shapes_and_signatures_are_batches_of_their_own(servable, batcher, ask):
    joining = batcher(max_batch_size=2, timeout_s=NEVER_S)
    flat = ask(joining, servable, [1.0])
    wide = ask(joining, servable, [[1.0, 2.0]])
    other = ask(joining, servable, [1.0], signature="other")
    until(lambda: waiting_rows(joining) == [1, 1, 1])
    joining.close()
    assert (got(flat), got(wide), got(other)) == ([2.0], [[2.0, 4.0]], [2.0])


def test_rows_of_different_lengths_are_padded_where_asked_for(servable, batcher, ask):
    joining = batcher(
        max_batch_size=2, timeout_s=NEVER_S, pad_variable_length_inputs=True
    )
    short = ask(joining, servable, [[1.0]])
    until(lambda: waiting_rows(joining) == [1])
    long = ask(joining, servable, [[2.0, 3.0]])
    assert (got(short), got(long)) == ([[2.0, 2.0]], [[4.0, 6.0]])


def test_a_batch_is_filled_up_to_an_allowed_size(servable, batcher, ask):
    joining = batcher(max_batch_size=4, allowed_batch_sizes=(2, 4))
    assert got(ask(joining, servable, [1.0, 2.0, 3.0])) == [2.0, 4.0, 6.0]
    assert servable.ran == [[1.0, 2.0, 3.0, 1.0]]


def test_a_bad_request_does_not_fail_strangers(servable, batcher, ask):
    joining = batcher(max_batch_size=3, timeout_s=NEVER_S)
    good = ask(joining, servable, [1.0])
    until(lambda: waiting_rows(joining) == [1])
    bad = ask(joining, servable, [-1.0])
    until(lambda: waiting_rows(joining) == [2])
    other = ask(joining, servable, [5.0])
    assert (got(good), got(other)) == ([2.0], [10.0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="negative"):
        got(bad)


def test_outputs_that_are_no_rows_make_requests_run_alone(servable, batcher, ask):
    joining = batcher(max_batch_size=2, timeout_s=NEVER_S)
    one = ask(joining, servable, [1.0], signature="sum")
    until(lambda: waiting_rows(joining) == [1])
    two = ask(joining, servable, [2.0], signature="sum")
    assert (got(one), got(two)) == ([1.0], [2.0])
    # From now on it is not even tried.
    assert got(ask(joining, servable, [3.0], signature="sum")) == [3.0]


@pytest.mark.parametrize("x", [5.0, np.zeros((0, 2))])
def test_inputs_without_rows_run_alone(servable, batcher, ask, x):
    joining = batcher(max_batch_size=2, timeout_s=NEVER_S)
    assert got(ask(joining, servable, x)) == (2 * np.asarray(x)).tolist()


def test_more_rows_than_a_batch_has_are_refused_or_split(servable, batcher, ask):
    with pytest.raises(ServingError) as refused:
        got(ask(batcher(max_batch_size=2), servable, [1.0, 2.0, 3.0]))
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.message == (
        "Task size 3 is larger than maximum input batch size 2"
    )
    splitting = batcher(max_batch_size=2, split_large_batches=True)
    assert got(ask(splitting, servable, [1.0, 2.0, 3.0])) == [2.0, 4.0, 6.0]
    assert servable.ran == [[1.0, 2.0], [3.0]]


def test_too_many_waiting_batches_are_unavailable(servable, batcher, ask):
    joining = batcher(max_batch_size=1, max_enqueued_batches=1)
    servable.gate.clear()
    running = ask(joining, servable, [1.0])
    assert servable.started.acquire(timeout=PATIENCE_S)
    queued = ask(joining, servable, [2.0])
    until(lambda: waiting_rows(joining) == [1])
    with pytest.raises(ServingError, match="task was submitted is full") as refused:
        got(ask(joining, servable, [3.0]))
    assert refused.value.code is grpc.StatusCode.UNAVAILABLE
    servable.gate.set()
    assert (got(running), got(queued)) == ([2.0], [4.0])


def test_a_request_whose_deadline_passes_is_not_run(servable, batcher, ask):
    joining = batcher(max_batch_size=2, timeout_s=NEVER_S)
    with pytest.raises(ServingError, match="before its batch was done") as late:
        got(ask(joining, servable, [1.0], timeout=0.01))
    assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert got(ask(joining, servable, [2.0])) == [4.0]
    assert servable.ran == [[2.0]]


def test_a_bug_reaches_those_who_wait(servable, batcher, ask):
    joining = batcher(max_batch_size=2, timeout_s=NEVER_S)
    one = ask(joining, servable, [1.0], signature="bug")
    two = ask(joining, servable, [1.0], signature="bug")
    for each in (one, two):
        with pytest.raises(KeyError, match="a bug"):
            got(each)
    with pytest.raises(KeyError, match="a bug"):
        got(ask(batcher(), servable, [1.0], signature="bug"))


def test_a_servable_is_let_go_once_its_batches_are_done(batcher, ask):
    joining, servable = batcher(max_batch_size=2), Doubler()
    gone = threading.Event()
    weakref.finalize(servable, gone.set)
    assert got(ask(joining, servable, [1.0])) == [2.0]
    del servable
    # The thread that ran it forgets it a moment later.
    assert gone.wait(PATIENCE_S)
