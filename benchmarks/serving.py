"""A server's cost beside a bare gRPC echo and a bare Session.run, in the same run.

    python benchmarks/serving.py [--model saved_models/shop] [--with-batching] [--quick]
        [--out serving.json]
    python benchmarks/serving.py --target HOST:PORT [--rest-target HOST:PORT] ...

Without --target it starts `simprod serve` itself, on loopback, with a trivial model
(one 64x64 product) and the encoder. A target must serve these models under the names
`trivial` (--keep FOLDER leaves it there) and `encoder`; its CPU is not known then.

Closed loop: each of 1, 16 and 64 callers sends its next request when it has the answer
to the one before. The callers are threads of two other processes on the same machine
and take cores from the server: read rates and latencies as those of the machine as a
whole, and the CPU of the server's process per request as the server's own. `echo` is a
gRPC server in Python that answers as many bytes; `Session.run` runs the same SavedModel
with the same arrays and no server, one call after the other, and with pauses of 2 ms,
as a server has between the requests of one caller. Turns are taken round by round, and
medians are told.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from serving_processes import (
    HERE,
    Server,
    Worker,
    cpu_s,
    echo_server,
    newest,
    our_server,
    wait_available,
)
from serving_requests import Case, make_cases

PREDICT = "/tensorflow.serving.PredictionService/Predict"
ECHO = "/benchmark.Echo/Bytes"
# The goals: how many times the CPU of a bare Session.run, at batch 1.
GOALS = {"trivial": 2.2, "encoder": 1.15}
PROCESSES = 2
# How Session.run is run without a server.
WAYS = ("Session.run", "Session.run, pauses", "callable")


@dataclass
class Row:
    """One line of the table; a value a round."""

    case: Case
    entry: str
    concurrency: int
    rate: list[float] = field(default_factory=list)
    latency_ms: list[list[float]] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)


def check_answer(server: Server, case: Case, expected: Path) -> None:
    """Raises RuntimeError where a server's answer is not Session.run's."""
    import grpc
    import tensorflow as tf
    from serving_client import CHANNEL
    from tensorflow_serving.apis import predict_pb2

    with grpc.insecure_channel(server.grpc, options=CHANNEL) as channel:
        written = channel.unary_unary(PREDICT)(case.grpc.read_bytes(), timeout=60)
    answers = [
        predict_pb2.PredictResponse.FromString(one).outputs
        for one in (written, expected.read_bytes())
    ]
    for name, tensor in answers[1].items():
        found, wanted = (tf.make_ndarray(one) for one in (answers[0][name], tensor))
        if found.dtype == object:
            right = np.array_equal(found, wanted)
        else:
            right = np.allclose(found, wanted, atol=1e-4)
        if not right:
            raise RuntimeError(f"{server.name} answers {case} otherwise: {name}.")


def load(
    clients: list[Worker], server: Server, entry: str, row: Row, seconds: float
) -> None:
    """Puts one timing of a server into the row."""
    case = row.case
    command = {
        "entry": entry,
        "address": server.rest if entry == "rest" else server.grpc,
        "method": ECHO if server.name == "echo" else PREDICT,
        "path": f"/v1/models/{case.model}:predict",
        "request": str(
            case.rest
            if entry == "rest"
            else case.echo
            if server.name == "echo"
            else case.grpc
        ),
        "seconds": seconds,
    }
    some = clients[: min(len(clients), row.concurrency)]
    for worker in some:
        worker.send({**command, "concurrency": row.concurrency // len(some)})
    for worker in some:
        worker.receive()
    before = cpu_s(server.pid) if server.pid else 0.0
    for worker in some:
        worker.send({})
    found = [worker.receive() for worker in some]
    used = cpu_s(server.pid) - before if server.pid else None
    took = np.concatenate([one["seconds"] for one in found])
    for one in found:
        for text, count in one["failures"].items():
            row.failures[text] = row.failures.get(text, 0) + count
    if not len(took):
        return
    row.rate.append(len(took) / max(one["wall_s"] for one in found))
    row.latency_ms.append((np.percentile(took, [50, 95, 99]) * 1e3).tolist())
    if used is not None:
        row.cpu_us.append(used / len(took) * 1e6)


def bare(session: Worker, row: Row, seconds: float, answer: Path) -> None:
    """Puts one timing of Session.run into the row."""
    session.send(
        {
            "request": str(row.case.grpc),
            "way": row.entry,
            "seconds": seconds,
            "answer": str(answer),
        }
    )
    found = session.receive()
    row.rate.append(found["runs"] / found["wall_s"])
    row.cpu_us.append(found["cpu_s"] / found["runs"] * 1e6)


def measure(
    case: Case,
    servers: list[Server],
    session: Worker,
    clients: list[Worker],
    options: argparse.Namespace,
) -> list[Row]:
    """Returns the lines of one request."""
    answer = case.grpc.with_suffix(".answer")
    bares = [Row(case, way, 1) for way in WAYS]
    loads = [
        (server, entry, Row(case, f"{server.name} {entry}".strip(), concurrency))
        for concurrency in options.concurrency
        for server in servers
        for entry in _entries(server, concurrency)
    ]
    for turn in range(options.rounds):
        for row in bares:
            bare(session, row, options.seconds, answer)
        for server, entry, row in loads:
            if turn == 0 and entry == "grpc" and server.name != "echo":
                check_answer(server, case, answer)
            load(clients, server, entry, row, options.seconds)
    return bares + [row for _, _, row in loads]


def _entries(server: Server, concurrency: int) -> list[str]:
    """Returns the entries of a server; REST is not driven by 64 connections."""
    rest = ["rest"] if server.rest is not None and concurrency < 64 else []
    return (["grpc"] if server.grpc is not None else []) + rest


def table(rows: list[Row]) -> str:
    """Returns the lines as Markdown."""
    names = "request, batch, entry, callers, a second, p50 ms, p95, p99, CPU µs, ratio"
    lines = ["| " + " | ".join(names.split(", ")) + " |", "| --- " * 10 + "|"]
    for row in rows:
        cells = [f"{row.case.model} {row.case.what}", str(row.case.batch), row.entry]
        cells += [str(row.concurrency)]
        cells.append(f"{statistics.median(row.rate):.0f}" if row.rate else "-")
        if row.latency_ms:
            cells += [f"{one:.1f}" for one in np.median(row.latency_ms, axis=0)]
        else:
            cells += ["", "", ""]
        cells.append(f"{statistics.median(row.cpu_us):.0f}" if row.cpu_us else "")
        found = ratio(row, rows)
        cells.append("" if found is None else f"{found:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratio(row: Row, rows: list[Row]) -> float | None:
    """Returns a line's CPU per request over that of its Session.run."""
    (base,) = [r for r in rows if r.case == row.case and r.entry == "Session.run"]
    if not row.cpu_us:
        return None
    return statistics.median(row.cpu_us) / statistics.median(base.cpu_us)


