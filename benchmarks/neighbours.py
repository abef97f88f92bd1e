"""Nearest neighbours: ours beside raw ScaNN, faiss, hnswlib and USearch, each tuned.

    python benchmarks/neighbours.py --n 200000 --work FOLDER [--out neighbours.json]
        [--contenders simprod_tf "raw ScaNN" ...] [--rebuild ours-0.95 ...]
    python benchmarks/neighbours_report.py FOLDER/*.json --figure neighbours.svg

Products are made up: 128-d unit vectors in loose categories, families in those, a few
near-duplicates in each family. A query is a product that is slightly changed and not in
the index. Every build and every load runs in a process of its own, for its memory;
built indexes stay in --work, so that a second run, or one after a stop, only queries.
Then one process, on one core, holds all of them and takes turns: it times each
contender's grid in rounds, and the two fastest settings that reach a recall@10 again in
rounds of their own; the better of these medians counts. Searches have one thread each;
a rate is queries per second of the process's CPU time.
Needs `pip install faiss-cpu hnswlib usearch` for the peers.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from neighbours_peers import Build, K, Setting, builds_for

DIM, NUM_QUERIES, BATCH = 128, 2_000, 1_000
TARGETS = (0.90, 0.95, 0.99)
MODES = ("single", "batched")
# What one timing takes, and from where on three of them must do.
SWEEP_BLOCK_S, FINAL_BLOCK_S, LONG_S = 0.1, 0.2, 1.5
FINALISTS = 2
# Not timed: what finds less, and what is this much slower than one that finds as much.
WORST_RECALL, HOPELESS = 0.8, 1.25


@dataclass
class Timed:
    """One setting of one build: what it finds and how fast, round by round.

    Attributes:
        recall: recall@10 over all queries.
        cpu: queries per CPU second by mode, a value a round.
        wall: queries per second by mode, a value a round.
    """

    contender: str
    build: str
    setting: Setting
    recall: float = 0.0
    cpu: dict[str, list[float]] = field(default_factory=lambda: _empty())
    wall: dict[str, list[float]] = field(default_factory=lambda: _empty())

    def rate(self, mode: str) -> float:
        """Returns the median of queries per CPU second."""
        return statistics.median(self.cpu[mode])

    def fresh(self) -> Timed:
        """Returns the same setting without its times."""
        return Timed(self.contender, self.build, self.setting, self.recall)


def _empty() -> dict[str, list[float]]:
    return {mode: [] for mode in MODES}


def write_data(folder: Path, *, num_vectors: int, seed: int = 0) -> None:
    """Writes base.npy, queries.npy and truth.npy, the rows that are truly nearest."""
    draw = np.random.default_rng(seed)
    spread = _spread(draw)
    centres = _noise(draw, num_vectors // 400 + 1, spread)
    families = 0.8 * _noise(draw, num_vectors // 2, spread)
    # Categories differ in size by two orders of magnitude.
    shares = draw.lognormal(0.0, 1.0, len(centres))
    category = draw.choice(len(centres), len(families), p=shares / shares.sum())
    families += centres[category]
    family = draw.integers(0, len(families), num_vectors)
    base = _unit(families[family] + 0.3 * _noise(draw, num_vectors, spread))
    chosen = draw.choice(num_vectors, NUM_QUERIES, replace=num_vectors < NUM_QUERIES)
    queries = _unit(base[chosen] + 0.3 * _noise(draw, NUM_QUERIES, spread))
    np.save(folder / "base.npy", base)
    np.save(folder / "queries.npy", queries)
    np.save(folder / "truth.npy", exact_rows(base, queries))


def _spread(draw: np.random.Generator) -> np.ndarray:
    """Returns a [DIM, DIM] float32 factor that makes white noise uneven noise.

    Few directions carry most, as in embeddings, but no axis is one of them: product
    quantisers split the axes evenly. The noise has length one in the mean square.
    """
    scale = np.arange(1, DIM + 1) ** -0.5
    turned, _ = np.linalg.qr(draw.standard_normal((DIM, DIM)))
    return (scale[:, None] * turned / np.linalg.norm(scale)).astype(np.float32)


def _noise(draw: np.random.Generator, num: int, spread: np.ndarray) -> np.ndarray:
    return draw.standard_normal((num, DIM), dtype=np.float32) @ spread


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def exact_rows(base: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Returns the [Q, K] rows with the highest inner products, in no order."""
    found = []
    for start in range(0, len(queries), 100):
        dots = queries[start : start + 100] @ base.T
        found.append(np.argpartition(dots, -K, axis=1)[:, -K:])
    return np.concatenate(found)


