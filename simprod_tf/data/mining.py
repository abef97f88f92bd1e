"""Pairs from behaviour: the last view before a purchase resembles what was bought.

After the published description of Amazon's similar-product identification system
(2020): the product viewed last before a purchase and the purchased one are similar;
the product viewed N slots before the purchase and the purchased one are not. The
description leaves much open; every choice made here is named in `MiningSettings` or in
`mine_pairs`.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pyarrow as pa

from simprod_tf.data.events import EventLog
from simprod_tf.data.tables import read_table, require_table_place
from simprod_tf.engine.base import Engine
from simprod_tf.errors import InputError
from simprod_tf.shards import publish

CONFLICTS = ("soft", "drop")
SAME_CATEGORY = ("off", "positives", "all")


@dataclass(frozen=True)
class MiningSettings:
    """What makes a session, a pair and a vote that counts.

    A customer is here whoever the log's session column names: where it holds sessions,
    a limit for each customer is one for each of them.

    Args:
        session_gap_min: a session ends where the next event that counts comes more
            than this many minutes later; ignored events do not hold it open.
        negative_slots: the negative is the product viewed this many views before the
            purchase; slot 1 is the last view, and views of one product in a row each
            take a slot.
        min_support: how many votes, for and against together, a pair needs; a vote
            counts its weight.
        look_back_past_purchased: where the last view shows the purchased product
            itself, whether to go back to the last view of another one; if not, such a
            purchase gives no positive.
        max_lookback_min: a view more than this many minutes before the purchase does
            not count, neither for nor against; None for no limit.
        cart_weight: above 0, putting a product into the cart acts as a purchase whose
            vote has this weight, in thousandths; 0 ignores carts.
        max_events_per_customer: a customer with more events is taken for a bot, and
            left out; None for no limit.
        max_votes_per_customer: only a customer's earliest votes count, this many; None
            for no limit.
        max_pairs_per_product: a product keeps this many positives and as many
            negatives, those with most votes in excess, and at a tie the first by id;
            None for no limit.
        same_category: "positives" drops votes for pairs whose products do not share a
            category, "all" drops votes against them, too; "off" asks for none.
        conflicts: "soft" keeps a pair with votes for and against, its weight lowered
            and `share` saying how divided they are; "drop" leaves it out.
    """

    session_gap_min: int = 30
    negative_slots: int = 5
    min_support: int = 1
    look_back_past_purchased: bool = True
    max_lookback_min: int | None = None
    cart_weight: float = 0.0
    max_events_per_customer: int | None = None
    max_votes_per_customer: int | None = None
    max_pairs_per_product: int | None = None
    same_category: str = "off"
    conflicts: str = "soft"

    def __post_init__(self) -> None:
        for name in ("session_gap_min", "negative_slots", "min_support"):
            _require_whole(name, getattr(self, name))
        for name in (
            "max_lookback_min",
            "max_events_per_customer",
            "max_votes_per_customer",
            "max_pairs_per_product",
        ):
            if getattr(self, name) is not None:
                _require_whole(name, getattr(self, name))
        if not 0 <= self.cart_weight <= 1 or 0 < self.cart_weight < 0.001:
            raise ValueError(
                "cart_weight must be 0, or between 0.001 and 1, "
                f"got {self.cart_weight}."
            )
        for name, known in (("same_category", SAME_CATEGORY), ("conflicts", CONFLICTS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}, "
                    f"got {getattr(self, name)!r}."
                )


def _require_whole(name: str, value: float) -> None:
    if value != int(value) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1 on, got {value}.")


@dataclass(frozen=True)
class MinedPairs:
    """Labelled pairs from a log, and how many of everything there was.

    Attributes:
        pairs: anchor_id and other_id (string, anchor_id < other_id), label (int8),
            weight (float32, in (0, 1)), source ("mined"), share (float32, of the votes
            that are for it), positive_votes and negative_votes (float64); one row for
            each unordered pair, ordered by it. Training goes by label and weight.
        counts: what the log held (`rows`, `views`, and so on, as in EventLog), its
            `buyers` and their `sessions` up to the last purchase (nobody else can give
            a pair), what came out (`pairs`, `positive_pairs`, `negative_pairs`), and
            what was dropped by reason: of buyers `BUYER_REASONS`, of single events,
            views and purchases `CASE_REASONS`, of votes `VOTE_REASONS`, of pairs
            `PAIR_REASONS`.
    """

    pairs: pa.Table
    counts: Mapping[str, int]


BUYER_REASONS: Mapping[str, str] = {
    "buyers_over_event_limit": "buyers with too many events, taken for bots",
}
CASE_REASONS: Mapping[str, str] = {
    "repeated_event": "events logged twice at the same instant",
    "no_view_before": "purchases without a view before them: no positive",
    "last_view_is_purchased": "purchases with views of that product alone: no positive",
    "view_too_long_ago": "last views too long before the purchase: no positive",
    "too_few_views_before": "purchases with too few views before them: no negative",
    "slot_is_purchased": "purchased product in the negative's slot: no negative",
    "slot_too_long_ago": "negative's view too long before the purchase",
}
VOTE_REASONS: Mapping[str, str] = {
    "repeated_vote": "votes that the same session had cast before",
    "positive_across_categories": "votes for a pair across categories",
    "negative_across_categories": "votes against a pair across categories",
    "over_customer_limit": "votes beyond a customer's limit",
}
PAIR_REASONS: Mapping[str, str] = {
    "below_min_support": "pairs with too few votes",
    "conflict_tie": "pairs with as many votes for as against",
    "conflict": "pairs with votes for and against",
    "over_product_limit": "pairs beyond a product's limit",
}

# What `_SUCCESS` says of a folder of them.
PAIRS_KIND = "pairs"

_COLUMNS = (
    "anchor_id, other_id, label, weight, 'mined' AS source, share, "
    "positive_votes, negative_votes"
)


def mine_pairs(
    log: EventLog,
    settings: MiningSettings | None = None,
    *,
    categories: pa.Table | None = None,
) -> MinedPairs:
    """Returns the pairs that the purchases of a log vote for.

    Within a session events are ordered by time, then by event_id. Each purchase, also
    each of several at one instant, looks at the views before it. A session has one vote
    for and one vote against any unordered pair, however often it bought. The majority
    labels the pair; its weight is |for - against| / (for + against + 1): 1/2 for a lone
    vote, nearing 1 with many that agree, small where sessions disagree.

    Args:
        log: what `read_events` returned.
        settings: MiningSettings() where None.
        categories: columns id and category (string), each id once, as from
            `read_categories`; for `same_category` alone.
    """
    counts = define_mined(log, settings or MiningSettings(), categories=categories)
    # Spark calls a column that cannot be empty so, and Arrow takes it for another type.
    return MinedPairs(log.engine.query(_PAIRS_SQL).cast(_SCHEMA), counts)


def mine_to_file(
    log: EventLog,
    path: str | os.PathLike[str],
    settings: MiningSettings | None = None,
    *,
    categories: pa.Table | None = None,
) -> Mapping[str, int]:
    """Writes the pairs of `mine_pairs`, and returns the counts.

    A path in .csv or .parquet gets one file, another a folder of Parquet shards, their
    rows in the same order. The pairs never lie in this process's memory all at once.
    Without a pair, nothing is written.
    """
    require_table_place(path, kind=PAIRS_KIND)
    counts = define_mined(log, settings or MiningSettings(), categories=categories)
    if counts["pairs"]:
        facts = {name: counts[name] for name in ("positive_pairs", "negative_pairs")}
        with _workplace(log, Path(path)) as place:
            files = log.engine.write(_PAIRS_SQL, place / "pairs")
            publish(files, path, kind=PAIRS_KIND, facts=facts)
    return counts


@contextlib.contextmanager
def _workplace(log: EventLog, path: Path) -> Iterator[Path]:
    """Yields where the engine can write, on the disk of `path`."""
    if log.folder is not None:
        yield log.folder
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as name:
        yield Path(name)


def define_mined(
    log: EventLog, settings: MiningSettings, *, categories: pa.Table | None = None
) -> dict[str, int]:
    """Makes `mined` of the log's engine what mine_pairs.sql returns, and counts it."""
    if settings.same_category != "off" and categories is None:
        raise ValueError(
            f"same_category {settings.same_category!r} needs the categories."
        )
    nothing = pa.table(
        {"id": pa.array([], "string"), "category": pa.array([], "string")}
    )
    log.engine.load("categories", nothing if categories is None else categories)
    log.engine.define("mined", mining_sql(settings))
    return {**log.counts, **_counts(log.engine)}


