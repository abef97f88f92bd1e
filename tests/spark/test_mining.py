"""Mining on Spark beside DuckDB: the same pairs, row by row, and the same refusals."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.events import EventLog, EventSettings, read_events
from simprod_tf.data.mining import MiningSettings, mine_pairs, mine_to_file
from simprod_tf.data.mining_quality import quality_of_mined
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.engine.base import Engine
from simprod_tf.engine.embedded import Embedded
from simprod_tf.engine.spark import Spark
from simprod_tf.errors import InputError, SimprodError
from simprod_tf.shards import read_success, shard_files

pytestmark = pytest.mark.slow

# Ids whose order in UTF-16 is not that in UTF-8, two spellings of one letter, and what
# CSV, SQL and numbers could trip over.
ODD = [
    "\ufffdx",
    "\U0001f600",
    "é",
    "e\u0301",
    "007",
    "7",
    "A",
    "a",
    "o'n",
    'q"q',
    "x,y",
]
ODD += ["日本", "b c", "NULL", "nan", "%s", "\\n", "a;b", "-", "1e5"]

Row = tuple[str, str, str, int]


def ties() -> Iterator[Row]:
    """All at one instant, so that the order of the rows decides."""
    for number in range(6):
        for id_ in random.Random(number).sample("abcdefgh", 6):
            yield f"tie{number}", f"tie-{id_}", "view", 1000
        yield f"tie{number}", "tie-z", "buy", 1000
        yield f"tie{number}", "tie-a", "view", 1000


def skewed_clocks() -> Iterator[Row]:
    """Written out of order, an hour's break in the middle."""
    rows = [("skew", f"k{n % 9}", "view", 60 * n + 3600 * (n > 30)) for n in range(60)]
    rows += [("skew", f"k{n}", "buy", 700 * n + 30) for n in range(1, 9)]
    random.Random(1).shuffle(rows)
    yield from rows


def giant_session(size: int = 5000) -> Iterator[Row]:
    draw = random.Random(2)
    for second in range(size):
        event = "buy" if second % 50 == 49 else "view"
        yield "giant", f"g{draw.randrange(400)}", event, 5000 + second


def without_purchase() -> Iterator[Row]:
    for number in range(50):
        yield f"looker{number % 5}", f"l{number % 7}", "view", number


def logged_twice() -> Iterator[Row]:
    """Each event two or three times at its instant; products before and after it."""
    for id_ in "uvw":
        yield from [("twice", f"d-{id_}", "view", 90)] * 3
    yield from [("twice", "d-p", "buy", 95), ("twice", "d-p", "buy", 95)]
    yield from [("twice", "d-q", "buy", 95), ("twice", "d-p", "buy", 95)]


def carts() -> Iterator[Row]:
    for number in range(9):
        session = f"carter{number}"
        yield session, f"c{number % 4}", "view", 10
        yield session, f"c{number % 3 + 4}", "view", 20
        yield session, f"c{number % 5}", "cart", 30
        yield session, f"c{number % 5}", ("buy", "refund", "scroll")[number % 3], 40


def odd_ids() -> Iterator[Row]:
    draw = random.Random(3)
    for number in range(80):
        session = f"{draw.choice(ODD)} {number // 8}"
        for second in range(9):
            event = "buy" if second in (5, 8) else "view"
            yield session, draw.choice(ODD), event, 100 * number + second


def at_random(size: int = 3000) -> Iterator[Row]:
    draw = random.Random(4)
    events = ("view",) * 6 + ("buy", "cart", "refund")
    for _ in range(size):
        product = f"r{int(draw.paretovariate(0.7)) % 60}"
        # Minutes, and many at once.
        time_s = 60 * draw.randrange(90)
        yield f"random{draw.randrange(120)}", product, draw.choice(events), time_s


def nasty_rows() -> list[Row]:
    """All of it, sessions and products apart, in one log."""
    parts = (ties, skewed_clocks, giant_session, without_purchase, logged_twice)
    rows = [row for part in (*parts, carts, odd_ids, at_random) for row in part()]
    return rows


