"""What groups are called, as `group_ids` says, from tables that no machine holds.

`name_groups` gives the names away one by one, the best claim first. Here all claims go
at once that are the best both of their group and of their name, and that again among
what is left, until none is: the same answer, as nothing could come before such a claim
(Blelloch, Fineman and Shun, "Greedy sequential maximal independent set and matching are
parallel on average", 2012, https://doi.org/10.1145/2312005.2312058), in a few rounds.
"""

from __future__ import annotations

from simprod_tf.engine.base import Engine

_CLAIMS = """
SELECT members.leader, earlier.name, COUNT(*) AS share
FROM {members} members
JOIN {nodes} nodes ON nodes.node = members.node
JOIN {earlier} earlier ON earlier.id = nodes.id
GROUP BY members.leader, earlier.name
"""
_BEST = """
SELECT leader, name
FROM (
    SELECT
        leader,
        name,
        ROW_NUMBER() OVER (
            PARTITION BY leader ORDER BY share DESC, name, leader
        ) AS place_in_group,
        ROW_NUMBER() OVER (
            PARTITION BY name ORDER BY share DESC, name, leader
        ) AS place_in_name
    FROM grouping_claims
) ranked
WHERE place_in_group = 1 AND place_in_name = 1
"""
_LEFT = """
SELECT leader, name, share
FROM grouping_claims claims
WHERE NOT EXISTS (SELECT 1 FROM grouping_best b WHERE b.leader = claims.leader)
    AND NOT EXISTS (SELECT 1 FROM grouping_best b WHERE b.name = claims.name)
"""
_NAMELESS = """
FROM grouping_firsts firsts
WHERE NOT EXISTS (SELECT 1 FROM grouping_names n WHERE n.leader = firsts.leader)
"""
# {name} is an expression over `firsts.id`, the group's first product.
_FREE = f"""
SELECT firsts.leader, {{name}} AS name
{_NAMELESS}
    AND NOT EXISTS (SELECT 1 FROM {{taken}} t WHERE t.name = {{name}})
"""


def name_clusters(
    engine: Engine, *, members: str, nodes: str, earlier: str, more_firsts: str
) -> None:
    """Makes the table `grouping_names`, (leader, name), of all clusters.

    Args:
        engine: where the tables are.
        members: a table of `leader` and `node`: each cluster's products, known by its
            first one, in numbers.
        nodes: a table of `id` and `node`: the products of these numbers.
        earlier: a table of `id` and `name`: the groups of the run before.
        more_firsts: a query of `id`: the first products of groups that are named
            already, whose ids no numbered name shall be.
    """
    claims = _CLAIMS.format(members=members, nodes=nodes, earlier=earlier)
    engine.define("grouping_claims", claims)
    engine.define("grouping_names", "SELECT leader, name FROM grouping_claims LIMIT 0")
    while _count(engine, "FROM grouping_claims"):
        engine.define("grouping_best", _BEST)
        _give(engine, "SELECT leader, name FROM grouping_best")
        engine.define("grouping_claims", _LEFT)
    engine.define(
        "grouping_firsts",
        f"SELECT DISTINCT m.leader, n.id FROM {members} m "
        f"JOIN {nodes} n ON n.node = m.leader",
    )
    _give(engine, _FREE.format(name="firsts.id", taken=earlier))
    _number(engine, earlier=earlier, more_firsts=more_firsts)


def _number(engine: Engine, *, earlier: str, more_firsts: str) -> None:
    """Calls groups `~2`, `~3`, ... whose own names an earlier group had."""
    taken = (
        f"(SELECT name FROM {earlier} UNION ALL SELECT id FROM grouping_firsts "
        f"UNION ALL SELECT id FROM ({more_firsts}) more)"
    )
    number = 2
    while _count(engine, _NAMELESS):
        name = f"concat(firsts.id, '~{number}')"
        _give(engine, _FREE.format(name=name, taken=taken))
        number += 1


def _give(engine: Engine, names: str) -> None:
    engine.define(
        "grouping_names", f"SELECT leader, name FROM grouping_names UNION ALL {names}"
    )


def _count(engine: Engine, rows: str) -> int:
    return engine.query(f"SELECT COUNT(*) AS number {rows}")["number"][0].as_py()
