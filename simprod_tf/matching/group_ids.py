"""What groups are called, and that they keep their names from run to run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np
import pyarrow as pa

from simprod_tf.errors import SimprodError
from simprod_tf.matching.match_edges import string_column


def group_by_id(table: pa.Table) -> dict[str, str]:
    """Returns each product's group, from a table of `id` and `group`.

    Raises:
        SimprodError: a column is missing, or a product stands there twice.
    """
    what = "the table of groups"
    ids = string_column(table, "id", what=what).to_pylist()
    groups = dict(zip(ids, string_column(table, "group", what=what).to_pylist()))
    if len(groups) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise SimprodError(
            f"{what} must list each product once, got {twice!r} twice; group again."
        )
    return groups


def name_groups(
    ids: np.ndarray, labels: np.ndarray, *, previous: dict[str, str]
) -> np.ndarray:
    """Returns [n] object group names, one for each product.

    A group inherits the name of the earlier group with which it shares most products.
    Where several want one name, or could have several, the larger share goes first,
    then the name, then the group's first product. Otherwise a group is called by its
    first product in string order, with `~2`, `~3`, ... if an earlier group, also one
    that is no more, had this name: a name never passes to strangers.

    Args:
        ids: [n] object, in string order.
        labels: [n] int64, the same for products of one group.
        previous: the groups' names of the run before, by product.
    """
    _, first, groups = np.unique(labels, return_index=True, return_inverse=True)
    firsts = first[groups]
    names: dict[int, str] = {}
    taken: set[str] = set()
    for row, name in _claims(ids, firsts, previous):
        if row not in names and name not in taken:
            names[row] = name
            taken.add(name)
    earlier = set(previous.values())
    reserved = earlier | set(ids[first].tolist())
    for row in first.tolist():
        if row not in names:
            own = ids[row]
            names[row] = own if own not in earlier else _numbered(own, reserved)
    return np.array([names[row] for row in firsts.tolist()], dtype=object)


def _claims(
    ids: np.ndarray, firsts: np.ndarray, previous: dict[str, str]
) -> list[tuple[int, str]]:
    """Returns groups, by their first rows, with names to inherit; the best first."""
    earlier = [previous.get(id) for id in ids.tolist()]
    shares = Counter(
        (name, row) for name, row in zip(earlier, firsts.tolist()) if name is not None
    )
    ordered = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    return [(row, name) for (name, row), _ in ordered]


def _numbered(name: str, taken: Collection[str]) -> str:
    number = 2
    while f"{name}~{number}" in taken:
        number += 1
    return f"{name}~{number}"
