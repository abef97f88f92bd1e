"""Index -> the table of similar products, and groups of the same product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs
from simprod_tf.data.tables import write_table
from simprod_tf.errors import SimprodError
from simprod_tf.index.base import Index
from simprod_tf.matching.candidates import candidate_blocks
from simprod_tf.matching.decisions import Decisions
from simprod_tf.matching.group_edges import FARTHEST, LINKED, EdgeCollector
from simprod_tf.matching.group_ids import group_by_id
from simprod_tf.matching.grouping import Groups, extend_groups, group_matches
from simprod_tf.matching.keys import KeyGroups, KeyReport, key_columns
from simprod_tf.matching.linkage import LinkageRule
from simprod_tf.matching.matcher import (
    KEEP,
    MatchCounts,
    match_blocks,
    write_matches,
)
from simprod_tf.matching.outcome import VetoCounter
from simprod_tf.matching.rule import Limit, MatchRule
from simprod_tf.matching.views import WHOLE, Views, views_of
from simprod_tf.pipeline.match_judgement import Judge, Judgement, judged
from simprod_tf.pipeline.progress import Progress, about, silent
from simprod_tf.pipeline.threshold import LabelledRows, labelled_rows
from simprod_tf.pipeline.veto import (
    chosen_veto,
    conflicts_of,
    in_index_order,
    require_kinds,
)


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
        max_distance: a threshold stated by hand, in place of the decisions.
        union: accept a pair by picture or title alone, too, within its own threshold.
        keys: exact keys (GTIN, model number) propose candidates.
        accept_keys: a shared key is accepted, however far the two are.
        mutual: drop a pair that is a candidate in one direction alone.
        veto: kinds of conflict that make a pair different; None for those behind which
            the threshold was chosen, or by default `DEFAULT_VETO` where there is a
            catalogue.
        keep: "similar", or "all" candidates.
    """

    k: int = 10
    max_distance: float | None = None
    union: bool = False
    keys: bool = False
    accept_keys: bool = False
    mutual: bool = False
    veto: tuple[str, ...] | None = None
    keep: str = "similar"

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
class Matched:
    """What a run of matching made; `num_vetoed` candidates would be similar else."""

    counts: MatchCounts
    num_vetoed: int
    keys: dict[str, KeyReport]
    groups: Groups | None
    judgement: Judgement


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
    """

    index: Index
    decisions: Decisions | None = None
    catalog: Catalog | None = None
    pairs: Pairs | None = None
    queries: Sequence[str] | None = None
    previous: pa.Table | None = None


def match_run(
    inputs: MatchInputs,
    out: MatchOutputs,
    settings: MatchSettings,
    *,
    grouping: GroupSettings | None = None,
    progress: Progress = silent,
) -> Matched:
    """Writes the table of similar products, and with `out.groups` the groups.

    With `queries` and `previous`, the queries' products join the earlier groups or
    found new ones, and no other group changes.

    Raises:
        SimprodError: something that the settings ask for is not there.
    """
    if inputs.previous is not None:
        # Groups that cannot be read are refused before the work, not after it.
        group_by_id(inputs.previous)
    views = Views(_wanted_views(inputs.index, settings))
    table = None
    if inputs.catalog is not None:
        table = in_index_order(inputs.index, inputs.catalog)
    keys = _keys(table, settings)
    rule = _rule(inputs, views, table, settings, progress)
    judge = Judge(_labelled(inputs), _true_groups(inputs), ids=views.ids)
    edges, vetoes = EdgeCollector(rule), VetoCounter()
    blocks = candidate_blocks(
        views,
        k=settings.k,
        keys=keys,
        queries=inputs.queries,
        mutual=settings.mutual,
        progress=about(progress, "Matching products"),
    )
    tables = match_blocks(
        judge.watch(blocks),
        rule,
        ids=views.ids,
        decision=None if inputs.decisions is None else inputs.decisions.whole,
        keep=settings.keep,
        watchers=[judge, vetoes, *([edges] if out.groups is not None else [])],
    )
    counts = write_matches(tables, out.matches)
    groups = None
    if out.groups is not None:
        progress("Grouping products", 0, 1)
        groups = _grouped(
            edges.table(views.ids), inputs, grouping or GroupSettings(), progress
        )
        write_table(groups.table, out.groups)
        if out.bridges is not None:
            write_table(_with_shares(groups.bridges), out.bridges)
        progress("Grouping products", 1, 1)
    reports = {} if keys is None else keys.reports
    return Matched(counts, vetoes.num_vetoed, reports, groups, judge.judgement(groups))


def _wanted_views(index: Index, settings: MatchSettings) -> dict[str, Index]:
    """Returns the index and its views; those propose candidates, whoever decides."""
    found = views_of(index)
    if settings.union and len(found) == 1:
        raise SimprodError(
            "a union of picture and title needs an index with views: `simprod index "
            "--view image --view text`."
        )
    return found


def _keys(catalog: Catalog | None, settings: MatchSettings) -> KeyGroups | None:
    if not (settings.keys or settings.accept_keys):
        return None
    if catalog is None:
        raise SimprodError("keys are read from the catalogue: give --catalog.")
    columns = key_columns(catalog.attributes.column_names)
    if not columns:
        raise SimprodError(
            "the catalogue has no column of keys; they are called gtin, ean, upc, "
            "barcode, model, model_number, modelno or mpn."
        )
    return KeyGroups.of_columns(catalog.attributes, columns)


def _rule(
    inputs: MatchInputs,
    views: Views,
    catalog: Catalog | None,
    settings: MatchSettings,
    progress: Progress,
) -> MatchRule:
    limits = _limits(inputs, views, catalog, settings)
    veto = chosen_veto(settings.veto, inputs.decisions, catalog)
    return MatchRule(
        limits,
        union=settings.union,
        accept_keys=settings.accept_keys,
        mutual=settings.mutual,
        conflicts=conflicts_of(catalog, veto, progress),
    )


def _limits(
    inputs: MatchInputs,
    views: Views,
    catalog: Catalog | None,
    settings: MatchSettings,
) -> dict[str, Limit]:
    decisions = inputs.decisions
    if decisions is not None:
        # Of a distance stated by hand the probabilities come from them.
        decisions.require_for(inputs.index.encoder_fingerprint)
    if settings.max_distance is not None:
        if settings.union:
            raise SimprodError(
                "a union needs a threshold for each view, which --decision holds; a "
                "stated distance is one for whole products."
            )
        return {WHOLE: settings.max_distance}
    if decisions is None:
        raise SimprodError(
            "there is no threshold: choose one with `simprod threshold` and give it "
            "as --decision, or state --max-distance."
        )
    chosen = decisions.limits(catalog)
    limits = {view: limit for view, limit in chosen.items() if view in views.names}
    if settings.union and len(limits) == 1:
        reasons = [f" {view}: {why}" for view, why in decisions.refused.items()]
        raise SimprodError(
            "a union needs a threshold for pictures or titles alone, too, and there is "
            "none; `simprod threshold` chooses them on an index with views, for "
            f"--decision.{''.join(reasons)}"
        )
    return limits


def _labelled(inputs: MatchInputs) -> LabelledRows | None:
    """Returns the labelled pairs that can be candidates: of all, or of the queries."""
    if inputs.pairs is None:
        return None
    pairs = inputs.pairs
    if inputs.queries is not None:
        asked = set(inputs.queries)
        both = zip(pairs.anchor_ids, pairs.other_ids)
        pairs = pairs.where(np.array([bool(asked & {*pair}) for pair in both], bool))
        if not len(pairs):
            raise SimprodError(
                f"none of the {len(inputs.pairs)} labelled pairs has one of the "
                "products that are asked for; leave the pairs out."
            )
    return labelled_rows(inputs.index, pairs)


def _true_groups(inputs: MatchInputs) -> dict[str, str]:
    """Returns the catalogue's own groups of the products that can be grouped."""
    if inputs.catalog is None:
        return {}
    judged = set(inputs.index.ids)
    if inputs.queries is not None and inputs.previous is None:
        judged &= set(inputs.queries)
    pairs = zip(inputs.catalog.ids, inputs.catalog.groups)
    return {str(id): str(group) for id, group in pairs if group and id in judged}


