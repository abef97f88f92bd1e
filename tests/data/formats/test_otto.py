"""OTTO's layout, and pairs of the published sample worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from simprod_tf.data.events import EventLog, read_events
from simprod_tf.data.formats.otto import is_otto
from simprod_tf.data.mining import MiningSettings, mine_pairs
from simprod_tf.engine.embedded import Embedded
from simprod_tf.errors import InputError


@pytest.fixture(scope="module")
def engine() -> Iterator[Embedded]:
    with Embedded(threads=2) as engine:
        yield engine


@pytest.fixture(scope="module")
def sample(engine: Embedded, real_data: Path) -> EventLog:
    path = real_data / "event_logs" / "otto_20_sessions.jsonl"
    return read_events(path, engine=engine)


def test_a_line_with_a_list_of_events_is_otto() -> None:
    assert is_otto({"session": 1, "events": []})
    assert not is_otto({"session": 1, "event": "view"})
    assert not is_otto({"session": 1, "events": "view"})


def test_events_of_a_session_become_rows_in_order(
    engine: Embedded, tmp_path: Path
) -> None:
    path = tmp_path / "otto.jsonl"
    path.write_text(
        '{"session":3,"events":[{"aid":5,"ts":1659304800025,"type":"clicks"},'
        '{"aid":6,"ts":1659304800026,"type":"carts"},'
        '{"aid":7,"ts":1659304800027,"type":"orders"}]}\n'
        '{"session":4,"events":[{"aid":5,"ts":1659304800025,"type":"clicks"}]}\n'
    )
    log = read_events(path, engine=engine)
    events = engine.query(
        "SELECT session, id, kind, time_us FROM events ORDER BY event_id"
    )
    assert events.to_pydict() == {
        "session": ["3", "3", "3", "4"],
        "id": ["5", "6", "7", "5"],
        "kind": ["view", "cart", "purchase", "view"],
        "time_us": [
            *(1659304800025000, 1659304800026000, 1659304800027000),
            1659304800025000,
        ],
    }
    assert log.counts["carts"] == 1


def test_a_long_log_keeps_its_order(engine: Embedded, tmp_path: Path) -> None:
    event = '{"aid":%d,"ts":1659304800025,"type":"clicks"}'
    line = f'{{"session":%d,"events":[{event},{event}]}}'
    path = tmp_path / "otto.jsonl"
    lines = (line % (n, 2 * n, 2 * n + 1) for n in range(50_000))
    path.write_text("\n".join(lines))
    read_events(path, engine=engine)
    found = engine.query("SELECT id FROM events ORDER BY event_id")["id"].to_pylist()
    assert found == [str(n) for n in range(100_000)]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ('{"aid":5,"ts":1,"type":"views?"}', "event 2 of the file: unknown event"),
        ('{"ts":1,"type":"clicks"}', "event 2 of the file: column 'aid' is empty"),
        ('{"aid":5,"ts":"x","type":"clicks"}', "event 2 of the file: column 'ts' must"),
    ],
)
def test_a_bad_event_is_named(
    engine: Embedded, tmp_path: Path, event: str, message: str
) -> None:
    path = tmp_path / "otto.jsonl"
    good = '{"aid":5,"ts":1659304800025,"type":"clicks"}'
    path.write_text(f'{{"session":3,"events":[{good},{event}]}}\n')
    with pytest.raises(InputError, match=message):
        read_events(path, engine=engine)


@pytest.mark.real_data
def test_the_sample_has_its_published_events(sample: EventLog) -> None:
    # grep -o '"type":"clicks"' and so on.
    assert sample.counts == {
        "rows": 862,
        "views": 800,
        "purchases": 10,
        "carts": 52,
        "returns": 0,
        "ignored_events": 0,
        "outside_period": 0,
        "repeated_event_ids": 0,
    }


@pytest.mark.real_data
def test_the_sample_gives_the_pairs_worked_out_by_hand(sample: EventLog) -> None:
    # Session 0 ordered 305831 and 461689 more than 30 minutes after its last click: no
    # view before them. Days later it ordered 1199474 and 543308 after the clicks
    # ..., 1386923, 1055124, 859697, 1055124, 1386923: the last and the fifth from the
    # last are the same product, so each order votes for and against its pair with it.
    # Session 3 ordered 357461, 1343406 and 1425967 at one instant, after the clicks
    # ..., 746072, 1015324, 1215662, 1089061, 1089061, and later 1018433 and 54857 after
    # ..., 1536010, 904809, 659496, 1799121, 693368.
    # Session 4 clicked 613619, then 298827, and ordered 298827: looked back upon,
    # 613619 is the last click on another product; there is no fifth.
    mined = mine_pairs(sample)
    found = {
        (row["anchor_id"], row["other_id"], row["label"])
        for row in mined.pairs.to_pylist()
    }
    assert found == {
        ("1089061", "357461", 1),
        ("1089061", "1343406", 1),
        ("1089061", "1425967", 1),
        ("357461", "746072", 0),
        ("1343406", "746072", 0),
        ("1425967", "746072", 0),
        ("1018433", "693368", 1),
        ("54857", "693368", 1),
        ("1018433", "1536010", 0),
        ("1536010", "54857", 0),
        ("298827", "613619", 1),
    }
    reasons = ("no_view_before", "too_few_views_before", "conflict_tie")
    assert [mined.counts[name] for name in reasons] == [2, 3, 2]


@pytest.mark.real_data
def test_the_sample_without_looking_back_loses_session_4(sample: EventLog) -> None:
    mined = mine_pairs(sample, MiningSettings(look_back_past_purchased=False))
    assert mined.counts["last_view_is_purchased"] == 1
    assert "298827" not in mined.pairs["anchor_id"].to_pylist()
