"""The gate: who comes in, who waits, who is sent away."""

from __future__ import annotations

import threading

import grpc
import pytest

from simprod_tf.serving.server.limits import Deadline, Gate, Limits
from simprod_tf.serving.status import ServingError

PATIENCE_S = 20


class Visitor:
    """A thread that enters, says so, and stays until it is let go."""

    def __init__(self, gate, *, timeout=None):
        self.inside, self.leave = threading.Event(), threading.Event()
        self.error = None
        self._gate, self._timeout = gate, timeout
        self.thread = threading.Thread(target=self._visit, daemon=True)
        self.thread.start()

    def _visit(self):
        try:
            with self._gate.enter(self._timeout):
                self.inside.set()
                self.leave.wait(PATIENCE_S)
        except ServingError as error:
            self.error = error

    def end(self):
        self.leave.set()
        self.thread.join(PATIENCE_S)


def until(condition):
    """Waits for what another thread does within a moment."""
    for _ in range(20_000):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not come about")


def test_as_many_run_as_may_and_the_next_comes_in_when_one_leaves():
    gate = Gate(Limits(concurrency=2, queue=5))
    first, second = Visitor(gate), Visitor(gate)
    assert first.inside.wait(PATIENCE_S) and second.inside.wait(PATIENCE_S)
    third = Visitor(gate)
    until(lambda: gate.waiting == 1)
    fourth = Visitor(gate)
    until(lambda: gate.waiting == 2)
    assert not third.inside.is_set()
    second.end()
    # The one that came first, not any.
    assert third.inside.wait(PATIENCE_S)
    assert not fourth.inside.is_set()
    assert (gate.running, gate.waiting) == (2, 1)
    for visitor in (first, third, fourth):
        visitor.end()
    assert (gate.running, gate.waiting) == (0, 0)


def test_beyond_the_queue_a_request_is_refused_at_once():
    gate = Gate(Limits(concurrency=1, queue=1))
    inside = Visitor(gate)
    assert inside.inside.wait(PATIENCE_S)
    waiting = Visitor(gate)
    until(lambda: gate.waiting == 1)
    with pytest.raises(ServingError, match="1 requests are running and 1 wait") as full:
        gate.enter()
    assert full.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    inside.end()
    waiting.end()
    assert gate.running == 0


def test_who_waits_beyond_the_deadline_goes_and_leaves_no_trace():
    gate = Gate(Limits(concurrency=1, queue=1))
    inside = Visitor(gate)
    assert inside.inside.wait(PATIENCE_S)
    with pytest.raises(ServingError, match="before its turn came") as late:
        gate.enter(0.01)
    assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert gate.waiting == 0
    inside.end()
    with gate.enter(0.01):
        assert gate.running == 1
    with pytest.raises(ServingError, match="deadline passed"):
        gate.enter(0.0)
    assert gate.running == 0


def test_a_place_given_in_the_moment_of_the_deadline_goes_on_to_the_next():
    gate = Gate(Limits(concurrency=1, queue=2))
    place = threading.Lock()
    place.acquire()
    with gate.enter():
        next_one = Visitor(gate)
        until(lambda: gate.waiting == 1)
        # As if `place` had been called, and so were not in the queue, just now.
        with pytest.raises(ServingError, match="deadline"):
            gate._wait(place, 0.001)
        assert next_one.inside.wait(PATIENCE_S)
        # The place inside of the block is given twice; nobody else is inside.
        gate._running += 1
    next_one.end()
    assert gate.running == 0


def test_an_error_inside_gives_the_place_back():
    gate = Gate(Limits(concurrency=1, queue=0))
    with pytest.raises(KeyError), gate.enter():
        raise KeyError
    assert gate.running == 0


def test_many_visitors_are_never_more_than_may_be_inside():
    gate, most = Gate(Limits(concurrency=3, queue=64)), []
    inside = set()
    lock = threading.Lock()

    def visit(number):
        for _ in range(30):
            with gate.enter():
                with lock:
                    inside.add(number)
                    most.append(len(inside))
                with lock:
                    inside.discard(number)

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(most) == 12 * 30
    assert max(most) <= 3
    assert (gate.running, gate.waiting) == (0, 0)


def test_limits_are_checked():
    with pytest.raises(ValueError, match="concurrency must be at least 1, got 0"):
        Limits(concurrency=0)
    with pytest.raises(ValueError, match="queue must not be negative, got -1"):
        Limits(queue=-1)
    with pytest.raises(ValueError, match="between 1 and 2147483647, got 2147483648"):
        Limits(message_bytes=2**31)


def test_a_deadline_ends_at_nought():
    assert Deadline(None).left() is None
    assert Deadline(-1.0).left() == 0.0
    assert 0 < Deadline(100.0).left() <= 100


def test_a_closed_gate_lets_in_only_who_waited_already():
    gate = Gate(Limits(concurrency=1, queue=1))
    inside = Visitor(gate)
    assert inside.inside.wait(PATIENCE_S)
    waiting = Visitor(gate)
    until(lambda: gate.waiting == 1)
    gate.close()
    with pytest.raises(ServingError, match="The server is stopping") as closed:
        gate.enter()
    assert closed.value.code is grpc.StatusCode.UNAVAILABLE
    inside.end()
    assert waiting.inside.wait(PATIENCE_S)
    waiting.end()
