"""Metrics by category, by what training has seen, and by what is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from simprod_tf.data.catalog import Catalog
from simprod_tf.evaluation.evaluate import Evaluation, retrieval_section
from simprod_tf.evaluation.group_metrics import group_section
from simprod_tf.evaluation.pair_section import pair_section
from simprod_tf.evaluation.section import Section
from simprod_tf.evaluation.slices import SliceRow, of_pairs, sliced
from simprod_tf.pipeline.judge import HeldOut

FEWEST = 30


@dataclass(frozen=True)
class Slicing:
    """What the rows are parted by.

    Slices by picture and by title, "with" and "without", are made in any case where
    some product lacks one.

    Attributes:
        columns: of the catalogue: "group" or attributes.
        seen: ids of the products that training knew; None where nobody said.
        fewest: slices with fewer rows are marked.
    """

    columns: Sequence[str] = ()
    seen: frozenset[str] | None = None
    fewest: int = FEWEST

    def __post_init__(self) -> None:
        """Refuses a minimum that is none."""
        if self.fewest < 0:
            raise ValueError(f"fewest must be at least 0, got {self.fewest}.")


# (rows -> measures, the values of each column [N]): one kind of rows of an evaluation.
_Kind = tuple[Callable[[np.ndarray], Section], Callable[[str], np.ndarray]]


def with_slices(
    evaluation: Evaluation, test: HeldOut, slicing: Slicing, *, seed: int
) -> Evaluation:
    """Returns the evaluation of whole products with its slices.

    A pair is of a slice if both of its products are; a query, if it is itself,
    whatever it finds.

    Raises:
        KeyError: a column is not in the catalogue; the message names those there are.
    """
    slices: list[SliceRow] = []
    columns = _columns(test, slicing)
    for kind, (section_of, values_of) in _kinds(evaluation, test, slicing).items():
        for column in columns:
            slices += sliced(
                column,
                values_of(column),
                section_of,
                kind=kind,
                fewest=slicing.fewest,
                seed=seed,
            )
    return replace(evaluation, slices=tuple(slices))


def _columns(test: HeldOut, slicing: Slicing) -> list[str]:
    columns = list(slicing.columns)
    if slicing.seen is not None:
        columns.append("seen")
    both = (test.catalog, test.queries)
    if any((one.images == "").any() for one in both):
        columns.append("picture")
    if any((one.titles == "").any() for one in both):
        columns.append("title")
    return list(dict.fromkeys(columns))


def _kinds(evaluation: Evaluation, test: HeldOut, slicing: Slicing) -> dict[str, _Kind]:
    kinds: dict[str, _Kind] = {}
    catalog = _Values(test.catalog, slicing)
    pairs = evaluation.pairs
    if len(pairs):
        ends = [test.catalog.rows_of(ids) for ids in evaluation.pair_ids.T]
        kinds["pairs"] = (
            lambda rows: pair_section(pairs.take(rows)),
            lambda column: of_pairs(*(catalog[column][rows] for rows in ends)),
        )
    retrieval = evaluation.retrieval
    if retrieval is not None:
        asked = test.query_rows()[retrieval.kept]
        queries = _Values(test.queries, slicing)
        kinds["queries"] = (
            lambda rows: retrieval_section(retrieval.take(rows)),
            lambda column: queries[column][asked],
        )
    groups = evaluation.groups
    if groups is not None:
        judged = test.catalog.rows_of(groups.ids)
        kinds["products"] = (
            lambda rows: group_section(groups.take(rows)),
            lambda column: catalog[column][judged],
        )
    return kinds


class _Values:
    """The values [P] of a catalogue's columns, and of those that are worked out."""

    def __init__(self, catalog: Catalog, slicing: Slicing) -> None:
        self._catalog, self._slicing = catalog, slicing

    def __getitem__(self, column: str) -> np.ndarray:
        # A column of the catalogue that is asked for goes before one worked out.
        if column in self._slicing.columns:
            return self._catalog.column(column)
        if column == "seen":
            seen = self._slicing.seen or frozenset()
            known = [id in seen for id in self._catalog.ids]
            return np.where(known, "seen", "unseen")
        held = self._catalog.images if column == "picture" else self._catalog.titles
        return np.where(held != "", "with", "without")