def recall_of(rows: np.ndarray, truth: np.ndarray) -> float:
    """Returns the share of the true neighbours that were found."""
    found = (rows[:, :, None].astype(np.int64) == truth[:, None, :]).any(axis=1)
    return float(found.mean())


def memory_mb(name: str) -> float:
    """Returns VmRSS or VmHWM (its peak) of this process; unlike ru_maxrss, its own."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {name}.")


def clocked(work: Callable[[], Any]) -> tuple[float, float]:
    """Returns the CPU and wall seconds that `work` takes."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def measure_build(build: Build, data: Path, folder: Path, threads: int) -> dict:
    """Builds and saves one index; for a process of its own."""
    build.load_library()
    before = memory_mb("VmRSS")
    vectors = np.load(data / "base.npy")
    cpu_s, wall_s = clocked(lambda: build.build(vectors, threads=threads))
    # Before saving: what that takes is no part of a build's peak.
    peak = memory_mb("VmHWM") - before
    _, save_s = clocked(lambda: build.save(folder))
    return {
        "build_cpu_s": cpu_s,
        "build_wall_s": wall_s,
        "save_wall_s": save_s,
        "build_peak_mb": peak,
        "disk_mb": sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        / 2**20,
    }


def measure_load(build: Build, data: Path, folder: Path) -> dict:
    """Loads one index and searches a little; for a process of its own."""
    build.load_library()
    queries = np.load(data / "queries.npy")
    before = memory_mb("VmRSS")
    cpu_s, wall_s = clocked(lambda: build.load(folder))
    # Mapped files are in memory once they are read.
    build.use(build.settings()[-1])
    build.many(queries[:BATCH])
    return {
        "load_cpu_s": cpu_s,
        "load_wall_s": wall_s,
        "memory_mb": memory_mb("VmRSS") - before,
    }


