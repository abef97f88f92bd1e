"""The components of accepted pairs, none larger than one machine's work."""

from __future__ import annotations

from simprod_tf.engine.base import Engine
from simprod_tf.matching.components import connected_components

# An earlier group is one piece, at any limit.
_LINKS = """
SELECT a, b FROM grouping_pairs WHERE distance <= {limit}
UNION ALL
SELECT head AS a, node AS b FROM grouping_held WHERE head < node
"""
_TOO_LARGE = """
SELECT component FROM grouping_components
GROUP BY component HAVING COUNT(*) > {max_component}
"""
_WIDE = """
SELECT node FROM grouping_components
WHERE component IN (SELECT component FROM grouping_too_large)
"""
_CUT = """
SELECT node, component FROM grouping_components
WHERE component NOT IN (SELECT component FROM grouping_too_large)
UNION ALL
SELECT node, component FROM grouping_recut
"""
_SET_ASIDE = """
SELECT p.a, p.b, p.distance
FROM grouping_pairs p
LEFT JOIN grouping_components one ON one.node = p.a
LEFT JOIN grouping_components other ON other.node = p.b
WHERE p.distance <= {limit}
    AND coalesce(one.component, -1 - p.a) <> coalesce(other.component, -1 - p.b)
"""
_NOTHING = "SELECT a, b, distance FROM grouping_pairs LIMIT 0"
# Where a component is too large, pairs above these shares of the limit are cut.
_SHARES = tuple(tenths / 10 for tenths in range(9, -1, -1))


def bounded_components(
    engine: Engine, *, max_distance: float, max_component: int
) -> int:
    """Makes `grouping_components`, (node, component); returns the rounds of joins.

    A component of more products is cut: of its pairs those count that are within .9 of
    the limit, then within .8, and so on. One that is too large by pairs at distance 0
    stays so. The accepted pairs that lie between components after that are the table
    `grouping_set_aside`, as `grouping_pairs` has them.

    Args:
        engine: with the tables `grouping_pairs` (a, b, distance: each pair once) and
            `grouping_held` (node, head: the products of earlier groups, each with its
            group's first), which are kept together.
        max_distance: up to which a pair is accepted.
        max_component: how many products a component may have.
    """
    accepted = _links(max_distance)
    rounds = connected_components(engine, accepted, name="grouping_components")
    set_aside = _NOTHING
    for share in _SHARES:
        too_large = _TOO_LARGE.format(max_component=max_component)
        engine.define("grouping_too_large", too_large)
        if not engine.query("SELECT 1 AS one FROM grouping_too_large LIMIT 1").num_rows:
            break
        engine.view("grouping_wide", _WIDE)
        links = (
            f"(SELECT links.a, links.b FROM {_links(share * max_distance)} links "
            "JOIN grouping_wide wide ON wide.node = links.a)"
        )
        rounds += connected_components(engine, links, name="grouping_recut")
        engine.define("grouping_components", _CUT)
        set_aside = _SET_ASIDE.format(limit=sql_limit(max_distance))
    engine.view("grouping_set_aside", set_aside)
    return rounds


def sql_limit(distance: float) -> str:
    """Returns a limit that both engines take for the float64 that it is."""
    return f"CAST({distance!r} AS DOUBLE)"


def _links(max_distance: float) -> str:
    return f"({_LINKS.format(limit=sql_limit(max_distance))})"
