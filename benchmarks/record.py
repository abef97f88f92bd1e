"""A public data set, from its folder to a table of results, stage by stage.

    python benchmarks/record.py DATA_FOLDER --split valid
    python benchmarks/record.py DATA_FOLDER --split test --table record.csv
    python benchmarks/record.py wdc-computers --size medium --stages raw,decider

Folders, as their publishers lay them out: pair files (Ditto's `train.txt`, `valid.txt`
and perhaps `test.txt`; ER-Magellan's `tableA.csv`; WDC's `*.json.gz`; a catalogue with
`pairs_train.csv` and so on) and sets to search in (Grocery Store, Stanford Online
Products, In-Shop, Shopee).

Stages: `raw` (TF-IDF and mean word vectors; features of a frozen picture network),
`encoder` (by simprod's training), `decider` (pairs only) and `groups` (of pair sets the
judged lines, when "in one group" counts as the same; of all sets whose true groups are
known, groups beside these). All are trained on `train` with the product's default
settings, and all thresholds are chosen there. The judged part is looked at once, to be
judged; its records, without labels, belong to the catalogue, as a shop knows all of its
products.

F1 is that of the class "the same product" over every line of the judged file. Bounds:
95 %, by bootstrap over the left records (pairs), the groups (searches); differences to
the stage before are paired. Every stage is a process of its own, and `seconds` and
`peak_mb` are that process's; one that needs what an earlier stage left takes it from
there. No GPU and no network are needed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from record_jobs import STAGES, Job, jobs_of, run_jobs
from record_results import MAIN, Result
from record_sets import layout_of
from record_table import Row, append_rows, check_table, commit, figures

from simprod_tf.errors import SimprodError
from simprod_tf.evaluation.interval import Interval

_SQUEEZENET = Path("weights") / "squeezenet_v1.0_caffe_oihw.npz"


def request_of(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Returns what every process is asked, as plain values."""
    return {
        "folder": str(options.folder.absolute()),
        "split": options.split,
        "size": options.size,
        "work": str(work.absolute()),
        "pair_options": _pair_options(options),
        "search_options": _search_options(options),
    }


def _pair_options(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "words": _absolute(options.words),
        "word_weights": options.word_weights,
        "features": options.encoder_features,
        "epochs": options.epochs,
        "rivals": options.rivals,
    }


def _search_options(options: argparse.Namespace) -> dict[str, Any]:
    weights = options.image_weights
    data = os.environ.get("SIMPROD_DATA")
    if weights is None and data and options.image_tower == "squeezenet":
        known = Path(data) / _SQUEEZENET
        weights = known if known.is_file() else None
    return {
        "image_tower": options.image_tower,
        "image_weights": _absolute(weights),
        "words": _absolute(options.words),
        "loss": options.loss,
        "epochs": options.epochs,
    }


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def rows_of(
    job: Job, cost: dict[str, Any], found: dict[str, Interval], **common: str
) -> list[Row]:
    """Returns a row for each measure of a job."""
    return [
        Row(
            seed=str(job.seed) if job.seeded else "",
            stage=job.name,
            metric=metric,
            seconds=f"{cost['seconds']:.1f}",
            peak_mb=f"{cost['peak_mb']:.0f}",
            **common,
            **figures(interval),
        )
        for metric, interval in found.items()
    ]


def record(options: argparse.Namespace, work: Path) -> None:
    """Runs the stages, prints what they came to, and appends it to the table."""
    jobs = jobs_of(layout_of(options.folder), options.stages, seeds=options.seeds)
    name = options.folder.absolute().name + (f" {options.size}" if options.size else "")
    common = {"commit": commit(), "data_set": name, "split": options.split}
    done: list[tuple[Job, Result]] = []
    for job, result, cost in run_jobs(jobs, request_of(options, work)):
        if not done:
            print(f"{name}, split {options.split}: {'; '.join(cost['notes'])}")
        found = {**result.intervals(), **gains_of(job, result, done)}
        done.append((job, result))
        _show(job, result, cost, found)
        if options.table:
            parts = ", ".join(f"{what} {s:.1f} s" for what, s in result.seconds.items())
            common["date"] = datetime.now(timezone.utc).strftime("%Y-%m-%d")
            common["settings"] = f"{result.settings} [{parts}]"
            append_rows(options.table, rows_of(job, cost, found, **common))
    if options.seeds > 1:
        _show_means(done)


