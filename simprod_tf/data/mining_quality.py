"""How often mined pairs are right, judged by the hand-labelled pairs among them.

Intervals are Wilson's (1927, "Probable inference, the law of succession, and
statistical inference", https://doi.org/10.1080/01621459.1927.10502953), which hold up
with few pairs and at shares near 0 and 1. They take pairs for independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from simprod_tf.data.events import EventLog
from simprod_tf.data.mining import MiningSettings, define_mined
from simprod_tf.data.pairs import Pairs

# Of the standard normal distribution: 95 % lie within.
_WITHIN = 1.959964


@dataclass(frozen=True)
class Precision:
    """How many of the pairs that hand labels know are right; 95 % bounds.

    With none of them known, `share`, `low` and `high` are NaN.
    """

    right: int
    known: int

    @property
    def share(self) -> float:
        """The share that is right, in [0, 1]."""
        return self.right / self.known if self.known else math.nan

    @property
    def low(self) -> float:
        """The lower bound of Wilson's interval."""
        return self._bounds()[0]

    @property
    def high(self) -> float:
        """The upper bound of Wilson's interval."""
        return self._bounds()[1]

    def __str__(self) -> str:
        """Returns, say, `0.750 [0.301, 0.954] of 4`, or `none known`."""
        if not self.known:
            return "none known"
        return f"{self.share:.3f} [{self.low:.3f}, {self.high:.3f}] of {self.known:,}"

    def _bounds(self) -> tuple[float, float]:
        if not self.known:
            return math.nan, math.nan
        square = _WITHIN**2 / self.known
        middle = self.share + square / 2
        half = math.sqrt(square * (self.share * (1 - self.share) + square / 4))
        low, high = (middle - half) / (1 + square), (middle + half) / (1 + square)
        # Rounding must not push a bound past 0, 1 or the share itself.
        return min(max(low, 0.0), self.share), max(min(high, 1.0), self.share)


@dataclass(frozen=True)
class MiningQuality:
    """What hand labels say of mined pairs, for one `negative_slots`.

    Attributes:
        negative_slots: of the mining.
        pairs: how many were mined.
        positives: the mined positives that hand labels call similar.
        negatives: the mined negatives that hand labels call not similar.
    """

    negative_slots: int
    pairs: int
    positives: Precision
    negatives: Precision


def mining_quality(
    pairs: pa.Table, hand: Pairs, *, negative_slots: int
) -> MiningQuality:
    """Returns the precision of mined pairs on those that hand labels know, too.

    Args:
        pairs: `MinedPairs.pairs`.
        hand: labelled pairs to judge by.
        negative_slots: to name in the result.
    """
    mined = pairs.select(["anchor_id", "other_id", "label"])
    both = mined.join(_table(hand), ["anchor_id", "other_id"], join_type="inner")
    labels, truth = both["label"].to_numpy(), both["hand_label"].to_numpy()
    positives, negatives = (
        Precision(
            int(np.sum(truth[labels == label] == label)), int(np.sum(labels == label))
        )
        for label in (1, 0)
    )
    return MiningQuality(negative_slots, pairs.num_rows, positives, negatives)


def quality_by_slots(
    log: EventLog,
    hand: Pairs,
    *,
    slots: Sequence[int],
    settings: MiningSettings | None = None,
    categories: pa.Table | None = None,
) -> list[MiningQuality]:
    """Returns the quality for each number of slots; the log is mined for each anew."""
    settings = settings or MiningSettings()
    found = []
    for negative_slots in slots:
        changed = replace(settings, negative_slots=negative_slots)
        define_mined(log, changed, categories=categories)
        found.append(quality_of_mined(log, hand, negative_slots=negative_slots))
    return found


def quality_of_mined(
    log: EventLog, hand: Pairs, *, negative_slots: int
) -> MiningQuality:
    """Returns the quality of the pairs that the log was mined for last."""
    engine = log.engine
    engine.load("hand_pairs", _table(hand))
    counted = engine.query("SELECT COUNT(*) AS n FROM mined WHERE outcome = 'pair'")
    known = engine.query(_KNOWN)
    quality = mining_quality(known, hand, negative_slots=negative_slots)
    return replace(quality, pairs=counted["n"][0].as_py())


# The mined pairs may be more than memory holds: of them only those that are judged.
_KNOWN = """SELECT mined.anchor_id, mined.other_id, mined.label
    FROM mined
    INNER JOIN hand_pairs ON mined.anchor_id = hand_pairs.anchor_id
        AND mined.other_id = hand_pairs.other_id
    WHERE outcome = 'pair'"""


def _table(hand: Pairs) -> pa.Table:
    return pa.table(
        {
            "anchor_id": pa.array(hand.anchor_ids, pa.string()),
            "other_id": pa.array(hand.other_ids, pa.string()),
            "hand_label": pa.array(hand.labels, pa.int8()),
        }
    )
