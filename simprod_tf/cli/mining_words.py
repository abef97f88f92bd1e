"""What `mine` says at the end, on the screen and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from simprod_tf.atomic import write_json
from simprod_tf.cli.console import print_rows, say

if TYPE_CHECKING:
    from simprod_tf.data.events import EventSettings
    from simprod_tf.data.mining import MiningSettings
    from simprod_tf.data.mining_quality import MiningQuality, Precision


def summary(counts: Mapping[str, int], out: Path) -> str:
    """Returns what came out, and of what."""
    return (
        f"{counts['pairs']:,} pairs, {counts['positive_pairs']:,} of them similar, "
        f"written to {out}\n{read_line(counts)}"
    )


def read_line(counts: Mapping[str, int]) -> str:
    """Returns what was read, and what was left out for which reasons."""
    return (
        f"From {counts['purchases']:,} purchases, {counts['carts']:,} carts and "
        f"{counts['views']:,} views; {counts['buyers']:,} buyers\n"
        f"{_dropped(counts)}"
    )


def _dropped(counts: Mapping[str, int]) -> str:
    """Returns one line for each reason that came up, largest numbers first."""
    from simprod_tf.data import mining

    reasons = {
        "returns": "returns, ignored",
        "ignored_events": "events ignored by name",
        "outside_period": "events outside --since and --until",
        "repeated_event_ids": "rows that repeat an event_id",
        **mining.BUYER_REASONS,
        **mining.CASE_REASONS,
        **mining.VOTE_REASONS,
        **mining.PAIR_REASONS,
    }
    lines = [
        f"  {counts[name]:>13,}  {text}"
        for name, text in reasons.items()
        if counts[name]
    ]
    return "\n".join(["Left out:", *lines] if lines else ["Left out: nothing"])


def print_quality(quality: list[MiningQuality], hand_pairs: Path) -> None:
    """Prints the precision by slots, or that the hand labels know none of the pairs."""
    if not any(one.positives.known + one.negatives.known for one in quality):
        say(f"{hand_pairs}: none of the mined pairs is among these; nothing to judge.")
        return
    columns = ("slots", "pairs", "positives right", "negatives right")
    print_rows(
        columns,
        [
            (
                str(one.negative_slots),
                str(one.pairs),
                *map(str, (one.positives, one.negatives)),
            )
            for one in quality
        ],
    )


def write_report(
    path: Path,
    log: EventSettings,
    settings: MiningSettings,
    counts: Mapping[str, int],
    quality: list[MiningQuality],
) -> None:
    """Writes settings, counts and quality as JSON."""

    def facts(precision: Precision) -> dict[str, float | None]:
        known = asdict(precision)
        if not precision.known:
            return {**known, "share": None, "low": None, "high": None}
        names = ("share", "low", "high")
        return {**known, **{name: getattr(precision, name) for name in names}}

    content = {
        "log": asdict(log),
        "settings": asdict(settings),
        "counts": dict(counts),
        "quality": [
            {
                "negative_slots": one.negative_slots,
                "pairs": one.pairs,
                "positives": facts(one.positives),
                "negatives": facts(one.negatives),
            }
            for one in quality
        ],
    }
    write_json(path, content)