def table_of(
    rows: Sequence[Row], *, event_ids: Sequence[int] | None = None
) -> pa.Table:
    names = ("session", "id", "event", "time")
    table = pa.table(dict(zip(names, map(list, zip(*rows)))))
    if event_ids is None:
        return table
    return table.append_column("event_id", pa.array(event_ids, pa.int64()))


@dataclass(frozen=True)
class Engines:
    """Both engines, and a log that each of them has read."""

    spark: EventLog
    embedded: EventLog

    @classmethod
    def read(
        cls, path: Path, spark: Engine, embedded: Engine, settings: EventSettings
    ) -> Engines:
        folders = (path.parent / "of-spark", path.parent / "of-embedded")
        logs = [
            read_events(path, engine=engine, settings=settings, folder=folder)
            for engine, folder in zip((spark, embedded), folders)
        ]
        assert logs[0].counts == logs[1].counts
        return cls(*logs)

    def agree(
        self, settings: MiningSettings, categories: pa.Table | None = None
    ) -> dict[str, int]:
        """Checks that the two mine the same pairs and counts; returns the counts."""
        found, expected = (
            mine_pairs(log, settings, categories=categories)
            for log in (self.spark, self.embedded)
        )
        assert found.counts == expected.counts
        assert found.pairs.schema == expected.pairs.schema
        assert found.pairs.to_pylist() == expected.pairs.to_pylist()
        return dict(expected.counts)


NAMES = EventSettings(event_names={"scroll": "ignored"})