def mining_sql(settings: MiningSettings) -> str:
    """Returns the text of mine_pairs.sql with its integers put in, for any engine."""
    file = resources.files("simprod_tf.data").joinpath("mine_pairs.sql")
    integers = {
        "session_gap_us": settings.session_gap_min * _MINUTE_US,
        "slots_back": settings.negative_slots - 1,
        "look_back": int(settings.look_back_past_purchased),
        "max_lookback_us": (settings.max_lookback_min or 0) * _MINUTE_US,
        "cart_milli": round(settings.cart_weight * 1000),
        "min_support_milli": settings.min_support * 1000,
        "max_events": settings.max_events_per_customer or 0,
        "max_votes": settings.max_votes_per_customer or 0,
        "max_pairs": settings.max_pairs_per_product or 0,
        "same_category": SAME_CATEGORY.index(settings.same_category),
        "drop_conflicts": int(settings.conflicts == "drop"),
    }
    return re.sub(
        r"\{(\w+)\}", lambda found: str(integers[found[1]]), file.read_text("utf-8")
    )


def read_categories(path: str | os.PathLike[str], column: str) -> pa.Table:
    """Returns id and category of a catalogue's products that have one.

    Raises:
        InputError: a column is missing, an id comes twice, or no category is there.
    """
    read = read_table(path)
    read.require(["id", column])
    ids, values = read.strings("id"), read.strings(column)
    seen: set[str] = set()
    for row, id_ in zip(read.rows, ids):
        if id_ in seen:
            raise InputError(f"id {id_!r} is there twice.", path=path, row=row)
        seen.add(id_)
    if not any(values):
        raise InputError(f"column {column!r} is empty in every row.", path=path)
    kept = [(id_, value) for id_, value in zip(ids, values) if value]
    return pa.table(dict(zip(("id", "category"), map(list, zip(*kept)))))


