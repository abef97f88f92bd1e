"""A closed loop of clients in a process of its own, for `serving.py`; no TensorFlow.

It reads commands from standard input, a line of JSON each, and answers in the same way.
A command names an address, the bytes of one request, and how many callers: each sends
the request, waits for the answer, and sends it again. After every caller has had one
answer the process says `{"ready": ...}`; at the next line it starts to count.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc

# Answers of large batches; the client's own limit is 4 MB.
CHANNEL = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]
# A call takes long where 64 callers wait for large batches on few cores.
TIMEOUT_S = 120.0


@dataclass
class Loop:
    """What the callers of one command came to.

    Attributes:
        seconds: of each answer that was right, how long it took.
        failures: how many calls failed, by what they said.
    """

    seconds: list[float] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, seconds: list[float], failures: list[str]) -> None:
        """Takes one caller's results."""
        with self.lock:
            self.seconds += seconds
            for text in failures:
                self.failures[text] = self.failures.get(text, 0) + 1


def grpc_call(channel: grpc.Channel, method: str, request: bytes) -> Callable:
    """Returns a call that gives the answer's bytes; raises grpc.RpcError."""
    stub = channel.unary_unary(method)
    return lambda: stub(request, timeout=TIMEOUT_S)


def rest_call(address: str, path: str, body: bytes) -> Callable:
    """Returns a call over one connection kept open; raises RuntimeError off 200."""
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)

    def call() -> bytes:
        connection.request("POST", path, body)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {content[:200]!r}")
        return content

    return call


def caller(call: Callable, loop: Loop, gate: threading.Barrier, end: list) -> None:
    """Calls until the time is over; the first answer is not counted."""
    seconds, failures = [], []
    # Floats print in various lengths over REST, so a length is compared roughly.
    expected = 0
    try:
        expected = len(call())
    except (grpc.RpcError, RuntimeError, OSError) as error:
        failures.append(_text(error))
    gate.wait()
    gate.wait()
    while expected and time.perf_counter() < end[0]:
        began = time.perf_counter()
        try:
            length = len(call())
        except (grpc.RpcError, RuntimeError, OSError) as error:
            failures.append(_text(error))
            continue
        if abs(length - expected) > expected // 10:
            failures.append(f"{length} bytes in place of {expected}")
            continue
        seconds.append(time.perf_counter() - began)
    loop.add(seconds, failures)


def _text(error: Exception) -> str:
    if isinstance(error, grpc.RpcError):
        return f"{error.code().name}: {error.details()[:200]}"
    return str(error)


def answer(command: dict) -> dict:
    """Runs one command; the second line that it reads starts the clock."""
    request = Path(command["request"]).read_bytes()
    address, count = command["address"], command["concurrency"]
    channel = None
    if command["entry"] == "grpc":
        channel = grpc.insecure_channel(address, options=CHANNEL)
        calls = [grpc_call(channel, command["method"], request)] * count
    else:
        calls = [rest_call(address, command["path"], request) for _ in range(count)]
    loop, gate, end = Loop(), threading.Barrier(count + 1), [0.0]
    threads = [
        threading.Thread(target=caller, args=(call, loop, gate, end)) for call in calls
    ]
    for thread in threads:
        thread.start()
    gate.wait()
    say({"ready": True})
    sys.stdin.readline()
    began = time.perf_counter()
    end[0] = began + command["seconds"]
    gate.wait()
    for thread in threads:
        thread.join()
    wall_s = time.perf_counter() - began
    if channel is not None:
        channel.close()
    return {"seconds": loop.seconds, "failures": loop.failures, "wall_s": wall_s}


def say(found: dict) -> None:
    """Prints one line of JSON at once."""
    print(json.dumps(found), flush=True)


def main() -> None:
    """Answers commands until standard input ends."""
    for line in iter(sys.stdin.readline, ""):
        say(answer(json.loads(line)))


if __name__ == "__main__":
    main()
