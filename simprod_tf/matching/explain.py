"""Why two products are taken for similar, or not: all that speaks for and against it.

The distance of whole products decides, or a pair decider's; those of pictures and
titles alone, tokens, traits and the decider's features show what it may come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from simprod_tf.data.catalog import Product
from simprod_tf.matching.conflicts import Comparison, compare
from simprod_tf.matching.views import DECIDER, IMAGE, TEXT, WHOLE, deciding

# The views that every explanation is about.
EXPLAINED = (WHOLE, IMAGE, TEXT)

SIMILAR, NOT_SIMILAR, UNDECIDED = "similar", "not similar", "undecided"


class Contribution(Protocol):
    """What one feature of a pair adds to a decider's log-odds."""

    @property
    def feature(self) -> str:
        """Its name."""

    @property
    def value(self) -> float:
        """Its value for the pair; NaN where it is not known."""

    @property
    def log_odds(self) -> float:
        """What it adds: above 0 it speaks for the two being similar."""

    @property
    def stated(self) -> str:
        """The value in words; "" of what all pairs have in common."""


@dataclass(frozen=True)
class Standing:
    """Where one distance stands.

    Attributes:
        view: one of `EXPLAINED`, or "decider", whose distance is 1 - probability.
        distance: None where it cannot be told.
        threshold: None where there is none.
        missing: why there is no distance, or "".
    """

    view: str
    distance: float | None
    threshold: float | None
    missing: str = ""

    @property
    def below(self) -> bool | None:
        """Whether the distance is within the threshold; None where that is unknown."""
        if self.distance is None or self.threshold is None:
            return None
        return self.distance <= self.threshold

    def __str__(self) -> str:
        """Returns "0.412, 0.088 below the threshold 0.500", or what is missing."""
        if self.distance is None:
            return f"not known: {self.missing}" if self.missing else "not known"
        if self.threshold is None:
            return f"{self.distance:.3f}"
        side = "below" if self.below else "above"
        apart = abs(self.threshold - self.distance)
        return (
            f"{self.distance:.3f}, {apart:.3f} {side} the threshold "
            f"{self.threshold:.3f}"
        )


@dataclass(frozen=True)
class Explanation:
    """Two products side by side.

    Attributes:
        this, that: the products.
        standings: one for each of `EXPLAINED`, in that order; before them, where there
            is a decider, its own. The first one decides.
        shared_tokens: words of both titles, in the order of the first.
        this_tokens, that_tokens: words of one title alone.
        traits: what both state, and whether they agree.
        contributions: of the decider's features, strongest first; () without one.
    """

    this: Product
    that: Product
    standings: tuple[Standing, ...]
    shared_tokens: tuple[str, ...]
    this_tokens: tuple[str, ...]
    that_tokens: tuple[str, ...]
    traits: tuple[Comparison, ...]
    contributions: tuple[Contribution, ...] = ()

    @property
    def conflicts(self) -> tuple[Comparison, ...]:
        """The traits in which the two differ."""
        return tuple(one for one in self.traits if one.differs)

    @property
    def verdict(self) -> str:
        """SIMILAR or NOT_SIMILAR by the distance that decides, or UNDECIDED."""
        below = self.standings[0].below
        if below is None:
            return UNDECIDED
        return SIMILAR if below else NOT_SIMILAR

    @property
    def sentence(self) -> str:
        """The verdict with its reason, and the conflicts that it passes over."""
        first = self.standings[0]
        whose = "pair decider's " if first.view == DECIDER else ""
        reason = f"the {whose}distance is {first}"
        if first.distance is not None and first.threshold is None:
            reason += ", and there is no threshold"
        conflicts = "; ".join(
            f"{one.kind} {one.this} against {one.that}" for one in self.conflicts
        )
        but = f" In conflict: {conflicts}." if conflicts else ""
        return f"{self.verdict.capitalize()}: {reason}.{but}"


def explain(
    this: Product,
    that: Product,
    *,
    distances: Mapping[str, float | None],
    thresholds: Mapping[str, float | None],
    tokens: tuple[Sequence[str], Sequence[str]] = ((), ()),
    missing: Mapping[str, str] | None = None,
    contributions: Sequence[Contribution] = (),
) -> Explanation:
    """Returns what speaks for and against the two being similar.

    Args:
        this: one product.
        that: the other one.
        distances: by view; left out or None where there is none.
        thresholds: by view, likewise. That of whole products decides, or the decider's
            where there is a distance by "decider".
        tokens: the words of the two titles, as `features.text.title_words` has them.
        missing: by view, why it has no distance.
        contributions: of the decider's features, strongest first.
    """
    views = EXPLAINED if deciding(distances) == WHOLE else (DECIDER, *EXPLAINED)
    unknown = [one for one in (*distances, *thresholds) if one not in views]
    if unknown:
        raise ValueError(f"a view is one of {views}, got {unknown[0]!r}.")
    these, those = (dict.fromkeys(words) for words in tokens)
    reasons = missing or {}
    return Explanation(
        this,
        that,
        tuple(
            Standing(one, distances.get(one), thresholds.get(one), reasons.get(one, ""))
            for one in views
        ),
        tuple(word for word in these if word in those),
        tuple(word for word in these if word not in those),
        tuple(word for word in those if word not in these),
        tuple(compare(this, that)),
        tuple(contributions),
    )