_MINUTE_US = 60_000_000
_SCHEMA = pa.schema(
    [
        ("anchor_id", pa.string()),
        ("other_id", pa.string()),
        ("label", pa.int8()),
        ("weight", pa.float32()),
        ("source", pa.string()),
        ("share", pa.float32()),
        ("positive_votes", pa.float64()),
        ("negative_votes", pa.float64()),
    ]
)
_PAIRS_SQL = (
    f"SELECT {_COLUMNS} FROM mined WHERE outcome = 'pair' ORDER BY anchor_id, other_id"
)


def _counts(engine: Engine) -> dict[str, int]:
    """Returns the counts of `mined` by outcome, 0 where one never came up."""
    found = engine.query(
        """SELECT outcome,
            CAST(SUM(cases) AS BIGINT) AS cases,
            CAST(SUM(votes) AS BIGINT) AS votes,
            CAST(SUM(pairs) AS BIGINT) AS pairs,
            CAST(COALESCE(SUM(label), 0) AS BIGINT) AS positives
        FROM mined GROUP BY outcome"""
    )
    rows = {row["outcome"]: row for row in found.to_pylist()}

    def number(outcome: str, unit: str) -> int:
        return rows[outcome][unit] if outcome in rows else 0

    counts = {name: number(name, "pairs") for name in ("buyers", *BUYER_REASONS)}
    counts["buyers"] = sum(counts.values())
    counts.update((name, number(name, "cases")) for name in ("sessions", *CASE_REASONS))
    counts.update((name, number(name, "votes")) for name in VOTE_REASONS)
    voted = ("pair", *VOTE_REASONS, *PAIR_REASONS)
    counts["repeated_vote"] = sum(
        number(o, "cases") - number(o, "votes") for o in voted
    )
    counts.update((name, number(name, "pairs")) for name in ("pair", *PAIR_REASONS))
    pairs, positives = counts.pop("pair"), number("pair", "positives")
    return {
        **counts,
        "pairs": pairs,
        "positive_pairs": positives,
        "negative_pairs": pairs - positives,
    }
