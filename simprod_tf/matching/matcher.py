"""The similar products of every product, as a table: streamed, and written whole."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_file
from simprod_tf.data.tables import require_writable_suffix
from simprod_tf.index.base import Index
from simprod_tf.matching.candidates import Candidates, Progress, candidate_blocks
from simprod_tf.matching.rule import DECISIONS, Decided, MatchRule, decide
from simprod_tf.matching.views import WHOLE, Views

SCHEMA = pa.schema(
    [
        ("query_id", pa.string()),
        ("id", pa.string()),
        ("rank", pa.int32()),
        ("distance", pa.float32()),
        ("probability", pa.float32()),
        ("decision", pa.string()),
        ("reasons", pa.list_(pa.string())),
    ]
)
KEEP = ("similar", "all")
_PLAIN = ["query_id", "id", "rank", "distance", "probability"]
# What stands between the reasons in a CSV file, which has no lists.
REASON_SEPARATOR = ";"


class Curve(Protocol):
    """A `Calibration`, or a `Decision`, which holds one."""

    def probability(self, distances: np.ndarray) -> np.ndarray:
        """Returns the probabilities, in the shape of `distances`."""


class Watcher(Protocol):
    """Who counts, or keeps, what is decided."""

    def add(self, candidates: Candidates, decided: Decided) -> None:
        """Is told of one block."""


@dataclass(frozen=True)
class MatchCounts:
    """What a table of matches holds.

    Attributes:
        num_rows: candidates, decided either way.
        num_similar: those that are similar.
        num_queries: products that have a similar one.
        by_reason: rows that have each reason; a row may have several.
    """

    num_rows: int
    num_similar: int
    num_queries: int
    by_reason: Mapping[str, int]


def match_blocks(
    blocks: Iterable[Candidates],
    rule: MatchRule,
    *,
    ids: Sequence[str],
    decision: Curve | None = None,
    keep: str = "similar",
    watchers: Sequence[Watcher] = (),
) -> Iterator[pa.Table]:
    """Returns for each block of candidates a table with the columns of `SCHEMA`.

    Rows stand in the order of the queries, nearest first, with the candidate's rank
    among all that the query has, kept or not. `distance` and `probability` are those
    that the rule decides by (of whole products, or the pair decider's), whatever let a
    pair pass.

    Args:
        blocks: of `candidate_blocks`; no more than one is held.
        rule: what makes two products similar.
        ids: of the views, in row order.
        decision: gives the probabilities, null without it.
        keep: "similar", or "all" for the candidates that are different as well.
        watchers: are told of each block and what was decided, whatever is kept.
    """
    if keep not in KEEP:
        raise ValueError(f"keep is one of {', '.join(KEEP)}, got {keep!r}.")
    return _tables(
        _decided(blocks, rule, watchers),
        names=pa.array(ids, pa.string()),
        view=rule.deciding,
        curve=decision,
        keep=keep,
    )


def write_matches(
    tables: Iterable[pa.Table], path: str | os.PathLike[str]
) -> MatchCounts:
    """Writes tables of matches one after the other, as one file, whole or not at all.

    CSV has no lists: there, ";" stands between the reasons.

    Args:
        tables: of `match_blocks`; no more than one is held.
        path: a .parquet or .csv file.

    Raises:
        InputError: the path has another suffix.
    """
    require_writable_suffix(path)
    counts = _Counts()
    with whole_file(path) as temporary, _writer(temporary) as writer:
        for table in tables:
            counts.add(table)
            is_csv = isinstance(writer, pacsv.CSVWriter)
            if table.num_rows:
                writer.write_table(_without_lists(table) if is_csv else table)
    return counts.result()


def find_matches(
    index: Index,
    *,
    k: int,
    max_distance: float,
    decision: Curve | None = None,
    mutual: bool = False,
    queries: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """Returns every product's similar products by one index, one limit, in one table.

    The columns are `query_id`, `id`, `rank`, `distance`, `probability`. For more than
    that, and for tables larger than memory, see `match_blocks`.

    Args:
        index: the products.
        k: how many similar products one may have, at most.
        max_distance: how far they may lie, at most; a decision has one to offer.
        decision: gives the probabilities, null without it.
        mutual: keep a match only where each of the two is among the other's k nearest.
            Ranks stay as they were without this.
        queries: the ids to find matches for, by default all.
        progress: called with (queries done, queries in all) after each block.
    """
    if not k >= 1 or not max_distance >= 0:
        raise ValueError(
            "k must be at least 1 and max_distance at least 0, "
            f"got {k} and {max_distance}."
        )
    views = Views({WHOLE: index})
    blocks = candidate_blocks(
        views, k=k, queries=queries, mutual=mutual, progress=progress
    )
    rule = MatchRule({WHOLE: max_distance}, mutual=mutual)
    tables = match_blocks(blocks, rule, ids=views.ids, decision=decision)
    return pa.concat_tables([SCHEMA.empty_table(), *tables]).select(_PLAIN)


def _decided(
    blocks: Iterable[Candidates], rule: MatchRule, watchers: Sequence[Watcher]
) -> Iterator[tuple[Candidates, Decided]]:
    for candidates in blocks:
        decided = decide(candidates, rule)
        for watcher in watchers:
            watcher.add(candidates, decided)
        yield candidates, decided


def _tables(
    blocks: Iterable[tuple[Candidates, Decided]],
    *,
    names: pa.Array,
    view: str,
    curve: Curve | None,
    keep: str,
) -> Iterator[pa.Table]:
    for candidates, decided in blocks:
        kept = np.arange(len(candidates))
        if keep == "similar":
            kept = np.flatnonzero(decided.similar)
        distances = candidates.distances[view][kept]
        columns = [
            names.take(pa.array(candidates.starts[kept])),
            names.take(pa.array(candidates.ends[kept])),
            pa.array(candidates.ranks[kept]),
            pa.array(distances),
            _probabilities(distances, curve),
            decided.decisions(kept),
            decided.reasons(kept),
        ]
        yield pa.table(columns, schema=SCHEMA)


def _probabilities(distances: np.ndarray, curve: Curve | None) -> pa.Array:
    if curve is None:
        return pa.nulls(len(distances), pa.float32())
    return pa.array(curve.probability(distances).astype(np.float32))


def _writer(path: Path) -> Any:
    if path.suffix.lower() == ".csv":
        return pacsv.CSVWriter(path, _without_lists(SCHEMA.empty_table()).schema)
    return pq.ParquetWriter(path, SCHEMA)


def _without_lists(table: pa.Table) -> pa.Table:
    at = table.column_names.index("reasons")
    joined = pc.binary_join(table.column(at), REASON_SEPARATOR)
    return table.set_column(at, "reasons", joined)


class _Counts:
    """`MatchCounts` while the tables stream past."""

    def __init__(self) -> None:
        self._num_rows = self._num_similar = self._num_queries = 0
        self._by_reason: Counter[str] = Counter()

    def add(self, table: pa.Table) -> None:
        similar = table.filter(pc.equal(table["decision"], DECISIONS[1]))
        self._num_rows += table.num_rows
        self._num_similar += similar.num_rows
        # A query's rows stand in one block.
        self._num_queries += pc.count_distinct(similar["query_id"]).as_py()
        found = pc.value_counts(pc.list_flatten(table["reasons"])).to_pylist()
        self._by_reason.update({one["values"]: one["counts"] for one in found})

    def result(self) -> MatchCounts:
        return MatchCounts(
            self._num_rows,
            self._num_similar,
            self._num_queries,
            dict(sorted(self._by_reason.items())),
        )