def verdict(rows: list[Row]) -> str:
    """Returns the two ratios that have a goal, and what failed."""
    lines = []
    for row in rows:
        goal = GOALS[row.case.model]
        found = ratio(row, rows)
        if row.case.batch == 1 and row.entry == "simprod serve grpc" and found:
            missed = ", missed" if found > goal else ""
            lines.append(
                f"{row.case.model} {row.case.what}, batch 1, {row.concurrency} "
                f"callers: {found:.2f} times Session.run's CPU (goal {goal}{missed})"
            )
    for row in rows:
        for text, count in row.failures.items():
            lines.append(f"{row.case.model} {row.entry}: {count} times {text}")
    return "\n".join(lines)


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """Returns the command's options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="an exported encoder's folder")
    parser.add_argument("--target", help="HOST:PORT of a server that runs already")
    parser.add_argument("--rest-target", help="HOST:PORT of its REST entry")
    parser.add_argument("--with-batching", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one timing")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 500])
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--keep", type=Path, help="folder for the trivial model")
    parser.add_argument("--out", type=Path, help="every timing, as JSON")
    options = parser.parse_args(arguments)
    if options.quick:
        options.seconds, options.rounds = 0.4, 1
        options.concurrency, options.sizes = [1, 16], options.sizes[:1]
    return options


def servers_of(
    stack: ExitStack, folder: Path, models: dict[str, Path], options: argparse.Namespace
) -> list[Server]:
    """Returns the echo and what is measured beside it."""
    found = [echo_server(stack)]
    if options.target or options.rest_target:
        if options.target:
            wait_available(options.target, list(models))
        target = Server(options.target or "", options.target, options.rest_target)
        return [*found, target]
    found.append(our_server(stack, folder, models))
    if options.with_batching:
        found.append(our_server(stack, folder, models, batching=True))
    return found


def main() -> None:
    """Measures and prints."""
    options = options_of()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        trivial = (options.keep or folder / "models").resolve() / "trivial"
        if not trivial.exists():
            command = [sys.executable, "serving_peers.py", "trivial", str(trivial)]
            subprocess.run(command, cwd=HERE, check=True, capture_output=True)
        models = {"trivial": trivial}
        if options.model is not None:
            models["encoder"] = options.model.resolve()
        cases = make_cases(folder, options)
        servers = servers_of(stack, folder, models, options)
        clients = [Worker("serving_client.py") for _ in range(PROCESSES)]
        sessions = {
            name: Worker("serving_peers.py", "session", str(newest(path)))
            for name, path in models.items()
        }
        for worker in [*clients, *sessions.values()]:
            stack.callback(worker.close)
        for session in sessions.values():
            session.line()
        rows: list[Row] = []
        for case in cases:
            rows += measure(case, servers, sessions[case.model], clients, options)
            print(f"{case.model} {case.what}, batch {case.batch}: done", flush=True)
    print(table(rows))
    print(verdict(rows))
    if options.out is not None:
        records = [
            {**vars(row), "case": [row.case.model, row.case.what, row.case.batch]}
            for row in rows
        ]
        options.out.write_text(json.dumps(records), encoding="utf-8")


if __name__ == "__main__":
    main()
