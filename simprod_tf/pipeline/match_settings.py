"""What a run of matching starts from, and how it shall go about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs
from simprod_tf.errors import SimprodError
from simprod_tf.index.base import Index
from simprod_tf.matching.decisions import Decisions
from simprod_tf.matching.group_edges import FARTHEST, LINKED
from simprod_tf.matching.linkage import LinkageRule
from simprod_tf.matching.matcher import KEEP
from simprod_tf.pipeline.veto import require_kinds

if TYPE_CHECKING:
    from simprod_tf.decider.decider import Decider


@dataclass(frozen=True)
class GroupSettings:
    """How groups are made.

    Attributes:
        linkage: "average", "complete" or "single".
        max_size: how many products a group may hold, at most.
        mutual: join only what is among each other's candidates.
    """

    linkage: str = "average"
    max_size: int = 50
    mutual: bool = False

    def __post_init__(self) -> None:
        """Refuses a linkage that there is not, and a cap below 1."""
        self.rule()

    def rule(self) -> LinkageRule:
        """Returns when groups are joined, distances being shares of the limit."""
        return LinkageRule(self.linkage, LINKED, FARTHEST, self.max_size)


@dataclass(frozen=True)
class MatchSettings:
    """How similar products are found and decided upon; options are off by default.

    Attributes:
        k: neighbours of a product in each view.
        max_distance: a threshold stated by hand, in place of the decisions; with a
            decider 1 - probability.
        union: accept a pair by picture or title alone, too, within its own threshold.
        keys: exact keys (GTIN, model number) propose candidates.
        accept_keys: a shared key is accepted, however far the two are.
        mutual: drop a pair that is a candidate in one direction alone.
        veto: kinds of conflict that make a pair different; None for those behind which
            the threshold was chosen, or by default `DEFAULT_VETO` where there is a
            catalogue and no decider.
        keep: "similar", or "all" candidates.
        tables: a column of the catalogue; only products of different values of it can
            be similar. "" where all can.
    """

    k: int = 10
    max_distance: float | None = None
    union: bool = False
    keys: bool = False
    accept_keys: bool = False
    mutual: bool = False
    veto: tuple[str, ...] | None = None
    keep: str = "similar"
    tables: str = ""

    def __post_init__(self) -> None:
        """Refuses what there is not."""
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}.")
        if self.keep not in KEEP:
            raise ValueError(f"keep is one of {', '.join(KEEP)}, got {self.keep!r}.")
        require_kinds(self.veto or ())


@dataclass(frozen=True)
class MatchOutputs:
    """Where the tables go, .parquet or .csv; None for those not wanted."""

    matches: Path
    groups: Path | None = None
    bridges: Path | None = None


@dataclass(frozen=True, eq=False)
class MatchInputs:
    """What a run of matching starts from.

    Attributes:
        index: The products, with its views.
        decisions: Thresholds for its embeddings; None with a stated distance.
        catalog: Titles and keys; needed by keys, vetoes and thresholds by category.
        pairs: Labelled pairs, to judge the decision by; they change nothing. Where
            there are queries, those count that have one of them.
        queries: Ids to find similar products for; None for all.
        previous: An earlier table of groups, whose names persist.
        decider: Decides upon the candidates in place of the distance of embeddings;
            without decisions up to the probability that was best on its own pairs.
    """

    index: Index
    decisions: Decisions | None = None
    catalog: Catalog | None = None
    pairs: Pairs | None = None
    queries: Sequence[str] | None = None
    previous: pa.Table | None = None
    decider: Decider | None = None


def no_threshold() -> SimprodError:
    """Returns the error of a run that has nothing to decide by."""
    return SimprodError(
        "there is no threshold: choose one with `simprod threshold` and give it "
        "as --decision, or state --max-distance."
    )
