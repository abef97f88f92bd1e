"""A work unit that decides which of a block's nearest products are similar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_file
from simprod_tf.data.catalog import Product
from simprod_tf.matching.candidates import Candidates
from simprod_tf.matching.conflicts import TraitTable
from simprod_tf.matching.decision import Decision
from simprod_tf.matching.group_edges import EdgeCollector
from simprod_tf.matching.matcher import MatchCounts, match_blocks, write_matches
from simprod_tf.matching.outcome import VetoCounter
from simprod_tf.matching.rule import Conflicts, Limit, MatchRule
from simprod_tf.matching.views import WHOLE
from simprod_tf.pipeline.catalog_traits import (
    CATEGORY,
    TRAIT_COLUMNS,
    product_of,
)


@dataclass(frozen=True)
class DecidePlan:
    """What decides in every block.

    Attributes:
        limit: the largest distance of similar products.
        by_category: gives other limits to some categories; None where nothing does.
        curve: gives the probabilities; None where nothing does.
        mutual: whether a pair is vetoed that is not mutual.
        veto: kinds of conflict that make a pair different.
        keep: "similar", or "all" candidates.
        edges: whether edges for grouping are written.
    """

    limit: float
    by_category: Decision | None
    curve: Decision | None
    mutual: bool
    veto: tuple[str, ...]
    keep: str
    edges: bool

    def limits(self, categories: Sequence[str]) -> Limit:
        """Returns the limit of products of these categories: one, or one for each."""
        if self.by_category is None:
            return self.limit
        return self.by_category.limits(categories)


@dataclass(frozen=True)
class DecideUnit:
    """A block of queries with what is known of it.

    Attributes:
        name: of the block.
        nearest: the file of its nearest products, by `merge_block`.
        mutual: files with `query_row` and `row` of the pairs that are mutual.
        traits: files of the traits of its products, by `id`.
    """

    name: str
    nearest: str
    mutual: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()


def decide_block(plan: DecidePlan, folder: str, unit: DecideUnit) -> dict[str, Any]:
    """Writes the matches of a block, and its edges; returns the counts."""
    nearest = pq.read_table(unit.nearest, partitioning=None)
    block = _Block(nearest)
    traits = _traits(unit.traits)
    rule = MatchRule(
        {WHOLE: plan.limits([traits.get(id, _NONE)[CATEGORY] for id in block.ids])},
        mutual=plan.mutual,
        conflicts=_conflicts(plan, block.ids, traits),
    )
    mutual = _is_mutual(nearest, unit.mutual) if plan.mutual else None
    edges, vetoes = EdgeCollector(rule), VetoCounter()
    tables = match_blocks(
        [block.candidates(mutual)],
        rule,
        ids=block.ids,
        decision=plan.curve,
        keep=plan.keep,
        watchers=[vetoes, *([edges] if plan.edges else [])],
    )
    matches, edge_file = (
        Path(folder) / f"{kind}-{unit.name}.parquet" for kind in ("matches", "edges")
    )
    counts = write_matches(tables, matches)
    if plan.edges:
        with whole_file(edge_file) as temporary:
            pq.write_table(edges.table(block.ids), temporary)
    return {
        "matches": str(matches),
        "edges": str(edge_file),
        "num_vetoed": vetoes.num_vetoed,
        "counts": asdict(counts),
    }


def sum_of_counts(records: Sequence[Mapping[str, Any]]) -> MatchCounts:
    """Returns the counts of all blocks together; a query stands in one of them."""
    counts = [one["counts"] for one in records]
    names = sorted({name for one in counts for name in one["by_reason"]})
    return MatchCounts(
        sum(one["num_rows"] for one in counts),
        sum(one["num_similar"] for one in counts),
        sum(one["num_queries"] for one in counts),
        {name: sum(one["by_reason"].get(name, 0) for one in counts) for name in names},
    )


class _Block:
    """The products of one block, numbered in the order of their global rows."""

    def __init__(self, nearest: pa.Table) -> None:
        queries, ends = nearest["query_row"].to_numpy(), nearest["row"].to_numpy()
        rows, first, codes = np.unique(
            np.concatenate([queries, ends]), return_index=True, return_inverse=True
        )
        names = pa.chunked_array(
            nearest["query_id"].chunks + nearest["id"].chunks, pa.string()
        )
        self.ids: list[str] = names.take(pa.array(first)).to_pylist()
        self._starts, self._ends = codes[: len(queries)], codes[len(queries) :]
        self._distances = nearest["distance"].to_numpy()

    def candidates(self, mutual: np.ndarray | None) -> Candidates:
        """Returns the block as candidates: they stand in their order already."""
        starts = self._starts
        ranks = np.arange(1, len(starts) + 1) - np.searchsorted(starts, starts)
        return Candidates(
            queries=np.unique(starts),
            starts=starts,
            ends=self._ends,
            ranks=ranks.astype(np.int32),
            distances={WHOLE: self._distances},
            via=np.ones(len(starts), np.uint32),
            sources=(WHOLE,),
            mutual=mutual,
        )


_NONE: Mapping[str, str] = dict.fromkeys(TRAIT_COLUMNS, "")


def _traits(files: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """Returns the traits of products by their ids."""
    rows = [
        row
        for file in files
        for row in pq.read_table(file, partitioning=None).to_pylist()
    ]
    return {row["id"]: row for row in rows}


def _conflicts(
    plan: DecidePlan, ids: Sequence[str], traits: Mapping[str, Mapping[str, str]]
) -> Conflicts | None:
    if not plan.veto:
        return None
    # Of products that no pair within the limit has, nothing is known, or asked.
    products: list[Product] = [product_of(id, traits.get(id, _NONE)) for id in ids]
    return partial(TraitTable(products).conflicting, kinds=plan.veto)


def _is_mutual(nearest: pa.Table, files: Sequence[str]) -> np.ndarray:
    """Returns [C] bool: whether each pair is among the mutual ones."""
    found = [
        pq.read_table(file, columns=["query_row", "row"], partitioning=None)
        for file in files
    ]
    pairs = {
        pair
        for table in found
        for pair in zip(table["query_row"].to_pylist(), table["row"].to_pylist())
    }
    both = zip(nearest["query_row"].to_pylist(), nearest["row"].to_pylist())
    return np.fromiter((pair in pairs for pair in both), bool, nearest.num_rows)
