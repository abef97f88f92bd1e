"""Pairs from behaviour: the last view before a purchase resembles what was bought.

After the published description of Amazon's similar-product identification system
(2020): the product viewed last before a purchase and the purchased one are similar;
the product viewed N slots before the purchase and the purchased one are not. The
description leaves much open; every choice made here is named in `MiningSettings` or in
`mine_pairs`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simprod_tf.data.events import EventLog

_VOTES = ("positive_votes", "negative_votes")


@dataclass(frozen=True)
class MiningSettings:
    """What makes a session, a pair and a vote that counts.

    Args:
        session_gap_min: a session ends where the next view or purchase comes more than
            this many minutes later; ignored events do not hold it open.
        negative_slots: the negative is the product viewed this many views before the
            purchase; slot 1 is the last view, and views of one product in a row each
            take a slot.
        min_support: how many votes, for and against together, a pair needs.
        look_back_past_purchased: where the last view shows the purchased product
            itself, whether to go back to the last view of another one; if not, such a
            purchase gives no positive.
    """

    session_gap_min: int = 30
    negative_slots: int = 5
    min_support: int = 1
    look_back_past_purchased: bool = True

    def __post_init__(self) -> None:
        for name in ("session_gap_min", "negative_slots", "min_support"):
            value = getattr(self, name)
            if value != int(value) or value < 1:
                raise ValueError(
                    f"{name} must be a whole number from 1 on, got {value}."
                )


@dataclass(frozen=True)
class MinedPairs:
    """Labelled pairs from a log, and how many of everything there was.

    Attributes:
        pairs: anchor_id and other_id (string, anchor_id < other_id), label (int8),
            weight (float32, in (0, 1)), positive_votes and negative_votes (int64); one
            row for each unordered pair, ordered by it.
        counts: what the log held (`rows`, `views`, `purchases`, `ignored_events`,
            `repeated_event_ids`, and `sessions` after cutting), what came out (`pairs`,
            `positive_pairs`, `negative_pairs`), and why the rest did not:
            `repeated_event` (the event before it once more, at the same instant);
            for positives `no_view_before` and `last_view_is_purchased` (and no view of
            another product to go back to); for negatives `too_few_views_before` and
            `slot_is_purchased`; `repeated_vote` (its session had voted so already); of
            pairs, `below_min_support` and `conflict_tie` (as many for as against).
    """

    pairs: pa.Table
    counts: Mapping[str, int]


def mine_pairs(log: EventLog, settings: MiningSettings | None = None) -> MinedPairs:
    """Returns the pairs that the purchases of a log vote for.

    Within a session events are ordered by time, then by event_id. Each purchase, also
    each of several at one instant, looks at the views before it. A session has one vote
    for and one vote against any unordered pair, however often it bought. The majority
    labels the pair; its weight is |for - against| / (for + against + 1): 1/2 for a lone
    vote, nearing 1 with many that agree, small where sessions disagree.
    """
    sql = mining_sql(settings or MiningSettings())
    return collect(log.engine.query(sql), log.counts)


def mining_sql(settings: MiningSettings) -> str:
    """Returns the text of mine_pairs.sql with its integers put in, for any engine."""
    file = resources.files("simprod_tf.data").joinpath("mine_pairs.sql")
    integers = {
        "session_gap_us": settings.session_gap_min * 60_000_000,
        "slots_back": settings.negative_slots - 1,
        "look_back": int(settings.look_back_past_purchased),
        "min_support": settings.min_support,
    }
    return re.sub(
        r"\{(\w+)\}", lambda found: str(integers[found[1]]), file.read_text("utf-8")
    )


def collect(outcomes: pa.Table, log_counts: Mapping[str, int]) -> MinedPairs:
    """Returns what the rows of mine_pairs.sql, from any engine, amount to."""
    is_pair = pc.equal(outcomes["outcome"], "pair")
    votes = outcomes.filter(is_pair)
    positive, negative = (votes[name].to_numpy() for name in _VOTES)
    labels = (positive > negative).astype(np.int8)
    weights = np.abs(positive - negative) / (positive + negative + 1)
    columns = {
        "anchor_id": votes["anchor_id"].cast(pa.string()),
        "other_id": votes["other_id"].cast(pa.string()),
        "label": pa.array(labels),
        "weight": pa.array(weights.astype(np.float32)),
        "positive_votes": votes["positive_votes"].cast(pa.int64()),
        "negative_votes": votes["negative_votes"].cast(pa.int64()),
    }
    counts = {
        **log_counts,
        **_drop_counts(outcomes),
        "pairs": votes.num_rows,
        "positive_pairs": int(labels.sum()),
        "negative_pairs": int(votes.num_rows - labels.sum()),
    }
    return MinedPairs(pa.table(columns), counts)


def _drop_counts(outcomes: pa.Table) -> dict[str, int]:
    """Returns `sessions` and the count of every reason, 0 where it never came up."""
    counts = dict.fromkeys((*_CASE_REASONS, "repeated_vote", *_PAIR_REASONS), 0)
    for row in outcomes.filter(pc.not_equal(outcomes["outcome"], "pair")).to_pylist():
        of_pairs = row["outcome"] in _PAIR_REASONS
        counts[row["outcome"]] = row["pairs"] if of_pairs else row["cases"]
    voted = outcomes.filter(
        pc.is_in(outcomes["outcome"], pa.array(("pair", *_PAIR_REASONS)))
    )
    cases, positive, negative = (
        pc.sum(voted[name]).as_py() or 0 for name in ("cases", *_VOTES)
    )
    counts["repeated_vote"] = cases - positive - negative
    return counts


# Of single cases, and of pairs after all votes were counted.
_CASE_REASONS = (
    "sessions",
    "repeated_event",
    "no_view_before",
    "last_view_is_purchased",
    "too_few_views_before",
    "slot_is_purchased",
)
_PAIR_REASONS = ("below_min_support", "conflict_tie")
