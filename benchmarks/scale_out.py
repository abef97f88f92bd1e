"""The jobs on both engines at 1x, 4x and 16x: time, memory, start-up.

    python benchmarks/scale_out.py --model saved_models/shop --work scale
        [--engines embedded spark] [--jobs mine encode match] [--sizes 1 4 16]
        [--master local[2]] [--out scale_out.csv]

Every job runs as `simprod` in a process of its own, the engines in turn, on the same
files (all synthetic): a log of events (see mining.py), a catalogue with pictures of
`simprod shop`, and unit vectors in clusters of about five. What a run costs is that of
all its processes, Java's and Python's. The two engines' outputs are compared: pairs
and groups row by row, embeddings within 1e-5. `start` is a job of nothing.
A line through the three sizes gives the seconds of start and of a million rows, and
where the lines of the two engines cross.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mining import write_log
from process_tree import Cost, measured

from simprod_tf.data.embedding_shards import write_embeddings
from simprod_tf.shards import part_name, shard_files, write_success

EVENTS, PRODUCTS, VECTORS = 500_000, 500, 10_000
DIM, CLUSTER, NOISE = 64, 5, 0.35
MAX_DISTANCE = 0.6
FIELDS = ("job", "size", "rows", "engine", "seconds", "cpu_s", "peak_mib")


@dataclass(frozen=True)
class Job:
    """A job: its input at a size, its command, and whether two outputs are the same."""

    rows: int
    make: Callable[[Path, int], None]
    command: Callable[[Path, Path], list[str]]
    same: Callable[[Path, Path], bool]


def make_log(folder: Path, rows: int) -> None:
    """Writes a log in eight files, as shops keep theirs: by time."""
    folder.mkdir(parents=True)
    whole = folder / "_whole.parquet"
    write_log(whole, num_events=rows)
    table = pq.read_table(whole)
    step = -(-rows // 8)
    for number, start in enumerate(range(0, rows, step)):
        pq.write_table(table.slice(start, step), folder / part_name(number))
    whole.unlink()


def make_catalog(folder: Path, rows: int) -> None:
    """Writes a shop's catalogue in eight files, its pictures beside them."""
    run_simprod("shop", str(folder / "_shop"), "--products", str(rows))
    from simprod_tf.data.tables import read_table

    table = read_table(folder / "_shop" / "catalog.csv").table
    images = pc.binary_join_element_wise("_shop", table["image"], "/")
    table = table.set_column(table.column_names.index("image"), "image", images)
    step = -(-table.num_rows // 8)
    for number, start in enumerate(range(0, table.num_rows, step)):
        pq.write_table(table.slice(start, step), folder / part_name(number))


def make_vectors(folder: Path, rows: int) -> None:
    """Writes a folder of embeddings, as `simprod encode` does."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(rows)
    centres = draw.standard_normal((-(-rows // CLUSTER), DIM))
    for number, start in enumerate(range(0, rows, VECTORS)):
        at = np.arange(start, min(rows, start + VECTORS))
        made = centres[at // CLUSTER] + NOISE * draw.standard_normal((len(at), DIM))
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        ids = [f"p{row:09d}" for row in at]
        write_embeddings(
            folder / part_name(number),
            ids=ids,
            embeddings=made.astype(np.float32),
            content=ids,
        )
    facts = {"encoder_fingerprint": "0" * 16, "dim": DIM, "dtype": "float32"}
    write_success(
        folder, {"kind": "embeddings", "rows": rows, "decision": None, **facts}
    )


def same_rows(one: Path, other: Path) -> bool:
    """Returns whether two sharded tables hold the same rows in the same order."""
    tables = [
        pa.concat_tables(map(pq.read_table, shard_files(path))) for path in (one, other)
    ]
    # Column by column: whether one may hold gaps is told differently.
    return tables[0].to_pydict() == tables[1].to_pydict()


def same_vectors(one: Path, other: Path) -> bool:
    """Returns whether ids are the same, and vectors within 1e-5."""
    from simprod_tf.data.embedding_shards import EmbeddingShards

    first, second = EmbeddingShards.open(one), EmbeddingShards.open(other)
    for left, right in zip(first.files, second.files):
        ids, vectors = first.read(left)
        others, found = second.read(right)
        if ids != others or np.abs(vectors - found).max(initial=0) > 1e-5:
            return False
    return len(first.files) == len(second.files)


def run_simprod(*arguments: str) -> Cost:
    """Runs our command in a process of its own."""
    return measured([sys.executable, "-m", "simprod_tf", *arguments])


def jobs(model: str) -> dict[str, Job]:
    """Returns the jobs by their names."""
    distance = str(MAX_DISTANCE)
    return {
        "mine": Job(
            EVENTS,
            make_log,
            lambda data, out: (
                ["mine", str(data), "--out", str(out), "--event-name", "buy=purchase"]
            ),
            same_rows,
        ),
        "encode": Job(
            PRODUCTS,
            make_catalog,
            lambda data, out: (
                ["encode", str(data), "--model", model, "--out", str(out)]
                + ["--rows-per-unit", "256"]
            ),
            same_vectors,
        ),
        "match": Job(
            VECTORS,
            make_vectors,
            lambda data, out: (
                ["match", str(data.with_name(f"{data.name}-index")), "--out", str(out)]
                + ["--groups", f"{out}-groups", "--max-distance", distance]
            ),
            lambda one, other: (
                same_rows(one, other)
                and same_rows(Path(f"{one}-groups"), Path(f"{other}-groups"))
            ),
        ),
    }


def index_of(data: Path, size: int, engine: list[str]) -> Cost:
    """Builds the index that `match` reads, in shards of 10,000 vectors."""
    out = data.with_name(f"{data.name}-index")
    shutil.rmtree(out, ignore_errors=True)
    return run_simprod(
        "index", str(data), "--out", str(out), "--shards", str(size), *engine
    )


def engine_options(engine: str, master: str) -> list[str]:
    """Returns the options that choose an engine."""
    if engine == "embedded":
        return []
    settings = ["spark.driver.memory=2g", "spark.sql.shuffle.partitions=4"]
    settings += ["spark.ui.enabled=false"]
    conf = [f"--spark-conf={one}" for one in settings]
    return ["--engine", "spark", "--master", master, *conf]


def start_cost(engine: str, master: str) -> Cost:
    """Returns what it costs to start an engine and ask it for one row."""
    made = "Embedded()" if engine == "embedded" else f"Spark('.', master={master!r})"
    code = (
        f"from simprod_tf.engine import *\nwith {made} as e: e.query('SELECT 1 AS n')"
    )
    return measured([sys.executable, "-c", code])


def line_through(rows: list[int], seconds: list[float]) -> tuple[float, float]:
    """Returns the seconds at no rows, and those of a million more."""
    slope, start = np.polyfit(np.array(rows) / 1e6, seconds, 1)
    return float(start), float(slope)


def crossing(lines: dict[str, tuple[float, float]], faster: float) -> str:
    """Returns from how many million rows on Spark is quicker, `faster` times scaled.

    Args:
        lines: of both engines seconds of start and of a million rows.
        faster: how many times the cores of this machine the cluster has.
    """
    start, slope = lines["spark"]
    own_start, own_slope = lines["embedded"]
    gain = own_slope - slope / faster
    if gain <= 0:
        return "never"
    return f"{max(0.0, start - own_start) / gain:.2f}"


def report(rows: list[dict[str, object]]) -> None:
    """Prints start, slope and crossing of each job that ran on both engines."""
    for job in dict.fromkeys(str(row["job"]) for row in rows):
        lines = {}
        for engine in ("embedded", "spark"):
            own = [r for r in rows if r["job"] == job and r["engine"] == engine]
            if len(own) > 1:
                lines[engine] = line_through(
                    [int(str(r["rows"])) for r in own],
                    [float(str(r["seconds"])) for r in own],
                )
        for engine, (start, slope) in lines.items():
            print(f"{job}, {engine}: {start:.1f} s + {slope:.1f} s a million rows")
        if len(lines) == 2:
            found = {f"{n}x": crossing(lines, n) for n in (1, 2, 4, 8, 50)}
            print(f"{job}: Spark pays from so many million rows, by cores: {found}")


class Table:
    """What was measured; the file is written anew with every row."""

    def __init__(self, path: Path) -> None:
        """Takes the file."""
        self._path = path
        self.rows: list[dict[str, object]] = []

    def add(self, job: str, size: int, count: int, engine: str, cost: Cost) -> None:
        """Keeps and prints what one run cost."""
        numbers = (round(cost.seconds, 1), round(cost.cpu_s, 1), round(cost.peak_mib))
        self.rows.append(dict(zip(FIELDS, (job, size, count, engine, *numbers))))
        print(self.rows[-1], flush=True)
        with self._path.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(self.rows)


def run_job(
    name: str, job: Job, size: int, *, asked: argparse.Namespace, table: Table
) -> None:
    """Runs a job at one size on the engines, and compares their outputs."""
    data, count = asked.work / f"{name}-{size}", job.rows * size
    if not data.exists():
        job.make(data, count)
    outs = []
    for engine in asked.engines:
        options = engine_options(engine, asked.master)
        if name == "match":
            table.add("index", size, count, engine, index_of(data, size, options))
        outs.append(asked.work / f"{name}-{size}-{engine}")
        shutil.rmtree(outs[-1], ignore_errors=True)
        cost = run_simprod(*job.command(data, outs[-1]), *options)
        table.add(name, size, count, engine, cost)
    if len(outs) == 2 and not job.same(*outs):
        raise SystemExit(f"{name} at {size}x: the engines' outputs differ.")


def main() -> None:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="an exported encoder")
    parser.add_argument("--work", type=Path, required=True, help="a folder for files")
    parser.add_argument("--engines", nargs="+", default=["embedded", "spark"])
    parser.add_argument("--jobs", nargs="+", default=["mine", "encode", "match"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--out", type=Path, default=Path("scale_out.csv"))
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    table = Table(asked.out)
    for engine in asked.engines:
        table.add("start", 0, 0, engine, start_cost(engine, asked.master))
    for name in asked.jobs:
        for size in asked.sizes:
            run_job(name, jobs(asked.model)[name], size, asked=asked, table=table)
    report(table.rows)


if __name__ == "__main__":
    main()
