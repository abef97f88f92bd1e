"""Time and memory of a command with all that it starts: Java and Python alike."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_EVERY_S = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """What a command cost.

    Attributes:
        seconds: from its start to its end.
        cpu_s: of it and of all that it started, as far as a sample saw them.
        peak_mib: the most memory all of them held at once; what two share, counts once
            for each in proportion (PSS).
        output: what it printed.
    """

    seconds: float
    cpu_s: float
    peak_mib: float
    output: str


def measured(command: list[str]) -> Cost:
    """Runs a command to its end.

    Raises:
        RuntimeError: it failed; with what it printed.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines: list[str] = []
    # Nobody reads on otherwise, and a full pipe would stop it.
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
    reader.start()
    peak, cpu = 0.0, {}
    while process.poll() is None:
        tree = list(_tree(process.pid))
        peak = max(peak, sum(map(_pss_mib, tree)))
        cpu.update({pid: found for pid in tree if (found := _cpu_s(pid)) is not None})
        time.sleep(_EVERY_S)
    reader.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{''.join(lines)}")
    seconds = time.perf_counter() - start
    return Cost(seconds, sum(cpu.values()), peak, "".join(lines))


def _tree(pid: int) -> Iterator[int]:
    """Yields a process and its descendants; any of them may end meanwhile."""
    yield pid
    children: list[str] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += (task / "children").read_text().split()
    for child in children:
        yield from _tree(int(child))


def _pss_mib(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    found = [line.split()[1] for line in text.splitlines() if line.startswith("Pss:")]
    return float(found[0]) / 1024 if found else 0.0


def _cpu_s(pid: int) -> float | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    # utime and stime, the 14th and 15th field; the first two stand before ")".
    return (int(fields[11]) + int(fields[12])) / _TICKS
