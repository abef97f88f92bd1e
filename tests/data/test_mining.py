"""Mining: sessions worked by hand, every drop reason, and a slow miner in Python."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from simprod_tf.data.events import EventLog, read_events
from simprod_tf.data.mining import MinedPairs, MiningSettings, mine_pairs, mining_sql
from simprod_tf.engine.embedded import Embedded

MINUTE_US = 60_000_000


class Event(NamedTuple):
    """One event; `minute` is its time."""

    session: str
    id: str
    kind: str
    minute: int


@pytest.fixture(scope="module")
def engine() -> Iterator[Embedded]:
    with Embedded(threads=2) as engine:
        yield engine


def mine(
    engine: Embedded, events: Sequence[Event], settings: MiningSettings | None = None
) -> MinedPairs:
    """The pairs of events that are listed in the order that breaks ties in time."""
    rows = ", ".join(
        f"(CAST({event_id} AS BIGINT), '{e.session}', '{e.id}', '{e.kind}', "
        f"CAST({e.minute * MINUTE_US} AS BIGINT))"
        for event_id, e in enumerate(events)
    )
    engine.run(
        f"""CREATE OR REPLACE TABLE events AS
        SELECT * FROM (VALUES {rows}) AS t(event_id, session, id, kind, time_us)"""
    )
    return mine_pairs(EventLog(engine, {}), settings)


def shopping(text: str, *, session: str = "s") -> list[Event]:
    """Events a minute apart: lower case is viewed, upper case bought, '.' a break."""
    minute, events = 0, []
    for letter in text:
        minute += 31 if letter == "." else 1
        if letter != ".":
            kind = "purchase" if letter.isupper() else "view"
            events.append(Event(session, letter.lower(), kind, minute))
    return events


def votes_of(mined: MinedPairs) -> dict[str, tuple[int, int]]:
    """{"ab": (votes for, votes against)}; ids have one letter."""
    names = ("anchor_id", "other_id", "positive_votes", "negative_votes")
    columns = (mined.pairs[name].to_pylist() for name in names)
    return {a + b: (positive, negative) for a, b, positive, negative in zip(*columns)}


REASONS = (
    "repeated_event",
    "no_view_before",
    "last_view_is_purchased",
    "too_few_views_before",
    "slot_is_purchased",
    "repeated_vote",
    "below_min_support",
    "conflict_tie",
)


def dropped(mined: MinedPairs) -> dict[str, int]:
    return {name: mined.counts[name] for name in REASONS if mined.counts[name]}


def test_last_view_is_similar_and_the_fifth_slot_is_not(engine: Embedded) -> None:
    # Slots before the purchase of p: e 1, d 2, c 3, b 4, a 5.
    mined = mine(engine, shopping("abcdeP"))
    assert mined.pairs.to_pylist() == [
        {
            "anchor_id": "a",
            "other_id": "p",
            "label": 0,
            "weight": 0.5,
            "positive_votes": 0,
            "negative_votes": 1,
        },
        {
            "anchor_id": "e",
            "other_id": "p",
            "label": 1,
            "weight": 0.5,
            "positive_votes": 1,
            "negative_votes": 0,
        },
    ]
    assert dropped(mined) == {}
    assert {name: mined.counts[name] for name in ("sessions", "pairs")} == {
        "sessions": 1,
        "pairs": 2,
    }


def test_the_table_has_the_documented_types(engine: Embedded) -> None:
    schema = mine(engine, shopping("aB")).pairs.schema
    assert {field.name: str(field.type) for field in schema} == {
        "anchor_id": "string",
        "other_id": "string",
        "label": "int8",
        "weight": "float",
        "positive_votes": "int64",
        "negative_votes": "int64",
    }


@pytest.mark.parametrize(
    ("text", "slots", "votes", "drops"),
    [
        # Nothing bought, nothing learnt.
        ("abcde", 5, {}, {}),
        # A purchase out of the blue.
        ("P", 1, {}, {"no_view_before": 1, "too_few_views_before": 1}),
        # What comes after the purchase does not count.
        ("Pab", 1, {}, {"no_view_before": 1, "too_few_views_before": 1}),
        # The break parts the views from the purchase, and the slots from each other.
        ("ab.P", 2, {}, {"no_view_before": 1, "too_few_views_before": 1}),
        ("ab.cP", 2, {"cp": (1, 0)}, {"too_few_views_before": 1}),
        ("ab.cdP", 2, {"dp": (1, 0), "cp": (0, 1)}, {}),
        # Only views of the purchased product itself.
        ("ppP", 2, {}, {"last_view_is_purchased": 1, "slot_is_purchased": 1}),
        # Looking back past them stops at the break, too.
        ("a.ppP", 3, {}, {"last_view_is_purchased": 1, "too_few_views_before": 1}),
        ("bappP", 4, {"ap": (1, 0), "bp": (0, 1)}, {}),
        # A run goes on across a purchase, and starts anew after a break.
        # x is bought after two views; a is looked back upon, and is slot 3 of p.
        ("apXpP", 3, {"px": (1, 0)}, {"too_few_views_before": 1, "conflict_tie": 1}),
        ("ap.pP", 1, {}, {"last_view_is_purchased": 1, "slot_is_purchased": 1}),
        # Every view takes a slot, also one of the same product.
        ("abbP", 3, {"bp": (1, 0), "ap": (0, 1)}, {}),
        ("pabP", 3, {"bp": (1, 0)}, {"slot_is_purchased": 1}),
        # Slot 1 is the last view: for and against cancel out.
        ("aP", 1, {}, {"conflict_tie": 1}),
        # The second purchase sees the views before the first one.
        ("abPcQ", 2, {"bp": (1, 0), "ap": (0, 1), "cq": (1, 0), "bq": (0, 1)}, {}),
        # Bought twice in one session is one vote.
        ("abPP", 2, {"bp": (1, 0), "ap": (0, 1)}, {"repeated_vote": 2}),
        # The pair is unordered: view b buy a, then view a buy b.
        ("bA.aB", 3, {"ab": (2, 0)}, {"too_few_views_before": 2}),
    ],
)
def test_sessions_worked_by_hand(
    engine: Embedded,
    text: str,
    slots: int,
    votes: dict[str, tuple[int, int]],
    drops: dict[str, int],
) -> None:
    mined = mine(engine, shopping(text), MiningSettings(negative_slots=slots))
    assert votes_of(mined) == votes
    assert dropped(mined) == drops


def test_without_looking_back_a_viewed_purchase_gives_no_positive(
    engine: Embedded,
) -> None:
    settings = MiningSettings(negative_slots=2, look_back_past_purchased=False)
    mined = mine(engine, shopping("apP"), settings)
    assert votes_of(mined) == {"ap": (0, 1)}
    assert dropped(mined) == {"last_view_is_purchased": 1}


def test_products_of_one_order_look_at_the_same_views(engine: Embedded) -> None:
    order = [Event("s", id_, "purchase", 9) for id_ in "pqp"]
    settings = MiningSettings(negative_slots=2)
    mined = mine(engine, shopping("ab") + order, settings)
    expected = {"bp": (1, 0), "ap": (0, 1), "bq": (1, 0), "aq": (0, 1)}
    assert votes_of(mined) == expected
    # Two of p, not next to each other in the log: both sides of its vote come twice.
    assert dropped(mined) == {"repeated_vote": 2}


def test_an_event_logged_twice_counts_once(engine: Embedded) -> None:
    a, b, buys = shopping("abP")
    mined = mine(engine, [a, b, b, b, buys, buys], MiningSettings(negative_slots=2))
    assert votes_of(mined) == {"bp": (1, 0), "ap": (0, 1)}
    assert dropped(mined) == {"repeated_event": 3}


def test_at_one_instant_the_event_id_decides(engine: Embedded) -> None:
    a, b = Event("s", "a", "view", 1), Event("s", "b", "view", 1)
    buys = Event("s", "p", "purchase", 1)
    settings = MiningSettings(negative_slots=9)
    assert votes_of(mine(engine, [a, b, buys], settings)) == {"bp": (1, 0)}
    assert votes_of(mine(engine, [b, a, buys], settings)) == {"ap": (1, 0)}
    assert votes_of(mine(engine, [a, buys, b], settings)) == {"ap": (1, 0)}


@pytest.mark.parametrize(("gap", "pairs"), [(30, 1), (29, 0)])
def test_a_gap_as_long_as_the_limit_does_not_cut(
    engine: Embedded, gap: int, pairs: int
) -> None:
    events = [Event("s", "a", "view", 0), Event("s", "p", "purchase", 30)]
    mined = mine(engine, events, MiningSettings(session_gap_min=gap))
    assert (mined.counts["pairs"], mined.counts["sessions"]) == (pairs, 2 - pairs)


def test_every_session_votes_and_the_majority_labels(engine: Embedded) -> None:
    # Two sessions for (b, p), one against it.
    texts = {"s1": "bP", "s2": "bP", "s3": "bcP"}
    events = [e for name, text in texts.items() for e in shopping(text, session=name)]
    mined = mine(engine, events, MiningSettings(negative_slots=2))
    found = {row["anchor_id"]: row for row in mined.pairs.to_pylist()}
    assert (found["b"]["positive_votes"], found["b"]["negative_votes"]) == (2, 1)
    assert found["b"]["label"] == 1
    # |2 - 1| / (2 + 1 + 1)
    assert found["b"]["weight"] == 0.25
    assert mined.counts["sessions"] == 3


def test_pairs_below_the_support_are_dropped_and_counted(engine: Embedded) -> None:
    events = shopping("bcP", session="s1") + shopping("bcP.bQ", session="s2")
    settings = MiningSettings(negative_slots=2, min_support=2)
    mined = mine(engine, events, settings)
    assert votes_of(mined) == {"cp": (2, 0), "bp": (0, 2)}
    assert dropped(mined) == {"below_min_support": 1, "too_few_views_before": 1}
    assert (mined.counts["positive_pairs"], mined.counts["negative_pairs"]) == (1, 1)


def test_a_log_without_purchases_gives_an_empty_table(engine: Embedded) -> None:
    mined = mine(engine, shopping("ab.c"))
    assert mined.pairs.num_rows == 0
    assert (mined.counts["sessions"], mined.counts["pairs"]) == (2, 0)


def test_counts_carry_what_reading_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("session,id,event,time\ns,a,view,1\ns,b,cart,2\ns,b,order,3\n")
    with Embedded() as engine:
        counts = mine_pairs(read_events(path, engine=engine)).counts
    assert (counts["rows"], counts["ignored_events"], counts["pairs"]) == (3, 1, 1)


def test_the_order_of_the_rows_does_not_matter_with_event_ids(tmp_path: Path) -> None:
    draw = random.Random(7)
    rows = [
        f"{draw.choice('stu')},{draw.choice('abcdef')},"
        f"{draw.choice(('view', 'view', 'buy'))},{draw.randrange(40) * 60},{event_id}"
        for event_id in range(200)
    ]
    mined = []
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        path = tmp_path / "log.csv"
        path.write_text("\n".join(["session,id,event,time,event_id", *rows]))
        with Embedded(threads=1 + seed % 2) as engine:
            mined.append(mine_pairs(read_events(path, engine=engine)))
    assert mined[0].pairs.num_rows > 0
    for other in mined[1:]:
        assert other.pairs.equals(mined[0].pairs)
        assert other.counts == mined[0].counts


def slow_votes(
    events: Sequence[Event], settings: MiningSettings
) -> tuple[Counter[tuple[str, str, int]], Counter[str]]:
    """Votes for (anchor, other, label) and counts, by lists and loops alone."""
    votes: Counter[tuple[str, str, int]] = Counter()
    counts: Counter[str] = Counter()
    by_session = sorted(events, key=lambda e: (e.session, e.minute))
    for _, group in groupby(by_session, key=lambda e: e.session):
        for session in cut(list(group), settings.session_gap_min):
            counts["sessions"] += 1
            voted: set[tuple[str, str, int]] = set()
            viewed: list[str] = []
            for before, event in zip([None, *session], session):
                if event == before:
                    counts["repeated_event"] += 1
                elif event.kind == "view":
                    viewed.append(event.id)
                else:
                    for label, other, reason in judge(event.id, viewed, settings):
                        vote = (min(event.id, other), max(event.id, other), label)
                        if reason is None and vote in voted:
                            reason = "repeated_vote"
                        if reason is None:
                            voted.add(vote)
                        else:
                            counts[reason] += 1
            votes.update(voted)
    return votes, counts


def cut(events: list[Event], gap_min: int) -> list[list[Event]]:
    sessions: list[list[Event]] = []
    for event in events:
        if not sessions or event.minute - sessions[-1][-1].minute > gap_min:
            sessions.append([])
        sessions[-1].append(event)
    return sessions


def judge(
    purchased: str, viewed: list[str], settings: MiningSettings
) -> list[tuple[int, str, str | None]]:
    """(label, the other product, why it is dropped) for the two sides of a purchase."""
    others = [id_ for id_ in viewed if id_ != purchased]
    if not viewed:
        positive = (1, "", "no_view_before")
    elif viewed[-1] != purchased:
        positive = (1, viewed[-1], None)
    elif others and settings.look_back_past_purchased:
        positive = (1, others[-1], None)
    else:
        positive = (1, "", "last_view_is_purchased")
    if len(viewed) < settings.negative_slots:
        negative = (0, "", "too_few_views_before")
    elif viewed[-settings.negative_slots] == purchased:
        negative = (0, "", "slot_is_purchased")
    else:
        negative = (0, viewed[-settings.negative_slots], None)
    return [positive, negative]


def slow_miner(
    events: Sequence[Event], settings: MiningSettings
) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    """The kept pairs with their votes, and all counts that mining itself makes."""
    votes, counts = slow_votes(events, settings)
    kept = {}
    for anchor, other in sorted({vote[:2] for vote in votes}):
        positive, negative = votes[anchor, other, 1], votes[anchor, other, 0]
        if positive + negative < settings.min_support:
            counts["below_min_support"] += 1
        elif positive == negative:
            counts["conflict_tie"] += 1
        else:
            kept[anchor + other] = (positive, negative)
    counts["pairs"] = len(kept)
    counts["positive_pairs"] = sum(a > b for a, b in kept.values())
    counts["negative_pairs"] = sum(a < b for a, b in kept.values())
    return kept, {name: counts[name] for name in (*REASONS, *_OTHER_COUNTS)}


_OTHER_COUNTS = ("sessions", "pairs", "positive_pairs", "negative_pairs")

LOGS = st.lists(
    st.builds(
        Event,
        session=st.sampled_from("st"),
        id=st.sampled_from("abcd"),
        kind=st.sampled_from(("view", "view", "purchase")),
        minute=st.integers(0, 12),
    ),
    min_size=1,
    max_size=30,
)
SETTINGS = st.builds(
    MiningSettings,
    session_gap_min=st.integers(1, 5),
    negative_slots=st.integers(1, 4),
    min_support=st.integers(1, 3),
    look_back_past_purchased=st.booleans(),
)


@hypothesis_settings(max_examples=100, deadline=None, derandomize=True)
@given(events=LOGS, settings=SETTINGS)
def test_the_sql_agrees_with_a_slow_miner(
    engine: Embedded, events: list[Event], settings: MiningSettings
) -> None:
    mined = mine(engine, events, settings)
    votes, counts = slow_miner(events, settings)
    assert votes_of(mined) == votes
    assert dict(mined.counts) == counts


def test_the_sql_keeps_to_what_both_engines_understand() -> None:
    sql = mining_sql(MiningSettings())
    code = "\n".join(line.split("--")[0] for line in sql.upper().splitlines())
    for word in ("IGNORE NULLS", "QUALIFY", "FILTER", "::", "VARCHAR", "{", "}", ";"):
        assert word not in code


@pytest.mark.parametrize("name", ["session_gap_min", "negative_slots", "min_support"])
def test_settings_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a whole number from 1 on"):
        MiningSettings(**{name: 0})
