"""Mining pairs from an event log: ours beside pandas and Polars, with equal results.

    python benchmarks/mining.py [--events 20000000] [--repeats 3] [--memory-mb 600]
        [--miners ours pandas pandas_filtered polars]

Writes a synthetic log (Parquet: sessions of lognormal length, products by Zipf, about
one session in twenty buys), mines it from file to file in processes of their own, in
turn, checks that all wrote the same pairs with the same votes, and prints medians.
Ours, pandas_filtered and Polars set the events aside first that no purchase follows;
pandas works on all of them. The log is in the page cache.
Needs `pip install pandas polars` for the peers; nothing else of the package does.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

GAP_S, SLOTS = 30 * 60, 5
VOTES = ["positive_votes", "negative_votes"]


def write_log(path: Path, *, num_events: int, seed: int = 0) -> None:
    """Writes `session, id, event, time, event_id`, ordered by time."""
    draw = np.random.default_rng(seed)
    lengths = np.maximum(1, draw.lognormal(1.6, 1.0, num_events)).astype(np.int64)
    ends = np.cumsum(lengths)
    lengths = lengths[: int(np.searchsorted(ends, num_events)) + 1]
    session = np.repeat(np.arange(len(lengths)), lengths)[:num_events]
    first = (np.cumsum(lengths) - lengths)[session]
    product = (draw.zipf(1.3, num_events) * 7919 + session % 97 * 11) % 200_000
    buyer = (draw.random(len(lengths)) < 0.12)[session]
    buys = buyer & (np.arange(num_events) > first) & (draw.random(num_events) < 0.15)
    gap_s = draw.exponential(60, num_events).astype(np.int64)
    gap_s[draw.random(num_events) < 0.01] += 3600
    passed_s = np.cumsum(gap_s)
    start_s = draw.integers(1_700_000_000, 1_702_592_000, len(lengths))
    time_s = start_s[session] + passed_s - passed_s[first]
    in_time = np.argsort(time_s, kind="stable")
    names = pa.array(["view", "buy"])
    table = {
        "session": _named("s", session[in_time]),
        "id": _named("p", product[in_time]),
        "event": pa.DictionaryArray.from_arrays(
            buys[in_time].astype(np.int8), names
        ).cast(pa.string()),
        "time": time_s[in_time],
        "event_id": np.arange(num_events),
    }
    pq.write_table(pa.table(table), path)


def _named(prefix: str, numbers: np.ndarray) -> pa.Array:
    texts = pa.array(numbers).cast(pa.string())
    return pa.compute.binary_join_element_wise(prefix, texts, "")


def mine_ours(log: Path, out: Path, memory_mb: int) -> None:
    """Mines with simprod_tf."""
    from simprod_tf.data.events import read_events
    from simprod_tf.data.mining import MiningSettings, mine_to_file
    from simprod_tf.engine.embedded import Embedded

    with Embedded(memory_limit_mb=memory_mb) as engine:
        settings = MiningSettings(negative_slots=SLOTS, session_gap_min=GAP_S // 60)
        mine_to_file(read_events(log, engine=engine), out, settings)


def mine_pandas(log: Path, out: Path, memory_mb: int) -> None:
    """Mines with pandas, which knows no limit of memory."""
    import pandas as pd

    vote_with_pandas(pd.read_parquet(log), out)


def mine_pandas_filtered(log: Path, out: Path, memory_mb: int) -> None:
    """Mines with pandas only the events that a purchase follows."""
    import pandas as pd

    events = pd.read_parquet(log)
    buys = events[events["event"] == "buy"]
    last = events["session"].map(buys.groupby("session")["time"].max())
    vote_with_pandas(events[events["time"] <= last], out)


def vote_with_pandas(events: Any, out: Path) -> None:
    """Writes what the events of a DataFrame vote for."""
    import pandas as pd

    events = events.sort_values(["session", "time", "event_id"])
    same = events[["session", "time", "id", "event"]]
    events = events[~(same == same.shift()).all(axis=1)]
    is_start = (events["session"] != events["session"].shift()) | (
        events["time"].diff() > GAP_S
    )
    events = events.assign(visit=is_start.cumsum())
    views = events[events["event"] == "view"]
    by_visit = views.groupby("visit")["id"]
    before = by_visit.shift(1)
    carried = pd.DataFrame(
        {
            "last": views["id"],
            "slot": by_visit.shift(SLOTS - 1),
            "before": before.where(before != views["id"]),
        }
    )
    carried = carried.reindex(events.index).groupby(events["visit"]).ffill()
    bought = events["event"] == "buy"
    carried, events = carried[bought], events[bought]
    last_id = carried["last"].where(carried["last"] != events["id"], carried["before"])
    votes = pd.concat(
        pd.DataFrame(
            {"visit": events["visit"], "id": events["id"], "seen": seen, "for": n}
        )
        for n, seen in ((1, last_id), (0, carried["slot"]))
    ).dropna()
    votes = votes[votes["seen"] != votes["id"]]
    ordered = votes["id"] < votes["seen"]
    votes["anchor_id"] = votes["id"].where(ordered, votes["seen"])
    votes["other_id"] = votes["seen"].where(ordered, votes["id"])
    votes = votes.drop_duplicates(["visit", "anchor_id", "other_id", "for"])
    counted = votes.groupby(["anchor_id", "other_id"])["for"].agg(["sum", "size"])
    counted["negative_votes"] = counted["size"] - counted["sum"]
    counted = counted.rename(columns={"sum": "positive_votes"}).reset_index()
    counted = counted[counted["positive_votes"] != counted["negative_votes"]]
    counted[["anchor_id", "other_id", *VOTES]].to_parquet(out)


def mine_polars(log: Path, out: Path, memory_mb: int) -> None:
    """Mines with Polars, which knows no limit of memory."""
    import polars as pl

    time_s, id_, is_view = pl.col("time"), pl.col("id"), pl.col("event") == "view"
    rows = pl.scan_parquet(log)
    last = rows.filter(~is_view).group_by("session").agg(time_s.max().alias("last_s"))
    events = (
        rows.join(last, on="session")
        .filter(time_s <= pl.col("last_s"))
        .sort("session", "time", "event_id")
        .collect(engine="streaming")
    )
    same = [pl.col(n) == pl.col(n).shift() for n in ("session", "time", "id", "event")]
    events = events.filter(~pl.all_horizontal(same).fill_null(False))
    new = (pl.col("session") != pl.col("session").shift()) | (time_s.diff() > GAP_S)
    events = events.with_columns(new.fill_null(True).cum_sum().alias("visit"))
    before = id_.shift(1).over("visit")
    views = events.filter(is_view).select(
        "event_id",
        id_.alias("last"),
        id_.shift(SLOTS - 1).over("visit").alias("slot"),
        pl.when(before != id_).then(before).alias("before"),
    )
    carried = pl.col("last", "slot", "before").forward_fill().over("visit")
    bought = (
        events.join(views, on="event_id", how="left", maintain_order="left")
        .with_columns(carried)
        .filter(~is_view)
    )
    seen = pl.when(pl.col("last") != id_).then("last").otherwise("before")
    votes = pl.concat(
        bought.select("visit", "id", side.alias("seen"), pl.lit(n).alias("for"))
        for n, side in ((1, seen), (0, pl.col("slot")))
    ).filter(pl.col("seen") != id_)
    pair = [pl.min_horizontal("id", "seen"), pl.max_horizontal("id", "seen")]
    votes = votes.select(
        "visit", "for", pair[0].alias("anchor_id"), pair[1].alias("other_id")
    ).unique()
    counted = votes.group_by("anchor_id", "other_id").agg(
        pl.col("for").sum().alias(VOTES[0]), (1 - pl.col("for")).sum().alias(VOTES[1])
    )
    counted.filter(pl.col(VOTES[0]) != pl.col(VOTES[1])).write_parquet(out)


MINERS = {
    "ours": mine_ours,
    "pandas": mine_pandas,
    "pandas_filtered": mine_pandas_filtered,
    "polars": mine_polars,
}


def library_of(miner: str) -> str:
    """Returns the library that a peer needs."""
    return miner.split("_")[0]


def measure(miner: str, log: Path, out: Path, memory_mb: int) -> None:
    """Prints what one run came to, imports left out of the times."""
    if miner == "ours":
        import simprod_tf.data.mining  # noqa: F401
    else:
        importlib.import_module(library_of(miner))
    start, cpu = time.perf_counter(), time.process_time()
    MINERS[miner](log, out, memory_mb)
    found = {
        "wall_s": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(found))


def pairs_of(path: Path) -> pa.Table:
    """Returns a miner's pairs and votes in one order and with one set of types."""
    table = pq.read_table(path, columns=["anchor_id", "other_id", *VOTES])
    fields = [("anchor_id", pa.string()), ("other_id", pa.string())]
    schema = pa.schema([*fields, *((name, pa.float64()) for name in VOTES)])
    plain = pa.table([c.cast(f.type) for c, f in zip(table.columns, schema)], schema)
    return plain.sort_by([("anchor_id", "ascending"), ("other_id", "ascending")])