def gains_of(
    job: Job, result: Result, done: Sequence[tuple[Job, Result]]
) -> dict[str, Interval]:
    """Returns by how much a job is better than the one before it, of the same seed."""
    comparable = [
        (one, other)
        for one, other in done
        if other.kind == result.kind and (one.seed == job.seed or not one.seeded)
    ]
    if not comparable:
        return {}
    last, other = comparable[-1]
    gains = result.gains(other)
    return {f"{metric} - {last.name}": one for metric, one in gains.items()}


def _show(
    job: Job, result: Result, cost: dict[str, Any], found: dict[str, Interval]
) -> None:
    print(f"\n{job.name}, seed {job.seed}: {result.settings}")
    print(f"  {cost['seconds']:.1f} s, peak {cost['peak_mb']:.0f} MB")
    for metric, interval in found.items():
        print(f"  {metric:28} {interval}", flush=True)


def _show_means(done: Sequence[tuple[Job, Result]]) -> None:
    """Prints the main measures' means over the seeds."""
    values: dict[tuple[str, str], list[float]] = {}
    for job, result in done:
        statistics, rows = result.statistics(), np.arange(len(result.clusters))
        for metric in (one for one in MAIN[result.kind] if one in statistics):
            key = job.name, metric
            values.setdefault(key, []).append(statistics[metric](rows))
    print("\nover the seeds: mean (least to most)")
    for (stage, metric), found in values.items():
        spread = f"({min(found):.3f} to {max(found):.3f})"
        print(f"  {stage:16} {metric:14} {np.mean(found):.3f} {spread}")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Returns the command line's options, checked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("folder", type=Path, nargs="?", metavar="DATA_FOLDER")
    add("--split", default="valid", help="valid (or val), or test; default: valid")
    add("--size", help="of sets in several sizes: as in train.txt.medium")
    add("--stages", default=",".join(STAGES), help="default: all that apply")
    add("--seeds", type=int, default=1, help="repeat with seeds 0, 1, ...")
    add("--table", type=Path, help="CSV or Markdown file to append rows to")
    add("--work", type=Path, help="folder to keep trainings and embeddings in")
    add("--words", type=Path, help="file of word vectors; default: skip-gram, titles")
    add("--word-weights", choices=("plain", "idf", "sif"))
    add(
        "--encoder-features",
        default="none",
        choices=("none", "words", "encoder"),
        help="whose embeddings the decider sees",
    )
    add("--rivals", default="all", choices=("all", "train"), help="see PairOptions")
    add("--epochs", type=int, help="of the encoder, at most")
    add("--loss", default="arcface", help="of the encoder, on sets to search in")
    add("--image-tower", default="squeezenet")
    add("--image-weights", type=Path, help="default: SqueezeNet's in $SIMPROD_DATA")
    options = parser.parse_args(arguments)
    if options.folder is None or not options.folder.is_dir():
        parser.error(f"DATA_FOLDER must be a folder, got {options.folder}.")
    options.stages = _chosen_stages(parser, options)
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {options.seeds}.")
    try:
        if options.table:
            check_table(options.table)
    except ValueError as error:
        parser.error(str(error))
    return options


def _chosen_stages(
    parser: argparse.ArgumentParser, options: argparse.Namespace
) -> list[str]:
    """Returns the stages that are asked for, or all that the data set can give."""
    chosen = options.stages.split(",")
    unknown = [stage for stage in chosen if stage not in STAGES]
    if unknown:
        parser.error(f"--stages must be of {', '.join(STAGES)}, got {unknown[0]!r}.")
    return chosen


def main() -> None:
    """Reads the command line and runs the record."""
    options = parse()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            work = options.work or Path(scratch)
            work.mkdir(parents=True, exist_ok=True)
            record(options, work)
    except SimprodError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
