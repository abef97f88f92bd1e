"""Index -> the table of similar products, and groups of the same product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs
from simprod_tf.data.tables import write_table
from simprod_tf.errors import SimprodError
from simprod_tf.evaluation.group_metrics import (
    GroupedPairMetrics,
    GroupMetrics,
    group_metrics,
    grouped_pair_metrics,
)
from simprod_tf.index.base import Index
from simprod_tf.matching.candidate_recall import CandidateRecall, RecallCounter
from simprod_tf.matching.candidates import candidate_blocks
from simprod_tf.matching.conflicts import TraitTable
from simprod_tf.matching.decisions import Decisions
from simprod_tf.matching.group_edges import LINKED, EdgeCollector
from simprod_tf.matching.grouping import Groups, extend_groups, group_matches
from simprod_tf.matching.keys import KeyGroups, KeyReport, key_columns
from simprod_tf.matching.matcher import MatchCounts, match_blocks, write_matches
from simprod_tf.matching.outcome import Outcome, OutcomeCounter
from simprod_tf.matching.rule import Conflicts, Limit, MatchRule
from simprod_tf.matching.traits import KINDS
from simprod_tf.matching.views import WHOLE, Views
from simprod_tf.pipeline.index import views_of
from simprod_tf.pipeline.progress import Progress, about, silent
from simprod_tf.pipeline.threshold import LabelledRows, labelled_rows


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
        veto: kinds of conflict that make a pair different.
        keep: "similar", or "all" candidates.
    """

    k: int = 10
    max_distance: float | None = None
    union: bool = False
    keys: bool = False
    accept_keys: bool = False
    mutual: bool = False
    veto: tuple[str, ...] = ()
    keep: str = "similar"

    def __post_init__(self) -> None:
        """Refuses conflicts that there are not."""
        if unknown := set(self.veto) - set(KINDS):
            raise ValueError(
                f"a conflict is one of {', '.join(KINDS)}, got {min(unknown)!r}."
            )

    @property
    def needs_catalog(self) -> bool:
        """Whether more is asked than the index holds."""
        return self.keys or self.accept_keys or bool(self.veto)


@dataclass(frozen=True)
class MatchOutputs:
    """Where the tables go, .parquet or .csv; None for those not wanted."""

    matches: Path
    groups: Path | None = None
    bridges: Path | None = None


@dataclass(frozen=True, eq=False)
class Judgement:
    """What came out for labelled pairs, and for products of known groups.

    Attributes:
        candidates: how many of the similar pairs are candidates: what the decision
            can reach at most.
        decision: of the labelled pairs.
        left_out: labelled pairs of which the index lacks a product.
        grouped: of the labelled pairs, after grouping.
        groups: found groups against true ones.
    """

    candidates: CandidateRecall | None = None
    decision: Outcome | None = None
    left_out: int = 0
    grouped: GroupedPairMetrics | None = None
    groups: GroupMetrics | None = None


@dataclass(frozen=True, eq=False)
class Matched:
    """What a run of matching made."""

    counts: MatchCounts
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
        pairs: Labelled pairs, to judge the decision by; they change nothing.
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
    views = Views(_wanted_views(inputs.index, settings))
    table = _in_index_order(inputs.index, inputs.catalog, settings)
    keys = _keys(table, settings)
    rule = _rule(inputs, views, table, settings)
    labelled = (
        None if inputs.pairs is None else labelled_rows(inputs.index, inputs.pairs)
    )
    recall, outcome = _counters(labelled, len(views))
    edges = EdgeCollector(rule)
    blocks = candidate_blocks(
        views,
        k=settings.k,
        keys=keys,
        queries=inputs.queries,
        mutual=settings.mutual,
        progress=about(progress, "Matching products"),
    )
    tables = match_blocks(
        recall.watch(blocks),
        rule,
        ids=views.ids,
        decision=None if inputs.decisions is None else inputs.decisions.whole,
        keep=settings.keep,
        watchers=[outcome, *([edges] if out.groups is not None else [])],
    )
    counts = write_matches(tables, out.matches)
    groups = None
    if out.groups is not None:
        progress("Grouping products", 0, 1)
        groups = _grouped(edges.table(views.ids), inputs, grouping or GroupSettings())
        write_table(groups.table, out.groups)
        if out.bridges is not None:
            write_table(_with_shares(groups.bridges), out.bridges)
        progress("Grouping products", 1, 1)
    judgement = _judgement(inputs, labelled, recall, outcome, groups)
    return Matched(counts, {} if keys is None else keys.reports, groups, judgement)


def _wanted_views(index: Index, settings: MatchSettings) -> dict[str, Index]:
    """Returns the index and its views; those propose candidates, whoever decides."""
    found = views_of(index)
    if settings.union and len(found) == 1:
        raise SimprodError(
            "a union of picture and title needs an index with views: `simprod index "
            "--view image --view text`."
        )
    return found


def _in_index_order(
    index: Index, catalog: Catalog | None, settings: MatchSettings
) -> Catalog | None:
    """Returns the catalogue's products as the rows of the index."""
    if catalog is None:
        if settings.needs_catalog:
            raise SimprodError(
                "keys and conflicts are read from the catalogue: give --catalog."
            )
        return None
    missing = [id for id in index.ids if id not in catalog]
    if missing:
        raise SimprodError(
            f"the catalogue lacks {len(missing)} products of the index, "
            f"{missing[0]!r} among them; give the one that was indexed."
        )
    return catalog.take(catalog.rows_of(list(index.ids)))


