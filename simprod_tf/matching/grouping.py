"""Groups of the same product, from the table of matches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simprod_tf.matching.group_ids import group_by_id, name_groups
from simprod_tf.matching.linkage import Clusters, LinkageRule, Progress, link_units
from simprod_tf.matching.match_edges import MatchEdges, match_edges


@dataclass(frozen=True)
class Groups:
    """Which product belongs to which group.

    Attributes:
        table: `id`, `group`, in the order of the ids. Only groups of two and more are
            listed: who is not here stands alone.
        bridges: `query_id`, `id`, `distance`, `group`, `other_group`: the accepted
            edges whose ends stand in different groups, shortest first; the group is
            null where that end stands alone. These are the edges by which groups
            would have been chained together.
        num_split: how many groups were above the cap, and were split.
    """

    table: pa.Table
    bridges: pa.Table
    num_split: int

    @property
    def num_groups(self) -> int:
        """How many groups of two and more there are."""
        return pc.count_distinct(self.table["group"]).as_py()

    @property
    def sizes(self) -> dict[str, int]:
        """The number of products in each group, the largest first, then by name."""
        counts = self.table["group"].value_counts().to_pylist()
        pairs = [(each["values"], each["counts"]) for each in counts]
        return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def group_matches(
    matches: pa.Table,
    *,
    linkage: str = "average",
    max_distance: float | None = None,
    max_size: int = 50,
    missing_distance: float = 2.0,
    mutual: bool = True,
    previous: pa.Table | None = None,
    progress: Progress | None = None,
) -> Groups:
    """Returns groups in which products are alike as a whole, not only link by link.

    Two groups become one while the distance between them, by `linkage`, is within
    `max_distance`. A pair that is not in the table counts as far, so that A ~ B and
    B ~ C do not bring A and C together when nothing says that these two are alike.
    Hence the table should know the pairs of a group: a search for k products shows at
    most k of each product's group, so take k above the size that groups may reach.
    Matches longer than `max_distance` are of use, too: their distances are the known
    ones in the mean, instead of `missing_distance`.

    Groups do not depend on the order of the rows. No product stands in two groups.

    Args:
        matches: with columns `query_id`, `id`, `distance`, as `find_matches` returns.
        linkage: "average" (the mean distance counts), "complete" (the largest one),
            or "single" (the smallest one: connected components, with their chains).
        max_distance: up to which distance groups are joined, and an edge is accepted;
            by default the largest distance in the table.
        max_size: how many products a group may hold, at most. A larger one is split
            along its own tree of merges, the last of them first.
        missing_distance: what a pair that is not in the table counts as.
        mutual: use an edge only if it stands in the table in both directions. Without
            this, the one direction suffices, which also keeps those that lack the
            other since the list of a product with many neighbours was full.
        previous: the earlier run's `table`: groups keep their names (see
            `group_ids.name_groups`).
        progress: called now and then with (links looked at, those and the ones left).

    Raises:
        SimprodError: a table lacks a column, or holds what cannot be.
    """
    edges = match_edges(matches, mutual=mutual)
    if max_distance is None:
        max_distance = float(edges.distances.max(initial=0.0))
    rule = LinkageRule(linkage, max_distance, missing_distance, max_size)
    clusters = link_products(
        edges.starts,
        edges.ends,
        distances=edges.distances,
        held=np.full(len(edges.ids), -1),
        rule=rule,
        progress=progress,
    )
    earlier = {} if previous is None else group_by_id(previous)
    names = _names(edges.ids, clusters.labels, earlier)
    return _groups(edges.up_to(max_distance), names, clusters.num_split)


def extend_groups(
    previous: pa.Table,
    matches_of_new: pa.Table,
    *,
    linkage: str = "average",
    max_distance: float,
    max_size: int = 50,
    missing_distance: float = 2.0,
    progress: Progress | None = None,
) -> Groups:
    """Returns the groups of an earlier run with new products among them.

    A new product, or a group of them, joins the earlier group that is nearest by the
    rule of `group_matches`, or founds a group with others. The earlier groups neither
    lose products nor join each other: bridges between them, and groups at their cap,
    are reasons for a full run of `group_matches`. Takes no matches but those of the
    new products; every product that is in no earlier group counts as new.

    Args:
        previous: `id`, `group`: the earlier run's `table`, less what was removed.
        matches_of_new: with columns `query_id`, `id`, `distance`: the new products'
            matches among all products. One direction suffices, as the earlier
            products' lists were made without the new ones.
        linkage: as for `group_matches`.
        max_distance: as for `group_matches`.
        max_size: as for `group_matches`; an earlier group above it stays as it is.
        missing_distance: as for `group_matches`.
        progress: as for `group_matches`.

    Returns:
        All groups, also those that have not changed, with the earlier names. Bridges
        and `num_split` are about the edges given.

    Raises:
        SimprodError: a table lacks a column, or holds what cannot be.
    """
    rule = LinkageRule(linkage, max_distance, missing_distance, max_size)
    earlier = group_by_id(previous)
    edges = match_edges(matches_of_new, mutual=False, more_ids=list(earlier))
    clusters = link_products(
        edges.starts,
        edges.ends,
        distances=edges.distances,
        held=_held(edges.ids, earlier),
        rule=rule,
        progress=progress,
    )
    names = _names(edges.ids, clusters.labels, earlier)
    return _groups(edges.up_to(max_distance), names, clusters.num_split)


def link_products(
    starts: np.ndarray,
    ends: np.ndarray,
    *,
    distances: np.ndarray,
    held: np.ndarray,
    rule: LinkageRule,
    progress: Progress | None = None,
) -> Clusters:
    """Returns the clusters of n products, those of an earlier group kept together.

    Products that no edges within the rule's distance and no earlier group connect have
    no say in each other's clusters: the clusters of a connected component are the same
    whether the others are there or not.

    Args:
        starts: [E] int64 rows of products; each pair once, in the order of both rows.
        ends: [E] int64 rows, each above its start.
        distances: [E] float64.
        held: [n] int64 number of each product's earlier group, -1 for none. Clusters
            that hold products of two earlier groups are not made.
        rule: when two clusters become one.
        progress: as for `link_units`.
    """
    units = _units(held)
    sizes = np.bincount(units, minlength=1)
    fixed = np.zeros(len(sizes), bool)
    fixed[units[held >= 0]] = True
    clusters = link_units(
        units[starts],
        units[ends],
        distances=distances,
        sizes=sizes,
        fixed=fixed,
        rule=rule,
        progress=progress,
    )
    return Clusters(clusters.labels[units], clusters.num_split)


def _held(ids: np.ndarray, earlier: dict[str, str]) -> np.ndarray:
    numbers: dict[str, int] = {}
    names = (earlier.get(id) for id in ids.tolist())
    found = [-1 if n is None else numbers.setdefault(n, len(numbers)) for n in names]
    return np.array(found, np.int64)


def _units(held: np.ndarray) -> np.ndarray:
    """Returns [n] int64: one number an earlier group, and one each product in none.

    They count from 0 in the order in which the rows first have them.
    """
    alone = held.max(initial=-1) + 1 + np.arange(len(held))
    keys = np.where(held < 0, alone, held)
    _, first, numbers = np.unique(keys, return_index=True, return_inverse=True)
    places = np.empty(len(first), np.int64)
    places[np.argsort(first)] = np.arange(len(first))
    return places[numbers]


def _names(ids: np.ndarray, labels: np.ndarray, previous: dict[str, str]) -> pa.Array:
    """Returns [n] strings, the groups' names, null for products that stand alone."""
    listed = np.bincount(labels, minlength=1)[labels] > 1
    names = np.full(len(ids), None, dtype=object)
    names[listed] = name_groups(ids[listed], labels[listed], previous=previous)
    return pa.array(names, pa.string())


def _groups(edges: MatchEdges, names: pa.Array, num_split: int) -> Groups:
    table = pa.table({"id": pa.array(edges.ids, pa.string()), "group": names})
    return Groups(table.filter(names.is_valid()), _bridges(edges, names), num_split)


def _bridges(edges: MatchEdges, names: pa.Array) -> pa.Table:
    together = pc.equal(names.take(edges.starts), names.take(edges.ends))
    apart = np.flatnonzero(~pc.fill_null(together, False).to_numpy(False))
    starts, ends = edges.starts[apart], edges.ends[apart]
    order = np.lexsort((ends, starts, edges.distances[apart]))
    starts, ends = pa.array(starts[order]), pa.array(ends[order])
    ids = pa.array(edges.ids, pa.string())
    return pa.table(
        {
            "query_id": ids.take(starts),
            "id": ids.take(ends),
            "distance": pa.array(edges.distances[apart][order], pa.float32()),
            "group": names.take(starts),
            "other_group": names.take(ends),
        }
    )
