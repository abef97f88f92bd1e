"""Edges in files -> groups in files, on any engine and in any number of machines.

The groups are those of `matching.grouping` over all edges at once. No process holds
more than the components of one work unit; what is done stays done.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from simprod_tf.engine.base import Engine
from simprod_tf.engine.units import run_units
from simprod_tf.matching.group_names import name_clusters
from simprod_tf.matching.group_unit import (
    APART,
    MEMBERS,
    GroupUnit,
    link_group_unit,
)
from simprod_tf.pipeline.earlier_groups import Joining, read_earlier
from simprod_tf.pipeline.group_partition import (
    GroupLimits,
    partition_edges,
    read_nodes,
)
from simprod_tf.pipeline.match_settings import GroupSettings
from simprod_tf.pipeline.progress import Progress, about, silent

__all__ = ["GroupFiles", "GroupLimits", "Joining", "group_edges_job"]

_LIMITS = GroupLimits()
# Of the groups that nothing new came near to: of two and more, as the others.
_UNTOUCHED = """
SELECT e.id, e.name
FROM grouping_earlier e
WHERE NOT EXISTS (SELECT 1 FROM grouping_nodes n WHERE n.id = e.id)
    AND e.name IN (SELECT name FROM grouping_earlier GROUP BY name HAVING COUNT(*) > 1)
"""
_GROUPS = """
SELECT g.id, g.name AS group
FROM (
    SELECT n.id, named.name
    FROM grouping_named named
    JOIN grouping_nodes n ON n.node = named.node
    UNION ALL
    SELECT id, name FROM grouping_untouched
) g
ORDER BY id
"""
_NAMED = """
SELECT m.node, names.name
FROM grouping_members m
JOIN grouping_names names ON names.leader = m.leader
"""
_BRIDGES = """
SELECT
    one.id AS query_id,
    other.id AS id,
    p.distance AS share_of_limit,
    of_one.name AS group,
    of_other.name AS other_group
FROM grouping_apart p
JOIN grouping_nodes one ON one.node = p.a
JOIN grouping_nodes other ON other.node = p.b
LEFT JOIN grouping_named of_one ON of_one.node = p.a
LEFT JOIN grouping_named of_other ON of_other.node = p.b
ORDER BY share_of_limit, query_id, id
"""
_COUNTS = """
SELECT
    (SELECT COUNT(*) FROM grouping_names)
    + (SELECT COUNT(DISTINCT name) FROM grouping_untouched) AS num_groups,
    (SELECT COUNT(*) FROM grouping_members)
    + (SELECT COUNT(*) FROM grouping_untouched) AS num_products,
    (SELECT COUNT(*) FROM grouping_apart) AS num_bridges