def _keys(catalog: Catalog | None, settings: MatchSettings) -> KeyGroups | None:
    if catalog is None or not (settings.keys or settings.accept_keys):
        return None
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
) -> MatchRule:
    conflicts: Conflicts | None = None
    if settings.veto and catalog is not None:
        conflicts = partial(TraitTable(catalog).conflicting, kinds=settings.veto)
    return MatchRule(
        _limits(inputs, views, catalog, settings),
        union=settings.union,
        accept_keys=settings.accept_keys,
        mutual=settings.mutual,
        conflicts=conflicts,
    )


def _limits(
    inputs: MatchInputs,
    views: Views,
    catalog: Catalog | None,
    settings: MatchSettings,
) -> dict[str, Limit]:
    decisions = inputs.decisions
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
    for decision in decisions.by_view.values():
        decision.require_for(inputs.index.encoder_fingerprint)
    limits: dict[str, Limit] = {}
    for view, decision in decisions.by_view.items():
        if view in views.names:
            limits[view] = decision.max_distance
            if decision.by_category:
                if catalog is None:
                    raise SimprodError(
                        f"thresholds go by {decisions.category!r}, which is read from "
                        "the catalogue: give --catalog."
                    )
                limits[view] = decision.limits(catalog.column(decisions.category))
    return limits


def _counters(
    labelled: LabelledRows | None, num_products: int
) -> tuple[RecallCounter, OutcomeCounter]:
    rows = np.empty((0, 2), np.int64) if labelled is None else labelled.rows
    labels = np.empty(0, np.int64) if labelled is None else labelled.labels
    return (
        RecallCounter(rows[labels == 1], num_products=num_products),
        OutcomeCounter(rows, labels, num_products=num_products),
    )


def _grouped(table: pa.Table, inputs: MatchInputs, settings: GroupSettings) -> Groups:
    if inputs.queries is None or inputs.previous is None:
        return group_matches(
            table,
            linkage=settings.linkage,
            max_distance=LINKED,
            max_size=settings.max_size,
            mutual=settings.mutual,
            previous=inputs.previous,
        )
    # New products, or changed ones: these leave the group that they were in.
    asked = pa.array(list(inputs.queries), pa.string())
    stay = pc.invert(pc.is_in(inputs.previous["id"], asked))
    return extend_groups(
        inputs.previous.filter(stay),
        table,
        linkage=settings.linkage,
        max_distance=LINKED,
        max_size=settings.max_size,
    )


def _with_shares(bridges: pa.Table) -> pa.Table:
    """Calls the distance what it is: a share of the limit."""
    names = ["share_of_limit" if n == "distance" else n for n in bridges.column_names]
    return bridges.rename_columns(names)


def _judgement(
    inputs: MatchInputs,
    labelled: LabelledRows | None,
    recall: RecallCounter,
    outcome: OutcomeCounter,
    groups: Groups | None,
) -> Judgement:
    truth = _true_groups(inputs)
    known = None if groups is None or not truth else group_metrics(groups.table, truth)
    if labelled is None:
        return Judgement(groups=known)
    ids = inputs.index.ids
    pairs = [(ids[a], ids[b]) for a, b in labelled.rows.tolist()]
    return Judgement(
        candidates=recall.recall(),
        decision=outcome.outcome(),
        left_out=labelled.left_out,
        grouped=None
        if groups is None
        else grouped_pair_metrics(groups.table, pairs, labels=labelled.labels),
        groups=known,
    )


def _true_groups(inputs: MatchInputs) -> dict[str, str]:
    """Returns the catalogue's own groups of the products in the index."""
    if inputs.catalog is None:
        return {}
    pairs = zip(inputs.catalog.ids, inputs.catalog.groups)
    return {str(id): str(group) for id, group in pairs if group and id in inputs.index}


def described(matched: Matched) -> list[str]:
    """Returns what was made, and how it was judged, in sentences."""
    counts, judged = matched.counts, matched.judgement
    lines = [
        f"{counts.num_similar} matches; {counts.num_queries} products have one"
        + "".join(f"; {name} {n}" for name, n in counts.by_reason.items())
    ]
    for kind, report in matched.keys.items():
        lines.append(
            f"Keys ({kind}): {report.num_shared} shared by several products, "
            f"{report.num_invalid} of {report.num_values} values are none, "
            f"{report.num_placeholders} placeholders left out"
        )
    if matched.groups is not None:
        lines.append(
            f"{matched.groups.num_groups} groups with {matched.groups.table.num_rows} "
            f"products; {matched.groups.bridges.num_rows} accepted pairs lie between "
            f"groups; {matched.groups.num_split} groups were above the cap"
        )
    if judged.candidates is not None:
        by = ", ".join(f"{n} {r:.3f}" for n, r in judged.candidates.recall_by.items())
        lines.append(
            f"Labelled pairs: {judged.candidates.recall:.3f} of the "
            f"{judged.candidates.num_positives} similar ones are candidates ({by})"
            + (
                f"; {judged.left_out} pairs are not in the index"
                * bool(judged.left_out)
            )
        )
    if judged.decision is not None:
        lines.append(_measured("Decision", judged.decision))
    if judged.grouped is not None:
        lines.append(_measured("After grouping", judged.grouped))
    if judged.groups is not None:
        found = judged.groups
        lines.append(
            f"Groups against the catalogue's own: B-cubed precision "
            f"{found.b_cubed_precision:.3f}, recall {found.b_cubed_recall:.3f}, F1 "
            f"{found.b_cubed_f1:.3f}; the largest holds {found.largest}"
        )
    return lines


def _measured(what: str, found: Outcome | GroupedPairMetrics) -> str:
    return (
        f"{what}: precision {found.precision:.3f}, recall {found.recall:.3f} of the "
        "labelled pairs"
    )