def prepare(build: Build, options: argparse.Namespace) -> dict | None:
    """Returns what a build came to, from its folder or anew; None if it failed."""
    folder = options.data / build.name
    record = options.data / f"{build.name}.build.json"
    if record.exists():
        return json.loads(record.read_text(encoding="utf-8"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    found: dict[str, Any] = {"contender": build.contender, "build": build.name}
    for step in ("build", "load"):
        command = [sys.executable, __file__, "--step", step, "--one", build.name]
        command += ["--n", str(options.n), "--work", str(options.work)]
        command += ["--build-threads", str(options.build_threads)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{build.name} failed:\n{done.stderr[-1500:]}", flush=True)
            return None
        found.update(json.loads(done.stdout.splitlines()[-1]))
    record.write_text(json.dumps(found), encoding="utf-8")
    return found


class Contest:
    """All loaded builds over one set of queries, timed in turns."""

    def __init__(self, builds: list[Build], data: Path) -> None:
        self._builds = {build.name: build for build in builds}
        self._queries = np.load(data / "queries.npy")
        self._truth = np.load(data / "truth.npy")
        self._lines = [query[None] for query in self._queries]
        self._blocks = np.split(self._queries, NUM_QUERIES // BATCH)
        for build in builds:
            build.load_library()
            build.load(data / build.name)

    def first_look(self, build: Build) -> list[Timed]:
        """Returns the settings of a build worth timing, with the recall of each.

        Their rates are those of one short round.
        """
        looks = []
        for setting in build.settings():
            build.use(setting)
            look = Timed(build.contender, build.name, setting)
            cpu_s, _ = clocked(lambda look=look: self._look(build, look))
            look.cpu["batched"].append(len(self._queries) / cpu_s)
            lines = self._lines[: 20 if cpu_s > LONG_S else 200]
            cpu_s, _ = clocked(lambda lines=lines: [build.one(line) for line in lines])
            look.cpu["single"].append(len(lines) / cpu_s)
            looks.append(look)
        return [
            look
            for look in looks
            if look.recall >= WORST_RECALL
            and any(_is_near(look, looks, mode) for mode in MODES)
        ]

    def _look(self, build: Build, look: Timed) -> None:
        rows = [build.many(block) for block in self._blocks]
        look.recall = recall_of(np.concatenate(rows), self._truth)

    def take_turns(
        self,
        pairs: list[tuple[Timed, float]],
        *,
        rounds: int,
        mode: str,
        block_s: float,
    ) -> None:
        """Times each entry once a round, in an order of its own each round.

        Args:
            pairs: what receives the rates, each with its rate as far as is known.
            rounds: how many; three for what takes long.
            mode: "single" or "batched".
            block_s: about what one timing takes.
        """
        draw = np.random.default_rng(len(pairs))
        unit = BATCH if mode == "batched" else 20
        for turn in range(rounds):
            for place in draw.permutation(len(pairs)):
                entry, rate = pairs[place]
                num = unit * max(1, round(block_s * rate / unit))
                if turn < 3 or num / rate < LONG_S:
                    self._time(entry, num, mode)

    def _time(self, entry: Timed, num: int, mode: str) -> None:
        build = self._builds[entry.build]
        build.use(entry.setting)
        if mode == "single":
            parts, search, calls = self._lines, build.one, num
        else:
            parts, search, calls = self._blocks, build.many, num // BATCH
        asked = [parts[call % len(parts)] for call in range(calls)]
        search(parts[-1])
        cpu_s, wall_s = clocked(lambda: [search(part) for part in asked])
        entry.cpu[mode].append(num / cpu_s)
        entry.wall[mode].append(num / wall_s)


def _is_near(look: Timed, looks: list[Timed], mode: str) -> bool:
    best = max(o.rate(mode) for o in looks if o.recall >= look.recall)
    return best <= HOPELESS * look.rate(mode)


def finalists(swept: list[Timed], *, target: float, mode: str) -> list[Timed]:
    """Returns each contender's fastest settings that reach the recall."""
    chosen = []
    for contender in dict.fromkeys(entry.contender for entry in swept):
        able = [e for e in swept if e.contender == contender and e.recall >= target]
        able.sort(key=lambda entry: entry.rate(mode), reverse=True)
        chosen += able[:FINALISTS]
    return chosen


def sweep(contest: Contest, builds: list[Build], *, rounds: int) -> list[Timed]:
    """Returns every setting worth it, timed in turns."""
    looks = []
    for build in builds:
        found = contest.first_look(build)
        best = max(found, key=lambda look: look.recall, default=None)
        print(f"{build.name}: {len(found)} settings, up to {best}", flush=True)
        looks += found
    swept = [look.fresh() for look in looks]
    for mode in MODES:
        pairs = [(one, look.rate(mode)) for one, look in zip(swept, looks)]
        contest.take_turns(pairs, rounds=rounds, mode=mode, block_s=SWEEP_BLOCK_S)
        print(f"{len(swept)} settings swept, {mode}", flush=True)
    return swept


def final(contest: Contest, swept: list[Timed], *, rounds: int) -> list[dict]:
    """Returns each contender's best at each recall and mode, measured anew."""
    found = []
    for mode in MODES:
        chosen = [finalists(swept, target=target, mode=mode) for target in TARGETS]
        # One setting may be among the fastest for several recalls, and is timed once.
        unique = list({id(entry): entry for some in chosen for entry in some}.values())
        pairs = [(entry.fresh(), entry.rate(mode)) for entry in unique]
        contest.take_turns(pairs, rounds=rounds, mode=mode, block_s=FINAL_BLOCK_S)
        timed = [entry for entry, _ in pairs]
        for target in TARGETS:
            for best in _winners(timed, target=target, mode=mode):
                found.append({"target": target, "mode": mode, **_record(best, mode)})
    return found


def _winners(timed: list[Timed], *, target: float, mode: str) -> list[Timed]:
    """Returns each contender's fastest setting that reaches the recall."""
    best: dict[str, Timed] = {}
    for entry in sorted(timed, key=lambda entry: entry.rate(mode)):
        if entry.recall >= target:
            best[entry.contender] = entry
    return list(best.values())


def _record(entry: Timed, mode: str) -> dict:
    return {
        "contender": entry.contender,
        "build": entry.build,
        "setting": entry.setting,
        "recall": entry.recall,
        "per_cpu_s": entry.rate(mode),
        "per_cpu_s_low": min(entry.cpu[mode]),
        "per_cpu_s_high": max(entry.cpu[mode]),
        "per_s": statistics.median(entry.wall[mode]),
    }


def machine() -> dict:
    """Returns what the figures depend on."""
    packages = ("scann", "tensorflow", "faiss-cpu", "hnswlib", "usearch", "numpy")
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    idle_cpu_s, idle_wall_s = clocked(lambda: time.sleep(1))
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": next(li.split(": ")[1] for li in lines if li.startswith("model name")),
        "cores": sum(li.startswith("processor") for li in lines),
        # Threads that spin between searches would be counted as searching.
        "idle_share": idle_cpu_s / idle_wall_s,
        "versions": {
            name: importlib.metadata.version(name)
            for name in packages
            if importlib.util.find_spec(name.split("-")[0])
        },
    }


def compete(options: argparse.Namespace) -> None:
    """Builds what is not there yet, measures, writes the JSON."""
    if not (options.data / "truth.npy").exists():
        # In a process of its own: this one stays small beside the builds.
        command = [sys.executable, __file__, "--step", "data", "--n", str(options.n)]
        subprocess.run([*command, "--work", str(options.work)], check=True)
    for name in options.rebuild:
        (options.data / f"{name}.build.json").unlink(missing_ok=True)
    made = []
    for build in options.builds:
        began = time.perf_counter()
        record = prepare(build, options)
        made.append((build, record))
        print(f"{build.name}: {time.perf_counter() - began:.0f} s {record}", flush=True)
    if options.build_only:
        return
    ready = [build for build, record in made if record]
    # One core, before any library makes its threads: none can search with more.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    contest = Contest(ready, options.data)
    swept = sweep(contest, ready, rounds=options.sweep_rounds)
    found = {
        "n": options.n,
        "dim": DIM,
        "k": K,
        "num_queries": NUM_QUERIES,
        "batch": BATCH,
        "machine": machine(),
        "builds": [record for _, record in made if record],
        "sweep": [asdict(entry) for entry in swept],
        "final": final(contest, swept, rounds=options.rounds),
    }
    options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(f"{options.out}: python neighbours_report.py {options.out}")


def run_step(options: argparse.Namespace) -> None:
    """Does one thing in this process, and prints what it came to as JSON."""
    if options.step == "data":
        write_data(options.data, num_vectors=options.n)
        return
    (build,) = [b for b in builds_for(options.n) if b.name == options.one]
    folder = options.data / build.name
    if options.step == "build":
        found = measure_build(build, options.data, folder, options.build_threads)
    else:
        found = measure_load(build, options.data, folder)
    print(json.dumps(found))


def main() -> None:
    """Reads the command line and runs the comparison, or one step of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=200_000, help="products")
    parser.add_argument("--work", type=Path, required=True, help="keeps the indexes")
    parser.add_argument("--out", type=Path, help="by default in --work")
    parser.add_argument("--contenders", nargs="+", help="some of them; all by default")
    parser.add_argument("--rebuild", nargs="+", default=[], help="builds, by name")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--build-threads", type=int, default=2)
    parser.add_argument("--sweep-rounds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--step", choices=["data", "build", "load"])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.work = options.work.resolve()
    options.data = options.work / f"n{options.n}"
    options.data.mkdir(parents=True, exist_ok=True)
    options.out = options.out or options.work / f"neighbours-{options.n}.json"
    if options.step:
        run_step(options)
        return
    every = builds_for(options.n)
    known = list(dict.fromkeys(build.contender for build in every))
    wanted = options.contenders or known
    if set(wanted) - set(known):
        parser.error(f"contenders are {known}")
    options.builds = [build for build in every if build.contender in wanted]
    for build in options.builds:
        if importlib.util.find_spec(build.package.split("-")[0]) is None:
            parser.error(f"pip install {build.package}, or leave it out: --contenders")
    compete(options)


if __name__ == "__main__":
    main()