"""


@dataclass(frozen=True)
class GroupFiles:
    """The groups, in files.

    Attributes:
        groups: Parquet files of `id`, `group`, in the order of the ids over all files.
        bridges: Parquet files of `query_id`, `id`, `share_of_limit`, `group`,
            `other_group`: the accepted pairs whose ends stand in different groups, in
            the order of their shares.
        num_groups: how many groups of two and more there are.
        num_products: how many products they hold.
        num_bridges: how many pairs `bridges` has.
        num_split: how many groups were above the cap, and were split.
        num_set_aside: how many accepted pairs the linkage did not see, since a
            component was too large for one machine.
        rounds: of joins, until the components were found.
    """

    groups: list[Path]
    bridges: list[Path]
    num_groups: int
    num_products: int
    num_bridges: int
    num_split: int
    num_set_aside: int
    rounds: int


def group_edges_job(
    engine: Engine,
    edge_files: Sequence[Path],
    *,
    settings: GroupSettings,
    folder: Path,
    previous: Path | None = None,
    joining: Joining | None = None,
    limits: GroupLimits = _LIMITS,
    progress: Progress = silent,
) -> GroupFiles:
    """Returns the groups of the edges in files, as `group_matches` makes them.

    Args:
        engine: where it runs.
        edge_files: Parquet files of `query_id`, `id` and `distance` (float32, a share
            of the limit), in any order.
        settings: how groups are made.
        folder: of this job alone, and for these arguments; what is done stays in it.
        previous: the earlier groups, whose names persist: a file, or a folder of
            Parquet files.
        joining: that the edges are those of new products, which join the earlier
            groups as in `extend_groups`; goes with `previous`.
        limits: what one work unit holds.
        progress: is told how far it is.

    Raises:
        SimprodError: a table lacks a column, or holds what cannot be.
    """
    if joining is not None and previous is None:
        raise ValueError("joining needs previous, the groups to be joined.")
    place, rule = Path(os.path.abspath(folder)), settings.rule()
    read_earlier(engine, previous, joining=joining)
    progress("Connecting products", 0, 1)
    partition = partition_edges(
        engine,
        edge_files,
        max_distance=rule.max_distance,
        # As on one machine: earlier products' lists were made without the new ones.
        mutual=settings.mutual and joining is None,
        keep_earlier=joining is not None,
        limits=limits,
        folder=place,
    )
    progress("Connecting products", 1, 1)
    units = _units(place)
    records = run_units(
        engine,
        partial(link_group_unit, rule),
        units,
        folder=place / "linked",
        progress=about(progress, "Grouping products"),
    )
    _read_linked(engine, place, units, keep_earlier=joining is not None)
    return GroupFiles(
        engine.write(_GROUPS, place / "groups"),
        engine.write(_BRIDGES, place / "bridges"),
        num_split=sum(record["num_split"] for record in records.values()),
        num_set_aside=partition.num_set_aside,
        rounds=partition.rounds,
        **_counts(engine),
    )


def _units(folder: Path) -> list[GroupUnit]:
    found = {path.name for kind in _KINDS for path in (folder / kind).glob("unit=*")}
    return [_unit(folder, number) for number in sorted(found)]


_KINDS = ("pairs", "held")


def _unit(folder: Path, place: str) -> GroupUnit:
    pairs, held = (
        tuple(map(os.fspath, sorted((folder / kind / place).glob("*.parquet"))))
        for kind in _KINDS
    )
    name = f"unit-{int(place.partition('=')[2]):06d}"
    members, apart = (
        os.fspath(folder / kind / f"{name}.parquet") for kind in ("members", "apart")
    )
    return GroupUnit(name, pairs, held, members, apart)


def _read_linked(
    engine: Engine, folder: Path, units: list[GroupUnit], *, keep_earlier: bool
) -> None:
    """Makes the tables that the answer is put together from."""
    read_nodes(engine, folder)
    if units:
        engine.read("grouping_members", [unit.members for unit in units])
        engine.read("grouping_linked_apart", [unit.apart for unit in units])
    else:
        engine.load("grouping_members", MEMBERS.empty_table())
        engine.load("grouping_linked_apart", APART.empty_table())
    cut = sorted((folder / "set_aside").glob("*.parquet"))
    engine.read("grouping_set_aside", cut)
    engine.view(
        "grouping_apart",
        "SELECT a, b, distance FROM grouping_linked_apart "
        "UNION ALL SELECT a, b, distance FROM grouping_set_aside",
    )
    if keep_earlier:
        engine.define("grouping_untouched", _UNTOUCHED)
    else:
        engine.view("grouping_untouched", f"{_UNTOUCHED} AND 1 = 0")
    name_clusters(
        engine,
        members="grouping_members",
        nodes="grouping_nodes",
        earlier="grouping_earlier",
        more_firsts="SELECT MIN(id) AS id FROM grouping_untouched GROUP BY name",
    )
    engine.define("grouping_named", _NAMED)


def _counts(engine: Engine) -> dict[str, int]:
    return engine.query(_COUNTS).to_pylist()[0]
