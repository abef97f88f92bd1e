"""Index -> the table of similar products, and groups of the same product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from simprod_tf.data.tables import write_table
from simprod_tf.errors import SimprodError
from simprod_tf.matching.candidates import candidate_blocks
from simprod_tf.matching.group_edges import EdgeCollector
from simprod_tf.matching.group_ids import group_by_id
from simprod_tf.matching.grouping import Groups, extend_groups, group_matches
from simprod_tf.matching.keys import KeyReport
from simprod_tf.matching.matcher import MatchCounts, match_blocks, write_matches
from simprod_tf.matching.outcome import VetoCounter
from simprod_tf.pipeline.decider import tables_of, trained_on
from simprod_tf.pipeline.match_judgement import Judge, Judgement, judged
from simprod_tf.pipeline.match_rule import curve_of, keys_of, rule_of, views_for
from simprod_tf.pipeline.match_settings import (
    GroupSettings,
    MatchInputs,
    MatchOutputs,
    MatchSettings,
)
from simprod_tf.pipeline.match_words import counts_line, groups_line
from simprod_tf.pipeline.progress import Progress, about, silent
from simprod_tf.pipeline.threshold import LabelledRows, labelled_rows
from simprod_tf.pipeline.veto import in_index_order

__all__ = [
    "GroupSettings",
    "MatchInputs",
    "MatchOutputs",
    "MatchSettings",
    "Matched",
    "described",
    "match_run",
]


@dataclass(frozen=True, eq=False)
class Matched:
    """What a run of matching made; `num_vetoed` candidates would be similar else."""

    counts: MatchCounts
    num_vetoed: int
    keys: dict[str, KeyReport]
    groups: Groups | None
    judgement: Judgement


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
    table = None
    if inputs.catalog is not None:
        table = in_index_order(inputs.index, inputs.catalog)
    keys = keys_of(table, settings)
    tables = tables_of(table, settings.tables)
    rule = rule_of(inputs, table, settings, progress)
    views = views_for(
        inputs, table, settings, keys=keys, tables=tables, progress=progress
    )
    judge = _judge(inputs)
    edges, vetoes = EdgeCollector(rule), VetoCounter()
    blocks = candidate_blocks(
        views,
        k=settings.k,
        keys=keys,
        queries=inputs.queries,
        mutual=settings.mutual,
        tables=tables,
        progress=about(progress, "Matching products"),
    )
    decided = match_blocks(
        judge.watch(blocks),
        rule,
        ids=views.ids,
        decision=curve_of(inputs),
        keep=settings.keep,
        watchers=[judge, vetoes, *([edges] if out.groups is not None else [])],
    )
    counts = write_matches(decided, out.matches)
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


def _judge(inputs: MatchInputs) -> Judge:
    labelled, ids, seen = _labelled(inputs), inputs.index.ids, 0
    if labelled is not None and inputs.decider is not None:
        seen = int(trained_on(inputs.decider, ids, labelled.rows).sum())
    return Judge(labelled, _true_groups(inputs), ids=ids, trained_on=seen)


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
    lines = [counts_line(matched.counts, matched.num_vetoed)]
    for kind, report in matched.keys.items():
        lines.append(
            f"Keys ({kind}): {report.num_shared} shared by several products, "
            f"{report.num_invalid} of {report.num_values} values are none, "
            f"{report.num_placeholders} placeholders left out"
        )
    if (groups := matched.groups) is not None:
        lines.append(
            groups_line(
                groups.num_groups,
                num_products=groups.table.num_rows,
                num_bridges=groups.bridges.num_rows,
                num_split=groups.num_split,
            )
        )
    return lines + judged(matched.judgement)
