"""Mining: sessions worked by hand, every drop reason, and a slow miner in Python."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from simprod_tf.data.events import EventLog, read_events
from simprod_tf.data.mining import (
    BUYER_REASONS,
    CASE_REASONS,
    PAIR_REASONS,
    VOTE_REASONS,
    MinedPairs,
    MiningSettings,
    mine_pairs,
    mine_to_file,
    mining_sql,
    read_categories,
)
from simprod_tf.data.pairs import read_pairs
from simprod_tf.engine.embedded import Embedded
from simprod_tf.errors import InputError
from simprod_tf.shards import read_success, shard_files

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
    engine: Embedded,
    events: Sequence[Event],
    settings: MiningSettings | None = None,
    categories: dict[str, str] | None = None,
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
    table = None if categories is None else category_table(categories)
    return mine_pairs(EventLog(engine, {}), settings, categories=table)


def category_table(categories: dict[str, str]) -> pa.Table:
    columns = {"id": list(categories), "category": list(categories.values())}
    return pa.table(columns)


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


REASONS = (*BUYER_REASONS, *CASE_REASONS, *VOTE_REASONS, *PAIR_REASONS)


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
            "source": "mined",
            "share": 0.0,
            "positive_votes": 0,
            "negative_votes": 1,
        },
        {
            "anchor_id": "e",
            "other_id": "p",
            "label": 1,
            "weight": 0.5,
            "source": "mined",
            "share": 1.0,
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
        "source": "string",
        "share": "float",
        "positive_votes": "double",
        "negative_votes": "double",
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
    names = ("buyers", "sessions", "pairs")
    assert [mined.counts[name] for name in names] == [0, 0, 0]


def test_counts_carry_what_reading_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("session,id,event,time\ns,a,view,1\ns,b,cart,2\ns,b,order,3\n")
    with Embedded() as engine:
        counts = mine_pairs(read_events(path, engine=engine)).counts
    assert (counts["rows"], counts["carts"], counts["pairs"]) == (3, 1, 1)


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


class Vote(NamedTuple):
    """A vote of a session for (1) or against (0) a pair, with its weight."""

    label: int
    pair: str
    milli: int


def slow_votes(
    events: Sequence[Event], settings: MiningSettings, categories: dict[str, str]
) -> tuple[list[Vote], Counter[str]]:
    """The votes that count, and counts, by lists and loops alone."""
    kept: list[Vote] = []
    counts: Counter[str] = Counter()
    by_customer = sorted(events, key=lambda e: (e.session, e.minute))
    for _, group in groupby(by_customer, key=lambda e: e.session):
        log = list(group)
        buys = [e.minute for e in log if acts(e, settings)]
        if not buys:
            continue
        counts["buyers"] += 1
        if len(log) > (settings.max_events_per_customer or len(log)):
            counts["buyers_over_event_limit"] += 1
            continue
        useful = [e for e in log if e.kind != "cart" or settings.cart_weight]
        useful = [e for e in useful if e.minute <= max(buys)]
        cast = [
            vote
            for session in cut(useful, settings.session_gap_min)
            for vote in session_votes(session, settings, counts)
        ]
        # Earliest first; at one instant those for come first, then by the pair.
        cast.sort(key=lambda timed: (timed[0], -timed[1].label, timed[1].pair))
        votes = [v for _, v in cast if not gated(v, settings, categories, counts)]
        limit = settings.max_votes_per_customer or len(votes)
        counts["over_customer_limit"] += len(votes[limit:])
        kept += votes[:limit]
    return kept, counts


def acts(event: Event, settings: MiningSettings) -> bool:
    return event.kind == "purchase" or (
        event.kind == "cart" and settings.cart_weight > 0
    )


def gated(
    vote: Vote,
    settings: MiningSettings,
    categories: dict[str, str],
    counts: Counter[str],
) -> bool:
    kinds = {"off": (), "positives": (1,), "all": (0, 1)}[settings.same_category]
    one, other = (categories.get(id_) for id_ in vote.pair)
    if vote.label not in kinds or (one is not None and one == other):
        return False
    counts[f"{('negative', 'positive')[vote.label]}_across_categories"] += 1
    return True


def session_votes(
    session: list[Event], settings: MiningSettings, counts: Counter[str]
) -> list[tuple[int, Vote]]:
    """(minute of the first such case, vote) for everything one session votes."""
    counts["sessions"] += 1
    first: dict[tuple[int, str], int] = {}
    weight: dict[tuple[int, str], int] = {}
    viewed: list[Event] = []
    for before, event in zip([None, *session], session):
        if event == before:
            counts["repeated_event"] += 1
        elif event.kind == "view":
            viewed.append(event)
        else:
            milli = (
                1000 if event.kind == "purchase" else round(settings.cart_weight * 1000)
            )
            for label, other, reason in judge(event, viewed, settings):
                if reason is not None:
                    counts[reason] += 1
                    continue
                key = (label, "".join(sorted(event.id + other)))
                counts["repeated_vote"] += key in first
                first.setdefault(key, event.minute)
                weight[key] = max(weight.get(key, 0), milli)
    return [(first[key], Vote(*key, weight[key])) for key in first]


def cut(events: list[Event], gap_min: int) -> list[list[Event]]:
    sessions: list[list[Event]] = []
    for event in events:
        if not sessions or event.minute - sessions[-1][-1].minute > gap_min:
            sessions.append([])
        sessions[-1].append(event)
    return sessions


def judge(
    bought: Event, viewed: list[Event], settings: MiningSettings
) -> list[tuple[int, str, str | None]]:
    """(label, the other product, why it is dropped) for the two sides of a purchase."""
    reach = bought.minute - (settings.max_lookback_min or 10**9)
    others = [view for view in viewed if view.id != bought.id]
    if not viewed:
        positive = (1, "", "no_view_before")
    elif viewed[-1].id == bought.id and not (
        others and settings.look_back_past_purchased
    ):
        positive = (1, "", "last_view_is_purchased")
    elif others[-1].minute < reach:
        positive = (1, "", "view_too_long_ago")
    else:
        positive = (1, others[-1].id, None)
    if len(viewed) < settings.negative_slots:
        return [positive, (0, "", "too_few_views_before")]
    slot = viewed[-settings.negative_slots]
    if slot.id == bought.id:
        return [positive, (0, "", "slot_is_purchased")]
    if slot.minute < reach:
        return [positive, (0, "", "slot_too_long_ago")]
    return [positive, (0, slot.id, None)]


def slow_miner(
    events: Sequence[Event], settings: MiningSettings, categories: dict[str, str]
) -> tuple[dict[str, tuple[float, float]], dict[str, int]]:
    """The kept pairs with their votes, and all counts that mining itself makes."""
    votes, counts = slow_votes(events, settings, categories)
    kept = {}
    for pair in sorted({vote.pair for vote in votes}):
        against, for_it = (
            sum(v.milli for v in votes if (v.label, v.pair) == (label, pair))
            for label in (0, 1)
        )
        if for_it + against < settings.min_support * 1000:
            counts["below_min_support"] += 1
        elif for_it == against:
            counts["conflict_tie"] += 1
        elif for_it and against and settings.conflicts == "drop":
            counts["conflict"] += 1
        else:
            kept[pair] = (for_it, against)
    crowded = over_limit(kept, settings.max_pairs_per_product)
    counts["over_product_limit"] += len(crowded)
    kept = {pair: kept[pair] for pair in kept if pair not in crowded}
    counts["pairs"] = len(kept)
    counts["positive_pairs"] = sum(a > b for a, b in kept.values())
    counts["negative_pairs"] = sum(a < b for a, b in kept.values())
    shown = {pair: (a / 1000, b / 1000) for pair, (a, b) in kept.items()}
    return shown, {name: counts[name] for name in (*REASONS, *_OTHER_COUNTS)}


def over_limit(kept: dict[str, tuple[int, int]], limit: int | None) -> set[str]:
    """The pairs beyond the strongest `limit` of either product and label."""
    found = set()
    for id_ in "abcd" if limit else "":
        for label in (True, False):
            own = [p for p, (a, b) in kept.items() if id_ in p and (a > b) == label]
            own.sort(key=lambda pair: (-abs(kept[pair][0] - kept[pair][1]), pair))
            found.update(own[limit:])
    return found


_OTHER_COUNTS = ("buyers", "sessions", "pairs", "positive_pairs", "negative_pairs")

LOGS = st.lists(
    st.builds(
        Event,
        session=st.sampled_from("stu"),
        id=st.sampled_from("abcd"),
        kind=st.sampled_from(("view", "view", "view", "purchase", "cart")),
        minute=st.integers(0, 12),
    ),
    min_size=1,
    max_size=40,
)
LIMITS = st.one_of(st.none(), st.integers(1, 4))
SETTINGS = st.builds(
    MiningSettings,
    session_gap_min=st.integers(1, 5),
    negative_slots=st.integers(1, 4),
    min_support=st.integers(1, 2),
    look_back_past_purchased=st.booleans(),
    max_lookback_min=LIMITS,
    cart_weight=st.sampled_from((0.0, 0.3, 0.5, 1.0)),
    max_events_per_customer=st.one_of(st.none(), st.integers(5, 15)),
    max_votes_per_customer=LIMITS,
    max_pairs_per_product=st.one_of(st.none(), st.integers(1, 2)),
    same_category=st.sampled_from(("off", "positives", "all")),
    conflicts=st.sampled_from(("soft", "drop")),
)


@hypothesis_settings(max_examples=60, deadline=None, derandomize=True)
@given(events=LOGS, settings=SETTINGS)
def test_the_sql_agrees_with_a_slow_miner(
    engine: Embedded, events: list[Event], settings: MiningSettings
) -> None:
    categories = {"a": "x", "b": "x", "c": "y"}
    mined = mine(engine, events, settings, categories)
    votes, counts = slow_miner(events, settings, categories)
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


def carts(text: str, *, session: str = "s") -> list[Event]:
    """As `shopping`, but what is bought only goes into the cart."""
    bought = shopping(text, session=session)
    kinds = {"purchase": "cart", "view": "view"}
    return [event._replace(kind=kinds[event.kind]) for event in bought]


@pytest.mark.parametrize(
    ("max_lookback_min", "votes", "drops"),
    [
        (2, {"bp": (1, 0), "ap": (0, 1)}, {}),
        (1, {"bp": (1, 0)}, {"slot_too_long_ago": 1}),
    ],
)
def test_views_too_long_before_the_purchase_do_not_count(
    engine: Embedded,
    max_lookback_min: int,
    votes: dict[str, tuple[int, int]],
    drops: dict[str, int],
) -> None:
    settings = MiningSettings(negative_slots=2, max_lookback_min=max_lookback_min)
    mined = mine(engine, shopping("abP"), settings)
    assert (votes_of(mined), dropped(mined)) == (votes, drops)


def test_looking_back_keeps_to_the_limit_in_time(engine: Embedded) -> None:
    # a was viewed three minutes before the purchase, p right before it.
    for limit, reason in ((3, {}), (2, {"view_too_long_ago": 1})):
        settings = MiningSettings(negative_slots=3, max_lookback_min=limit)
        found = dropped(mine(engine, shopping("appP"), settings))
        found.pop("slot_too_long_ago", None)
        found.pop("conflict_tie", None)
        assert found == reason


def test_a_cart_is_a_weaker_purchase(engine: Embedded) -> None:
    settings = MiningSettings(negative_slots=2, cart_weight=0.3, min_support=1)
    four = [e for name in "wxyz" for e in carts("abP", session=name)]
    mined = mine(engine, four, settings)
    assert votes_of(mined) == {"bp": (1.2, 0), "ap": (0, 1.2)}
    # 1.2 / (1.2 + 1)
    assert mined.pairs["weight"].to_pylist() == pytest.approx([1.2 / 2.2] * 2)
    # Three votes of 0.3 do not reach a support of 1.
    three = [e for e in four if e.session != "z"]
    assert dropped(mine(engine, three, settings)) == {"below_min_support": 2}


def test_bought_after_the_cart_is_one_vote_of_a_purchase(engine: Embedded) -> None:
    a, b, cart = carts("abP")
    bought = Event("s", "p", "purchase", cart.minute + 1)
    settings = MiningSettings(negative_slots=2, cart_weight=0.5)
    mined = mine(engine, [a, b, cart, bought], settings)
    assert votes_of(mined) == {"bp": (1, 0), "ap": (0, 1)}
    assert dropped(mined) == {"repeated_vote": 2}


def test_carts_without_a_weight_are_not_there(engine: Embedded) -> None:
    # The cart neither votes nor holds the session open.
    events = [
        Event("s", "a", "view", 0),
        Event("s", "c", "cart", 20),
        Event("s", "p", "purchase", 40),
    ]
    mined = mine(engine, events, MiningSettings(negative_slots=9))
    assert dropped(mined) == {"no_view_before": 1, "too_few_views_before": 1}
    with_carts = MiningSettings(negative_slots=9, cart_weight=1)
    assert votes_of(mine(engine, events, with_carts)) == {"ac": (1, 0), "ap": (1, 0)}


def test_a_customer_with_too_many_events_is_left_out(engine: Embedded) -> None:
    events = shopping("abP", session="s") + shopping("cdeQ", session="bot")
    settings = MiningSettings(negative_slots=2, max_events_per_customer=3)
    mined = mine(engine, events, settings)
    assert votes_of(mined) == {"bp": (1, 0), "ap": (0, 1)}
    assert dropped(mined) == {"buyers_over_event_limit": 1}
    assert mined.counts["buyers"] == 2


def test_only_the_earliest_votes_of_a_customer_count(engine: Embedded) -> None:
    # In this order: for bp, against ap; for dq, against cq.
    settings = MiningSettings(negative_slots=2, max_votes_per_customer=3)
    mined = mine(engine, shopping("abP.cdQ"), settings)
    assert votes_of(mined) == {"bp": (1, 0), "ap": (0, 1), "dq": (1, 0)}
    assert dropped(mined) == {"over_customer_limit": 1}


def test_a_product_keeps_its_strongest_pairs_of_each_label(engine: Embedded) -> None:
    texts = {"s1": "xaP", "s2": "yaP", "s3": "xbP", "s4": "ycP"}
    events = [e for name, text in texts.items() for e in shopping(text, session=name)]
    settings = MiningSettings(negative_slots=2, max_pairs_per_product=1)
    mined = mine(engine, events, settings)
    # a has two votes, b and c one; x and y have two each, and x comes first.
    assert votes_of(mined) == {"ap": (2, 0), "px": (0, 2)}
    assert dropped(mined) == {"over_product_limit": 3}


def test_products_of_a_pair_must_share_the_category(engine: Embedded) -> None:
    events = shopping("abP", session="s") + shopping("cdQ", session="t")
    categories = {"p": "mug", "b": "mug", "a": "pot", "q": "mug", "d": "pot"}
    settings = MiningSettings(negative_slots=2, same_category="positives")
    mined = mine(engine, events, settings, categories)
    assert votes_of(mined) == {"bp": (1, 0), "ap": (0, 1), "cq": (0, 1)}
    assert dropped(mined) == {"positive_across_categories": 1}
    # c has no category, and shares it with none.
    settings = MiningSettings(negative_slots=2, same_category="all")
    mined = mine(engine, events, settings, categories)
    assert votes_of(mined) == {"bp": (1, 0)}
    across = {"positive_across_categories": 1, "negative_across_categories": 2}
    assert dropped(mined) == across


def test_a_category_gate_needs_categories(engine: Embedded) -> None:
    settings = MiningSettings(same_category="positives")
    with pytest.raises(ValueError, match="'positives' needs the categories"):
        mine(engine, shopping("aP"), settings)


def test_conflicts_are_kept_with_their_share_or_dropped(engine: Embedded) -> None:
    texts = {"s1": "bP", "s2": "bP", "s3": "bP", "s4": "bcP"}
    events = [e for name, text in texts.items() for e in shopping(text, session=name)]
    mined = mine(engine, events, MiningSettings(negative_slots=2))
    found = {row["anchor_id"]: row for row in mined.pairs.to_pylist()}
    assert (found["b"]["label"], found["b"]["share"]) == (1, 0.75)
    # |3 - 1| / (3 + 1 + 1)
    assert found["b"]["weight"] == pytest.approx(0.4)
    strict = MiningSettings(negative_slots=2, conflicts="drop")
    mined = mine(engine, events, strict)
    assert votes_of(mined) == {"cp": (1, 0)}
    assert mined.counts["conflict"] == 1


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_of_pairs_is_read_back_as_pairs(
    engine: Embedded, tmp_path: Path, suffix: str
) -> None:
    mined = mine(engine, shopping("abP.bcQ"), MiningSettings(negative_slots=2))
    path = tmp_path / f"it's mined.{suffix}"
    settings = MiningSettings(negative_slots=2)
    counts = mine_to_file(EventLog(engine, {}), path, settings)
    assert counts == mined.counts
    pairs = read_pairs(path, source="mined")
    assert pairs.anchor_ids.tolist() == mined.pairs["anchor_id"].to_pylist()
    assert pairs.other_ids.tolist() == mined.pairs["other_id"].to_pylist()
    assert pairs.labels.tolist() == mined.pairs["label"].to_pylist()
    assert pairs.weights.tolist() == mined.pairs["weight"].to_pylist()
    if suffix == "parquet":
        assert pq.read_table(path).to_pydict() == mined.pairs.to_pydict()


def test_no_pairs_leave_no_file(engine: Embedded, tmp_path: Path) -> None:
    mine(engine, shopping("ab"))
    assert mine_to_file(EventLog(engine, {}), tmp_path / "p.csv")["pairs"] == 0
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="write to a .csv or .parquet file"):
        mine_to_file(EventLog(engine, {}), tmp_path / "p.json")


def test_a_folder_gets_shards_in_the_order_of_the_pairs(
    engine: Embedded, tmp_path: Path
) -> None:
    settings = MiningSettings(negative_slots=2)
    mined = mine(engine, shopping("abP.bcQ"), settings)
    for _ in range(2):
        # The second time it takes the place of the first.
        mine_to_file(EventLog(engine, {}), tmp_path / "mined", settings)
    assert [path.name for path in tmp_path.iterdir()] == ["mined"]
    assert read_success(tmp_path / "mined", kind="pairs") == {
        "kind": "pairs",
        "rows": 4,
        "positive_pairs": 2,
        "negative_pairs": 2,
    }
    shards = [pq.read_table(path) for path in shard_files(tmp_path / "mined")]
    assert pa.concat_tables(shards).to_pydict() == mined.pairs.to_pydict()
    pairs = read_pairs(tmp_path / "mined", source="hand")
    assert pairs.anchor_ids.tolist() == mined.pairs["anchor_id"].to_pylist()


def test_a_folder_of_something_else_is_not_replaced(
    engine: Embedded, tmp_path: Path
) -> None:
    mine(engine, shopping("aB"))
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(InputError, match="this folder holds something else than pairs"):
        mine_to_file(EventLog(engine, {}), tmp_path)


def test_threads_and_memory_do_not_change_the_pairs(tmp_path: Path) -> None:
    draw = random.Random(3)
    size = 60_000
    columns = {
        "session": [f"s{draw.randrange(4000)}" for _ in range(size)],
        "id": [f"p{draw.randrange(300)}" for _ in range(size)],
        "event": [draw.choice(("view",) * 9 + ("buy",)) for _ in range(size)],
        "time": [draw.randrange(20_000) for _ in range(size)],
    }
    pq.write_table(pa.table(columns), tmp_path / "log.parquet", row_group_size=9000)
    mined = []
    for threads, memory_limit_mb in ((1, None), (2, None), (2, 48)):
        with Embedded(threads=threads, memory_limit_mb=memory_limit_mb) as engine:
            mined.append(
                mine_pairs(read_events(tmp_path / "log.parquet", engine=engine))
            )
    assert mined[0].pairs.num_rows > 1000
    for other in mined[1:]:
        assert other.pairs.equals(mined[0].pairs)
        assert other.counts == mined[0].counts


def test_categories_come_from_a_column_of_the_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "catalog.csv"
    path.write_text("id,kind\na,mug\nb,\nc,pot\n")
    found = read_categories(path, "kind").to_pydict()
    assert found == {"id": ["a", "c"], "category": ["mug", "pot"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,kind\na,mug\na,pot\n", "row 2: id 'a' is there twice"),
        ("id,kind\na,\n", "column 'kind' is empty in every row"),
        ("id,sort\na,x\n", "column 'kind' is missing"),
    ],
)
def test_a_catalogue_without_usable_categories_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "catalog.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_categories(path, "kind")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"max_lookback_min": 0}, "max_lookback_min must be a whole number from 1 on"),
        ({"max_votes_per_customer": 1.5}, "max_votes_per_customer must be a whole"),
        ({"max_events_per_customer": 0}, "max_events_per_customer must be a whole"),
        ({"max_pairs_per_product": -1}, "max_pairs_per_product must be a whole number"),
        (
            {"cart_weight": 1.1},
            "cart_weight must be 0, or between 0.001 and 1, got 1.1",
        ),
        ({"cart_weight": 0.0001}, "cart_weight must be 0, or between"),
        ({"same_category": "yes"}, "same_category must be one of off, positives, all"),
        ({"conflicts": "keep"}, "conflicts must be one of soft, drop, got 'keep'"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MiningSettings(**setting)
