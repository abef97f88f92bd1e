"""The same metrics on parts of the rows: by category, by what training has seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from simprod_tf.evaluation.interval import Interval
from simprod_tf.evaluation.section import Section, section_intervals

KINDS = ("pairs", "queries", "products")
# What a pair is whose two products differ, and a product without a value.
MIXED, NONE, OTHERS = "(mixed)", "(none)", "(others)"
# Intervals of a column of a thousand brands would take minutes.
MOST_VALUES = 30


@dataclass(frozen=True)
class SliceRow:
    """The metrics of one slice.

    Attributes:
        column: what the slices go by, such as "category".
        value: of the column; `MIXED` for pairs whose products differ in it, `NONE`
            where it is missing, `OTHERS` for the rarest of many values together.
        kind: one of `KINDS`, what the rows are.
        n: how many rows there are.
        few: whether they are fewer than the stated minimum: not much to conclude from.
        metrics: by name, with their intervals.
    """

    column: str
    value: str
    kind: str
    n: int
    few: bool
    metrics: Mapping[str, Interval]


def sliced(
    column: str,
    values: np.ndarray,
    section_of: Callable[[np.ndarray], Section],
    *,
    kind: str,
    fewest: int,
    seed: int,
) -> tuple[SliceRow, ...]:
    """Returns a slice for each value of a column, the one with the most rows first.

    Args:
        column: its name.
        values: [N] str, one a row; "" where it is missing.
        section_of: the measures of some rows [n] int64.
        kind: one of `KINDS`.
        fewest: slices with fewer rows are marked.
        seed: of the resampling.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}.")
    if fewest < 0:
        raise ValueError(f"fewest must be at least 0, got {fewest}.")
    names, numbers = _merged(np.where(values == "", NONE, values).astype(str))
    rows = []
    for number, name in enumerate(names):
        inside = np.flatnonzero(numbers == number)
        metrics = section_intervals(section_of(inside), seed=seed)
        few = len(inside) < fewest
        rows.append(SliceRow(column, name, kind, len(inside), few, metrics))
    return tuple(rows)


def of_pairs(anchors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns [N] str: the value that both products of a pair have, else `MIXED`."""
    return np.where(anchors == others, anchors, MIXED).astype(str)


def _merged(values: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Returns the values by falling count, and [N] int64, which of them each row has.

    The rarest of more than `MOST_VALUES` become one, `OTHERS`, which comes last.
    """
    names, numbers, counts = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    ordered = [str(name) for name in names[order]]
    if len(ordered) <= MOST_VALUES:
        return ordered, places[numbers]
    last = MOST_VALUES - 1
    return [*ordered[:last], OTHERS], np.minimum(places[numbers], last)
