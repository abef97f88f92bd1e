"""Connected components in SQL, for graphs that no machine holds.

Kiveris, Lattanzi, Mirrokni, Rastogi and Vassilvitskii, "Connected components in
MapReduce and beyond", 2014, https://doi.org/10.1145/2670979.2670997: in turns, each
node's larger and its smaller neighbours are handed to its smallest one, until all that
hangs together hangs on its smallest node. The rounds go with the logarithm of the
longest path, not with its length, and no round has more edges than the graph.

GraphFrames has the same algorithm, but comes as a jar that is not on PyPI and runs on
Spark alone; this text runs on every engine.
"""

from __future__ import annotations

from simprod_tf.engine.base import Engine

# In: stars(node, parent), each edge once, the parent the smaller one.
_ROUND = """
WITH both_ways AS (
    SELECT node, parent AS other FROM {stars}
    UNION ALL
    SELECT parent AS node, node AS other FROM {stars}
),
around AS (
    SELECT node, other, least(node, MIN(other) OVER (PARTITION BY node)) AS smallest
    FROM both_ways
),
large_star AS (
    SELECT DISTINCT other AS node, smallest AS parent
    FROM around
    WHERE other > node
),
above AS (
    SELECT node, parent, MIN(parent) OVER (PARTITION BY node) AS smallest
    FROM large_star
)
SELECT node, smallest AS parent FROM above
UNION
SELECT parent AS node, smallest AS parent FROM above WHERE parent > smallest
"""
# What keeps a graph from being stars: nodes of several parents, parents of parents.
_LOOSE = """
SELECT node
FROM (
    SELECT node, 1 AS parents, 0 AS children FROM {stars}
    UNION ALL
    SELECT parent AS node, 0 AS parents, 1 AS children FROM {stars}
) ends
GROUP BY node
HAVING SUM(parents) > 1 OR (SUM(parents) = 1 AND SUM(children) > 0)
LIMIT 1
"""


def connected_components(engine: Engine, edges: str, *, name: str) -> int:
    """Makes the table `name`, (node, component), of a graph; returns how many rounds.

    A component is known by its smallest node. A node without an edge to another is
    not in the table.

    Args:
        engine: where the tables are.
        edges: a table, or a query in brackets, with columns `a` and `b`: numbers or
            texts, none of them empty. Directions and repeated edges are all one.
        name: of the table; another one, `<name>_stars`, is left over.
    """
    stars = f"{name}_stars"
    engine.define(
        stars,
        "SELECT DISTINCT greatest(a, b) AS node, least(a, b) AS parent "
        f"FROM {edges} WHERE a <> b",
    )
    rounds = 0
    while engine.query(_LOOSE.format(stars=stars)).num_rows:
        engine.define(stars, _ROUND.format(stars=stars))
        rounds += 1
    engine.define(
        name,
        f"SELECT node, parent AS component FROM {stars} "
        f"UNION ALL SELECT DISTINCT parent, parent FROM {stars}",
    )
    return rounds