def compare(log: Path, *, miners: list[str], repeats: int, memory_mb: int) -> None:
    """Runs each in turn, checks that they agree, and prints medians and ratios."""
    found: dict[str, list[dict]] = {miner: [] for miner in miners}
    for _ in range(repeats):
        for miner in miners:
            command = [sys.executable, __file__, "--measure", miner]
            command += ["--folder", str(log.parent), "--memory-mb", str(memory_mb)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[miner].append(json.loads(done.stdout.splitlines()[-1]))
            print(miner, found[miner][-1], flush=True)
    results = {m: pairs_of(log.parent / f"{m}.parquet") for m in miners}
    for miner, result in results.items():
        if not result.equals(results[miners[0]]):
            sys.exit(f"{miner} and {miners[0]} found different pairs.")
    print(f"{results[miners[0]].num_rows:,} pairs, the same of all")
    for name in ("wall_s", "cpu_s", "peak_mb"):
        median = {m: statistics.median(run[name] for run in found[m]) for m in miners}
        ratios = (
            f"{m} {n:.2f} ({n / median[miners[0]]:.1f} x)" for m, n in median.items()
        )
        print(f"{name}: {', '.join(ratios)}")


def main() -> None:
    """Reads the command line and runs the comparison, or one run of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--memory-mb", type=int, default=600, help="ours, DuckDB's part"
    )
    parser.add_argument("--miners", nargs="+", choices=MINERS, default=list(MINERS))
    parser.add_argument("--folder", type=Path, help="where the files are written")
    parser.add_argument("--measure", choices=MINERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        out = options.folder / f"{options.measure}.parquet"
        measure(options.measure, options.folder / "log.parquet", out, options.memory_mb)
        return
    for library in {library_of(miner) for miner in options.miners} - {"ours"}:
        if importlib.util.find_spec(library) is None:
            parser.error(f"{library} is missing: pip install it, or --miners ours")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        log = Path(folder) / "log.parquet"
        # In a process of its own: a child counts its parent's peak before the exec.
        code = (
            "import sys, mining; mining.write_log(mining.Path(sys.argv[1]), "
            "num_events=int(sys.argv[2]))"
        )
        subprocess.run(
            [sys.executable, "-c", code, str(log.resolve()), str(options.events)],
            check=True,
            cwd=Path(__file__).parent,
        )
        print(f"{log.stat().st_size / 1e6:,.0f} MB, {options.events:,} events")
        compare(
            log,
            miners=options.miners,
            repeats=options.repeats,
            memory_mb=options.memory_mb,
        )


if __name__ == "__main__":
    main()