@pytest.fixture(scope="module")
def folder_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The nasty log without event_ids, in files of both kinds."""
    folder = tmp_path_factory.mktemp("folder") / "log"
    folder.mkdir()
    table = table_of(nasty_rows())
    third = table.num_rows // 3
    pacsv.write_csv(table.slice(0, third), folder / "part-0.csv")
    pq.write_table(table.slice(third, third), folder / "part-1.parquet")
    pacsv.write_csv(table.slice(2 * third), folder / "part-2.csv")
    (folder / "part-3.csv").touch()
    (folder / "_SUCCESS").touch()
    return folder


def test_a_folder_of_nasty_sessions_gives_the_same_shards_and_quality(
    tmp_path: Path, folder_log: Path, spark: Spark, embedded: Embedded
) -> None:
    logs = Engines.read(folder_log, spark, embedded, NAMES)
    settings = MiningSettings(negative_slots=2)
    counts = mine_to_file(logs.embedded, tmp_path / "mined.parquet", settings)
    assert mine_to_file(logs.spark, tmp_path / "mined", settings) == counts
    expected = pq.read_table(tmp_path / "mined.parquet")
    assert read_success(tmp_path / "mined", kind="pairs")["rows"] == expected.num_rows
    shards = [pq.read_table(file) for file in shard_files(tmp_path / "mined")]
    assert pa.concat_tables(shards).to_pylist() == expected.to_pylist()
    # What the log is made for came up.
    for name in ("repeated_event", "no_view_before", "last_view_is_purchased"):
        assert counts[name] > 0, name
    for name in ("repeated_vote", "conflict_tie", "returns", "ignored_events"):
        assert counts[name] > 0, name
    assert expected.num_rows > 300

    known = random.Random(7).sample(expected.to_pylist(), 100)
    ids = [[row[name] for row in known] for name in ("anchor_id", "other_id")]
    hand = canonical_pairs(*ids, [number % 2 for number in range(len(known))])
    found, judged = (
        quality_of_mined(log, hand, negative_slots=2)
        for log in (logs.spark, logs.embedded)
    )
    assert found == judged
    assert found.positives.known + found.negatives.known == len(known)


def test_limits_carts_and_categories_give_the_same_pairs(
    folder_log: Path, spark: Spark, embedded: Embedded
) -> None:
    logs = Engines.read(folder_log, spark, embedded, NAMES)
    ids = [*ODD, *(f"r{n}" for n in range(50)), *(f"g{n}" for n in range(300))]
    categories = pa.table(
        {"id": ids, "category": [f"kind {n % 2}" for n in range(len(ids))]}
    )
    settings = MiningSettings(
        session_gap_min=5,
        negative_slots=3,
        min_support=1,
        max_lookback_min=4,
        cart_weight=0.3,
        max_events_per_customer=4000,
        max_votes_per_customer=3,
        max_pairs_per_product=2,
        same_category="all",
        conflicts="drop",
    )
    counts = logs.agree(settings, categories)
    for name in ("buyers_over_event_limit", "slot_too_long_ago", "below_min_support"):
        assert counts[name] > 0, name
    for name in ("negative_across_categories", "over_customer_limit", "conflict"):
        assert counts[name] > 0, name
    assert counts["over_product_limit"] > 0
    assert counts["pairs"] > 10


def test_event_ids_and_a_period_give_the_same_pairs(
    tmp_path: Path, spark: Spark, embedded: Embedded
) -> None:
    rows = nasty_rows()
    event_ids = list(range(10, 10 + len(rows)))
    order = list(range(len(rows))) + random.Random(5).sample(range(len(rows)), 300)
    random.Random(6).shuffle(order)
    table = table_of(
        [rows[at] for at in order], event_ids=[event_ids[at] for at in order]
    )
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=1000)
    settings = EventSettings(
        event_names=NAMES.event_names,
        since="1970-01-01T00:00:15Z",
        until="1970-01-01T03:00:00Z",
    )
    logs = Engines.read(tmp_path / "log.parquet", spark, embedded, settings)
    assert logs.embedded.counts["repeated_event_ids"] == 300
    assert logs.embedded.counts["outside_period"] > 0
    counts = logs.agree(
        MiningSettings(negative_slots=4, look_back_past_purchased=False, cart_weight=1)
    )
    assert counts["pairs"] > 500


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            ["s,,view,1,2"],
            "b.csv, row 1: column 'id' is empty; every event needs its id.",
        ),
        (["s,a,view,1,2", ",a,view,1,3"], "b.csv, row 2: column 'session' is empty"),
        (["s,a,view,soon,2"], "b.csv, row 1: column 'time' must be a time"),
        (
            ["s,a,view,1,2", "s,b,view,1,1"],
            "b.csv, row 2: event_id 1 names another event",
        ),
    ],
)
def test_what_one_engine_refuses_the_other_refuses_in_the_same_words(
    tmp_path: Path, spark: Spark, embedded: Embedded, second: list[str], message: str
) -> None:
    (tmp_path / "log").mkdir()
    header = "session,id,event,time,event_id"
    for name, rows in (("a.csv", ["s,a,view,1,1"]), ("b.csv", second)):
        (tmp_path / "log" / name).write_text("\n".join([header, *rows]))
    with pytest.raises(InputError) as expected:
        read_events(tmp_path / "log", engine=embedded, folder=tmp_path / "embedded")
    with pytest.raises(SimprodError) as found:
        read_events(tmp_path / "log", engine=spark, folder=tmp_path / "spark")
    assert str(found.value) == str(expected.value)
    assert message in str(found.value)


@pytest.fixture(scope="module")
def bot_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A million events of one session, and 50,000 of 5,000 others, shuffled."""
    draw = np.random.default_rng(8)
    bot, others = 1_000_000, 50_000
    session = np.concatenate([np.zeros(bot, int), draw.integers(1, 5001, others)])
    size = len(session)
    # The bot goes on for days; the others have their minutes.
    time_s = draw.integers(0, np.where(session == 0, 2_000_000, 1500))
    columns = {
        "session": pa.array(session).cast(pa.string()),
        "id": pa.array(draw.zipf(1.2, size) % 5000).cast(pa.string()),
        "event": np.where(draw.random(size) < 0.02, "buy", "view"),
        "time": time_s,
    }
    path = tmp_path_factory.mktemp("bot") / "log.parquet"
    pq.write_table(pa.table(columns).take(draw.permutation(size)), path)
    return path


@pytest.mark.parametrize("limit", [None, 1000])
def test_a_bot_of_a_million_events_does_not_sink_spark(
    bot_log: Path, spark: Spark, embedded: Embedded, limit: int | None
) -> None:
    # The driver, which computes here, has 1 GB.
    logs = Engines.read(bot_log, spark, embedded, EventSettings())
    counts = logs.agree(MiningSettings(max_events_per_customer=limit))
    assert counts["buyers_over_event_limit"] == (limit is not None)
    assert counts["pairs"] > 100
