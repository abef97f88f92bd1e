"""Good, bad and huge requests to `simprod serve` while new versions are published.

    python benchmarks/serving_soak.py --seconds 600 [--model saved_models/shop]
        [--publish-seconds 2] [--memory-share 0.05]

Callers draw from the kinds of `serving_soak_kinds.py`, each of which knows its right
answer; meanwhile a version of the model `adder` appears every few seconds (and, with
--model, one of the encoder: a copy) and old ones are deleted. Told are how many
requests of each kind were answered rightly, wrongly or not at all, how many versions
answered, and the peak of the server's memory in the second and in the last third of the
time. The exit status is 1 where one request came to a wrong answer or failed, or the
peak grew by over --memory-share. In a run of less than some minutes the peak tells how
many versions happened to be loaded at once, more than a leak.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from serving_processes import Server, newest, our_server
from serving_soak_kinds import (
    Asker,
    Kind,
    WrongAnswerError,
    adder_kinds,
    adder_request,
    encoder_kinds,
    write_adder,
)

CALLERS = 6
# Older versions on disk; the server holds the newest alone.
KEPT = 3
# An encoder takes seconds to load and to warm up, in which nothing else is loaded.
SLOWER = 3


class Tally:
    """Counts what became of the requests, by kind; many threads add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.right: collections.Counter[str] = collections.Counter()
        self.wrong: collections.Counter[str] = collections.Counter()
        self.failed: collections.Counter[str] = collections.Counter()
        self.versions: set[int] = set()

    def add(self, kind: Kind, outcome: object) -> None:
        """Takes an outcome: a version, None, or an error."""
        with self._lock:
            if isinstance(outcome, WrongAnswerError):
                self.wrong[f"{kind.name}: {outcome}"] += 1
            elif isinstance(outcome, Exception):
                self.failed[f"{kind.name}: {outcome!s:.300}"] += 1
            else:
                self.right[kind.name] += 1
                self.versions.update([] if outcome is None else [outcome])


def call(kinds: list[Kind], tally: Tally, over: threading.Event, seed: int) -> None:
    """Sends requests of drawn kinds until it is over."""
    draw = random.Random(seed)
    weights = [kind.weight for kind in kinds]
    while not over.is_set():
        (kind,) = draw.choices(kinds, weights)
        try:
            outcome: object = kind.ask(draw)
        # Whatever a client meets is a failed request, to be counted and shown.
        except Exception as error:
            outcome = error
        tally.add(kind, outcome)


def publish(folder: Path, seconds: float, over: threading.Event) -> None:
    """Makes the next version of a model every so often; deletes old ones."""
    while not over.wait(seconds):
        last = newest(folder)
        version = int(last.name) + 1
        aside = folder / f".{version}"
        if folder.name == "adder":
            write_adder(aside, version)
        else:
            shutil.copytree(last, aside)
        aside.rename(folder / str(version))
        shutil.rmtree(folder / str(version - KEPT), ignore_errors=True)


def wait_newest(server: Server, folder: Path) -> None:
    """Returns when the newest version of `adder` answers; after a minute, raises."""
    asker, version = Asker(server), int(newest(folder).name)
    end = time.monotonic() + 60
    while asker.predict(adder_request([1.0]))[0] != version:
        if time.monotonic() > end:
            raise RuntimeError(f"Version {version} was never served.")
        time.sleep(0.2)


def resident_mb(pid: int) -> float:
    """Returns the memory of a process that is in RAM."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20


def watch(pid: int, seconds: float) -> list[float]:
    """Returns the memory at 60 moments, evenly over so many seconds."""
    found = []
    for _ in range(60):
        time.sleep(seconds / 60)
        found.append(resident_mb(pid))
    return found


def soak(
    server: Server, folders: dict[str, Path], options: argparse.Namespace
) -> tuple[Tally, list[float]]:
    """Runs callers and publisher for the time; returns counts and memory in MB."""
    kinds = adder_kinds(server)
    if "encoder" in folders:
        kinds += encoder_kinds(server, newest(folders["encoder"]))
    tally, over = Tally(), threading.Event()
    work = [
        threading.Thread(target=call, args=(kinds, tally, over, seed))
        for seed in range(CALLERS)
    ]
    for name, folder in folders.items():
        pace = options.publish_seconds * (1 if name == "adder" else SLOWER)
        work.append(threading.Thread(target=publish, args=(folder, pace, over)))
    for thread in work:
        thread.start()
    memory = watch(server.pid, options.seconds)
    over.set()
    for thread in work:
        thread.join()
    wait_newest(server, folders["adder"])
    return tally, memory


def told(
    tally: Tally, memory: list[float], published: int, memory_share: float
) -> bool:
    """Prints what was found; returns whether all is as it should be."""
    for name, count in sorted(tally.right.items()):
        print(f"{name}: {count} right")
    for what, counts in (("wrong", tally.wrong), ("failed", tally.failed)):
        print(f"{what}: {counts.total() if counts else 0}")
        for text, count in counts.most_common(20):
            print(f"  {count} x {text}")
    # While a version is loaded there are two in memory: peaks are compared.
    before, after = max(memory[20:40]), max(memory[40:])
    grown = after / before - 1
    print(f"versions published: {published}, that answered: {len(tally.versions)}")
    print(f"memory's peak: {before:.0f} MB, then {after:.0f} MB", end="")
    print(f" ({grown:+.1%}); over time:", *(f"{one:.0f}" for one in memory[::6]))
    return not tally.wrong and not tally.failed and grown <= memory_share


def main() -> int:
    """Runs it; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--publish-seconds", type=float, default=2.0)
    parser.add_argument("--memory-share", type=float, default=0.05)
    parser.add_argument("--model", type=Path, help="an exported encoder's folder")
    options = parser.parse_args()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folders = {"adder": work / "adder"}
        write_adder(folders["adder"] / "1", 1)
        if options.model is not None:
            folders["encoder"] = work / "encoder"
            shutil.copytree(newest(options.model), folders["encoder"] / "1")
        server = our_server(stack, work, folders)
        tally, memory = soak(server, folders, options)
        published = int(newest(folders["adder"]).name)
        return 0 if told(tally, memory, published, options.memory_share) else 1


if __name__ == "__main__":
    sys.exit(main())