def _grouped(
    table: pa.Table, inputs: MatchInputs, settings: GroupSettings, progress: Progress
) -> Groups:
    rule, told = settings.rule(), about(progress, "Grouping products")
    if inputs.queries is None or inputs.previous is None:
        return group_matches(
            table,
            linkage=rule.linkage,
            max_distance=rule.max_distance,
            max_size=rule.max_size,
            missing_distance=rule.missing_distance,
            mutual=settings.mutual,
            previous=inputs.previous,
            progress=told,
        )
    # The queries are new products, or changed ones: these leave the group that they
    # were in, as do those that the index lacks by now.
    stay = set(inputs.index.ids) - set(inputs.queries)
    held = [str(id) in stay for id in inputs.previous["id"].to_pylist()]
    return extend_groups(
        inputs.previous.filter(pa.array(held, pa.bool_())),
        table,
        linkage=rule.linkage,
        max_distance=rule.max_distance,
        max_size=rule.max_size,
        missing_distance=rule.missing_distance,
        progress=told,
    )


def _with_shares(bridges: pa.Table) -> pa.Table:
    """Calls the distance what it is: a share of the limit."""
    names = ["share_of_limit" if n == "distance" else n for n in bridges.column_names]
    return bridges.rename_columns(names)


def described(matched: Matched) -> list[str]:
    """Returns what was made, and how it was judged, in sentences."""
    counts = matched.counts
    line = f"{counts.num_similar} matches"
    if counts.num_rows > counts.num_similar:
        line += f" among {counts.num_rows} candidates"
    line += f"; {counts.num_queries} products have one"
    if counts.by_reason:
        by = ", ".join(f"{name} {count}" for name, count in counts.by_reason.items())
        line += f"; reasons: {by}"
    if matched.num_vetoed:
        line += f"; {matched.num_vetoed} more are within the threshold, but vetoed"
    lines = [line]
    for kind, report in matched.keys.items():
        lines.append(
            f"Keys ({kind}): {report.num_shared} shared by several products, "
            f"{report.num_invalid} of {report.num_values} values are none, "
            f"{report.num_placeholders} placeholders left out"
        )
    if (groups := matched.groups) is not None:
        lines.append(
            f"{groups.num_groups} groups with {groups.table.num_rows} products; "
            f"{groups.bridges.num_rows} accepted pairs lie between groups; "
            f"{groups.num_split} groups were above the cap"
        )
    return lines + judged(matched.judgement)
