"""The processes of `record.py`: which there are, and what runs in each.

    python benchmarks/record_jobs.py REQUEST

`REQUEST` is what `record.py` asks of a process, as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from record_pair_sets import PairSet
from record_results import Result
from record_sets import is_search, read_set

from simprod_tf.errors import SimprodError

STAGES = ("raw", "encoder", "decider", "groups")
# What runs for each stage, and whether seeds change it.
PAIR_JOBS = {
    "raw": (("tfidf", False), ("words", True)),
    "encoder": (("encoder", True),),
    "decider": (("decider", True),),
    "groups": (("lines", True), ("groups", True)),
}
SEARCH_JOBS = {
    "raw": (("features", False),),
    "encoder": (("encoder", True),),
    "decider": (),
    "groups": (("groups", True),),
}
_EVERY_S = 10.0


@dataclass(frozen=True)
class Job:
    """One process: a stage's part, with one seed."""

    stage: str
    part: str
    seed: int
    seeded: bool

    @property
    def name(self) -> str:
        """The stage, and which part of it where there are several."""
        return self.stage if self.stage == self.part else f"{self.stage} {self.part}"


def jobs_of(layout: str, stages: Sequence[str], *, seeds: int) -> list[Job]:
    """Returns what to run, in order; of what no seed changes there is one."""
    table = SEARCH_JOBS if is_search(layout) else PAIR_JOBS
    return [
        Job(stage, part, seed, seeded)
        for seed in range(seeds)
        for stage in STAGES
        if stage in stages
        for part, seeded in table[stage]
        if seeded or seed == 0
    ]


def run_jobs(
    jobs: Sequence[Job], request: Mapping[str, Any]
) -> Iterator[tuple[Job, Result, dict[str, Any]]]:
    """Yields each job with its result and its cost; goes on where a later one fails.

    Args:
        jobs: In order: later ones use what earlier ones leave in the folder `work`.
        request: `folder`, `split`, `size`, `work`, `pair_options`, `search_options`.

    Raises:
        SystemExit: at once if the first job failed, at the end if another one did; it
            has told why.
    """
    has_groups, failed = True, []
    for number, job in enumerate(jobs, start=1):
        # Beside true groups, where they are known.
        if job.part == "groups" and not has_groups:
            continue
        told = f"[{number} of {len(jobs)}] {job.name}, seed {job.seed}"
        print(told, file=sys.stderr, flush=True)
        out = Path(request["work"]) / f"result-{number}.npz"
        asked = {**request, "part": job.part, "seed": job.seed, "out": str(out)}
        command = [sys.executable, __file__, json.dumps(asked)]
        if subprocess.run(command, check=False).returncode:
            # What is wrong with the data is so for all.
            if number == 1:
                raise SystemExit(f"stage {job.name} failed; nothing was recorded.")
            failed.append(job.name)
            continue
        cost = json.loads(out.with_suffix(".json").read_text())
        has_groups = cost["has_groups"]
        yield job, Result.load(out), cost
    if failed:
        raise SystemExit(f"failed, and not recorded: {', '.join(failed)}.")


def run_stage(request: dict[str, Any]) -> None:
    """Runs one job in this process and writes its result, peak memory and time."""
    start = time.perf_counter()
    stage = _stage(request)
    result: Result = getattr(stage, request["part"])()
    result.save(Path(request["out"]))
    cost = {
        "seconds": time.perf_counter() - start,
        "peak_mb": _peak_mb(),
        "notes": list(stage.data.notes),
        "has_groups": stage.data.has_groups,
    }
    Path(request["out"]).with_suffix(".json").write_text(json.dumps(cost))


def _stage(request: dict[str, Any]) -> Any:
    data = read_set(
        Path(request["folder"]), split=request["split"], size=request["size"]
    )
    common = {
        "data": data,
        "split": request["split"],
        "seed": request["seed"],
        "work": Path(request["work"]),
        "progress": _Told(),
    }
    if isinstance(data, PairSet):
        from record_pairs import PairOptions, PairStage

        data.part(request["split"])
        return PairStage(options=PairOptions(**request["pair_options"]), **common)
    from record_searches import SearchOptions, SearchStage

    return SearchStage(options=SearchOptions(**request["search_options"]), **common)


class _Told:
    """Prints how far a stage is, now and then."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        if time.monotonic() - self._last >= _EVERY_S:
            self._last = time.monotonic()
            print(f"  {what}: {done:,} of {total:,}", file=sys.stderr, flush=True)


def _peak_mb() -> float:
    """Returns the most memory that this process ever held."""
    # Not getrusage: that counts what the parent held before this program began.
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def main() -> None:
    """Runs the job that the command line asks for."""
    try:
        run_stage(json.loads(sys.argv[1]))
    except SimprodError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
