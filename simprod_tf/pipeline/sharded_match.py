"""Sharded index -> the table of similar products, on one machine or on many.

Every block of queries is searched in every shard, the shards' answers are merged, and
each block is decided upon by itself; only mutual pairs and traits go through SQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simprod_tf.data.catalog_shards import catalog_files
from simprod_tf.data.tables import require_table_place
from simprod_tf.engine.base import Engine
from simprod_tf.engine.units import file_facts, unfinished
from simprod_tf.errors import InputError, SimprodError
from simprod_tf.index.folder import IDS_NAME
from simprod_tf.index.sharded import ShardedIndex, load_shard
from simprod_tf.matching.decisions import Decisions
from simprod_tf.matching.matcher import MatchCounts
from simprod_tf.pipeline.catalog_traits import Wanted
from simprod_tf.pipeline.earlier_groups import require_groups
from simprod_tf.pipeline.match_settings import (
    GroupSettings,
    MatchOutputs,
    MatchSettings,
    no_threshold,
)
from simprod_tf.pipeline.match_words import counts_line, groups_line
from simprod_tf.pipeline.progress import Progress, silent
from simprod_tf.pipeline.shard_decide import DecidePlan, sum_of_counts
from simprod_tf.pipeline.shard_job import ShardJob
from simprod_tf.pipeline.shard_search import BLOCK_ROWS, query_blocks
from simprod_tf.pipeline.veto import chosen_veto, no_catalog
from simprod_tf.shards import publish

if TYPE_CHECKING:
    from simprod_tf.pipeline.group_job import GroupFiles

MATCHES_KIND, GROUPS_KIND, BRIDGES_KIND = "matches", "groups", "bridges"


@dataclass(frozen=True)
class ShardedInputs:
    """What a run of matching on shards starts from.

    Attributes:
        index: the products.
        decisions: thresholds for its embeddings; None with a stated distance.
        catalog: a file or a folder: titles and categories, for vetoes and thresholds.
        only: a table with the column `id`: products to find similar ones for.
        previous: an earlier run's groups, a file or a folder, whose names persist.
    """

    index: ShardedIndex
    decisions: Decisions | None = None
    catalog: Path | None = None
    only: Path | None = None
    previous: Path | None = None


@dataclass(frozen=True)
class ShardedMatched:
    """What a run of matching on shards made."""

    counts: MatchCounts
    num_vetoed: int
    groups: GroupFiles | None


def match_shards(
    engine: Engine,
    inputs: ShardedInputs,
    out: MatchOutputs,
    settings: MatchSettings,
    *,
    grouping: GroupSettings | None = None,
    block_rows: int = BLOCK_ROWS,
    progress: Progress = silent,
) -> ShardedMatched:
    """Writes the table of similar products, and with `out.groups` the groups.

    The rows are those of `match_run` on one index of the same products, in the
    catalogue's order. A run that was interrupted goes on.

    Args:
        engine: where it runs.
        inputs: what it starts from.
        out: each a .parquet or .csv file, or a folder of shards.
        settings: those that need all products in one memory are refused.
        grouping: how groups are made.
        block_rows: queries that are worked on together.
        progress: told how far the work is.

    Raises:
        SimprodError: something that the settings ask for is not there.
    """
    require_sharded(settings)
    if inputs.previous is not None:
        # Groups that cannot be read are refused before the work, not after it.
        require_groups(inputs.previous)
    for path, kind in _places(out):
        require_table_place(path, kind=kind)
    plan = _decide_plan(inputs, settings, edges=out.groups is not None)
    wanted = _wanted(plan, inputs.decisions)
    grouping = grouping or GroupSettings()
    facts = _facts(inputs, settings, grouping, block_rows=block_rows)
    with unfinished(out.matches, facts) as folder:
        try:
            job = ShardJob(engine, inputs.index, settings.k, folder, progress)
            asked = job.asked(inputs.only)
            blocks = query_blocks(
                inputs.index.shards, rows_files=asked, block_rows=block_rows
            )
            nearest = job.nearest(blocks)
            mutual = {}
            if settings.mutual:
                mutual = job.mutual(blocks, nearest, block_rows=block_rows)
            traits = job.traits(inputs.catalog, wanted, nearest)
            decided = job.decided(plan, blocks, nearest, mutual, traits)
        finally:
            load_shard.cache_clear()
        groups = None
        if out.groups is not None:
            groups = _grouped(engine, inputs, decided, grouping, folder, progress)
        _publish(decided, groups, out, inputs.index)
    num_vetoed = sum(one["num_vetoed"] for one in decided)
    return ShardedMatched(sum_of_counts(decided), num_vetoed, groups)


def require_sharded(settings: MatchSettings) -> None:
    """Refuses what needs all products in one memory.

    Raises:
        SimprodError: names the option and the way out.
    """
    asked = {
        "--union": settings.union,
        "--keys": settings.keys,
        "--accept-keys": settings.accept_keys,
        "--tables": bool(settings.tables),
    }
    for option, is_asked in asked.items():
        if is_asked:
            raise needs_one_memory(option)


def needs_one_memory(option: str) -> SimprodError:
    """Returns the error for an option that does not go with shards."""
    return SimprodError(
        f"{option} needs all products in one memory, so it goes neither with a "
        "sharded index nor with --engine spark: leave it out, or match an index that "
        "was made without --shards on the embedded engine."
    )


def described_shards(matched: ShardedMatched) -> list[str]:
    """Returns what was made, in sentences."""
    lines = [counts_line(matched.counts, matched.num_vetoed)]
    groups = matched.groups
    if groups is not None:
        lines.append(
            groups_line(
                groups.num_groups,
                num_products=groups.num_products,
                num_bridges=groups.num_bridges,
                num_split=groups.num_split,
            )
        )
        if groups.num_set_aside:
            lines.append(
                f"{groups.num_set_aside} accepted pairs were set aside where more "
                "products hang together than one task can hold"
            )
    return lines


def _decide_plan(
    inputs: ShardedInputs, settings: MatchSettings, *, edges: bool
) -> DecidePlan:
    """Returns what decides, checked before any work."""
    decisions, by_category = inputs.decisions, None
    if decisions is not None:
        decisions.require_for(inputs.index.encoder_fingerprint)
    limit = settings.max_distance
    if limit is None:
        if decisions is None:
            raise no_threshold()
        decision = decisions.whole
        limit = decision.max_distance
        if decision.by_category:
            by_category = decision
            if inputs.catalog is None:
                raise SimprodError(
                    f"thresholds go by {decisions.category!r}, which is read from the "
                    "catalogue: give --catalog."
                )
    veto = chosen_veto(settings.veto, decisions, inputs.catalog)
    if veto and inputs.catalog is None:
        raise no_catalog(veto)
    return DecidePlan(
        limit,
        by_category,
        None if decisions is None else decisions.whole,
        mutual=settings.mutual,
        veto=veto,
        keep=settings.keep,
        edges=edges,
    )


def _wanted(plan: DecidePlan, decisions: Decisions | None) -> Wanted:
    """Returns what of the catalogue decides."""
    category, limits = "", [plan.limit]
    if plan.by_category is not None and decisions is not None:
        category = decisions.category
        limits += plan.by_category.by_category.values()
    return Wanted(category, max(limits) if plan.veto else None)


def _places(out: MatchOutputs) -> list[tuple[Path, str]]:
    found = (
        (out.matches, MATCHES_KIND),
        (out.groups, GROUPS_KIND),
        (out.bridges, BRIDGES_KIND),
    )
    return [(path, kind) for path, kind in found if path is not None]


def _facts(
    inputs: ShardedInputs,
    settings: MatchSettings,
    grouping: GroupSettings,
    *,
    block_rows: int,
) -> dict[str, Any]:
    """Returns all that the tables depend on."""
    decisions = inputs.decisions
    return {
        "job": "match",
        "index": inputs.index.facts(),
        "decisions": None
        if decisions is None
        else {view: one.to_json() for view, one in decisions.by_view.items()},
        "decided by": None
        if decisions is None
        else [decisions.category, decisions.veto],
        "catalog": None
        if inputs.catalog is None
        else [file_facts(file) for file in catalog_files(inputs.catalog)],
        "only": _table_facts(inputs.only),
        "previous": _table_facts(inputs.previous),
        "settings": asdict(settings),
        "grouping": asdict(grouping),
        "block_rows": block_rows,
    }


def _table_facts(path: Path | None) -> list[Any] | None:
    if path is None:
        return None
    if not path.exists():
        raise InputError("there is no such file.", path=path)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file_facts(file) for file in files]


def _grouped(
    engine: Engine,
    inputs: ShardedInputs,
    decided: Sequence[Mapping[str, Any]],
    grouping: GroupSettings,
    folder: Path,
    progress: Progress,
) -> GroupFiles:
    from simprod_tf.pipeline.group_job import Joining, group_edges_job

    joining = None
    if inputs.only is not None and inputs.previous is not None:
        products = [Path(one.folder) / IDS_NAME for one in inputs.index.shards]
        joining = Joining(queries=[folder / "only" / "ids.parquet"], products=products)
    return group_edges_job(
        engine,
        [Path(one["edges"]) for one in decided],
        settings=grouping,
        folder=folder / "groups",
        previous=inputs.previous,
        joining=joining,
        progress=progress,
    )


def _publish(
    decided: Sequence[Mapping[str, Any]],
    groups: GroupFiles | None,
    out: MatchOutputs,
    index: ShardedIndex,
) -> None:
    facts = {"encoder_fingerprint": index.encoder_fingerprint}
    if groups is not None and out.groups is not None:
        publish(groups.groups, out.groups, kind=GROUPS_KIND, facts=facts)
        if out.bridges is not None:
            publish(groups.bridges, out.bridges, kind=BRIDGES_KIND, facts=facts)
    files = [Path(one["matches"]) for one in decided]
    publish(files, out.matches, kind=MATCHES_KIND, facts=facts)
