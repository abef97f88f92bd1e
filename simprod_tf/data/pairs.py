"""Pairs of products labelled similar (1) or not (0): unordered, each pair once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from simprod_tf.data.catalog import text_array
from simprod_tf.data.tables import read_table, write_table
from simprod_tf.errors import InputError

SOURCES = ("hand", "mined")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Unordered labelled pairs as parallel [N] arrays, anchor id < other id.

    Attributes:
        anchor_ids, other_ids: [N] str.
        labels: [N] int8, 1 = similar, 0 = not.
        weights: [N] float32, > 0.
        sources: [N] str, "hand" or "mined".
        dropped: how many rows were left out on the way in, by reason.
    """

    anchor_ids: np.ndarray
    other_ids: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    sources: np.ndarray
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks that the pairs are canonical; `canonical_pairs` makes them so."""
        columns = (self.other_ids, self.labels, self.weights, self.sources)
        if any(len(column) != len(self.anchor_ids) for column in columns):
            raise ValueError("columns differ in length.")
        if np.any(self.anchor_ids >= self.other_ids):
            raise ValueError("anchor_id must come before other_id in each pair.")
        if not np.isin(self.labels, (0, 1)).all():
            raise ValueError("labels must be 0 or 1.")
        if np.any(~(self.weights > 0)):
            raise ValueError("weights must be above 0.")

    def __len__(self) -> int:
        return len(self.anchor_ids)

    def __repr__(self) -> str:
        return f"Pairs({len(self)}, {self.num_positives} of them similar)"

    @property
    def num_positives(self) -> int:
        """How many pairs are labelled similar."""
        return int(self.labels.sum())

    def where(self, mask: np.ndarray) -> Pairs:
        """Returns the pairs that a [N] bool mask selects."""
        return Pairs(
            self.anchor_ids[mask],
            self.other_ids[mask],
            self.labels[mask],
            self.weights[mask],
            self.sources[mask],
        )

    def within(self, ids: Sequence[str] | np.ndarray) -> Pairs:
        """Returns the pairs of which both products are among `ids`."""
        known = set(ids)
        both = zip(self.anchor_ids, self.other_ids)
        mask = np.array([a in known and b in known for a, b in both], bool)
        return self.where(mask)


def canonical_pairs(
    anchor_ids: Sequence[str] | np.ndarray,
    other_ids: Sequence[str] | np.ndarray,
    labels: Sequence[int] | np.ndarray,
    *,
    weights: Sequence[float] | np.ndarray | None = None,
    source: str = "hand",
) -> Pairs:
    """Returns unordered pairs: self-pairs and contradictions out, duplicates merged.

    Of equal duplicates the highest weight is kept; a pair labelled both ways is left
    out. `Pairs.dropped` counts each.
    """
    given = np.ones(len(anchor_ids)) if weights is None else weights
    dropped: Counter[str] = Counter()
    found: dict[tuple[str, str], dict[int, float]] = {}
    for anchor, other, label, weight in zip(anchor_ids, other_ids, labels, given):
        if anchor == other:
            dropped["self-pair"] += 1
            continue
        key = (anchor, other) if anchor < other else (other, anchor)
        seen = found.setdefault(key, {})
        if int(label) in seen:
            dropped["duplicate"] += 1
        seen[int(label)] = max(seen.get(int(label), 0.0), float(weight))
    dropped["conflicting labels"] = sum(len(seen) > 1 for seen in found.values())
    kept = [(*key, *seen.popitem()) for key, seen in found.items() if len(seen) == 1]
    return _pairs(kept, source, {why: n for why, n in dropped.items() if n})


def _pairs(
    rows: list[tuple[str, str, int, float]], source: str, dropped: Mapping[str, int]
) -> Pairs:
    return Pairs(
        anchor_ids=text_array([row[0] for row in rows]),
        other_ids=text_array([row[1] for row in rows]),
        labels=np.array([row[2] for row in rows], np.int8),
        weights=np.array([row[3] for row in rows], np.float32),
        sources=text_array([source] * len(rows)),
        dropped=dropped,
    )


def join_pairs(first: Pairs, second: Pairs) -> Pairs:
    """Returns the pairs of both; where both know a pair, `first` is believed."""
    known = set(zip(first.anchor_ids, first.other_ids))
    both = zip(second.anchor_ids, second.other_ids)
    new = second.where(np.array([pair not in known for pair in both], bool))
    names = ("anchor_ids", "other_ids", "labels", "weights", "sources")
    return Pairs(*(np.concatenate([getattr(first, n), getattr(new, n)]) for n in names))


def read_pairs(
    path: str | os.PathLike[str],
    *,
    source: str,
    known_ids: Sequence[str] | np.ndarray | None = None,
) -> Pairs:
    """Reads `anchor_id, other_id, label[, weight]` from CSV, JSONL or Parquet.

    Pairs with an id that is not among `known_ids` are left out and counted.

    Raises:
        InputError: names the file and the row, or the column that is missing.
    """
    read = read_table(path)
    read.require(["anchor_id", "other_id", "label"])
    if read.bad:
        raise InputError(read.bad[0].reason, path=path, row=read.bad[0].row)
    anchors, others = read.strings("anchor_id"), read.strings("other_id")
    for row, anchor, other in zip(read.rows, anchors, others):
        if not anchor or not other:
            raise InputError("an id is empty.", path=path, row=row)
    labels = _numbers(path, read.rows, read.strings("label"), "label")
    weights = np.ones(len(labels))
    if "weight" in read.table.column_names:
        weights = _numbers(path, read.rows, read.strings("weight"), "weight")
    _check_range(path, read.rows, labels, weights)
    keep = np.ones(len(labels), bool)
    if known_ids is not None:
        known = set(known_ids)
        keep = np.array([a in known and b in known for a, b in zip(anchors, others)])
    pairs = canonical_pairs(
        text_array(anchors)[keep],
        text_array(others)[keep],
        labels[keep],
        weights=weights[keep],
        source=source,
    )
    if not len(pairs):
        raise InputError(_no_pairs(len(labels), keep), path=path)
    unknown = {"unknown id": int((~keep).sum())} if not keep.all() else {}
    return _with_dropped(pairs, {**pairs.dropped, **unknown})


def pairs_from_table(table: pa.Table, *, source: str) -> Pairs:
    """Returns the pairs of a table with the columns that `read_pairs` reads."""
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    return canonical_pairs(
        columns["anchor_id"],
        columns["other_id"],
        columns["label"],
        weights=columns.get("weight"),
        source=source,
    )


def write_pairs(pairs: Pairs, path: str | os.PathLike[str]) -> None:
    """Writes `anchor_id, other_id, label, weight, source` as CSV or Parquet."""
    table = pa.table(
        {
            "anchor_id": pa.array(pairs.anchor_ids, pa.string()),
            "other_id": pa.array(pairs.other_ids, pa.string()),
            "label": pa.array(pairs.labels, pa.int8()),
            "weight": pa.array(pairs.weights, pa.float32()),
            "source": pa.array(pairs.sources, pa.string()),
        }
    )
    write_table(table, path)


def _with_dropped(pairs: Pairs, dropped: Mapping[str, int]) -> Pairs:
    columns = (pairs.anchor_ids, pairs.other_ids, pairs.labels, pairs.weights)
    return Pairs(*columns, pairs.sources, dropped)


def _no_pairs(total: int, keep: np.ndarray) -> str:
    if total and not keep.any():
        return f"none of its {total} pairs has both ids in the catalogue."
    return "no usable pair is in it."


def _numbers(
    path: str | os.PathLike[str], rows: list[int], texts: list[str], column: str
) -> np.ndarray:
    try:
        return np.array([float(text) for text in texts])
    except ValueError:
        for row, text in zip(rows, texts):
            try:
                float(text)
            except ValueError:
                raise InputError(
                    f"{column} must be a number, got {text!r}.", path=path, row=row
                ) from None
        raise


def _check_range(
    path: str | os.PathLike[str],
    rows: list[int],
    labels: np.ndarray,
    weights: np.ndarray,
) -> None:
    for row, label, weight in zip(rows, labels, weights):
        if label not in (0, 1):
            raise InputError(
                f"label must be 1 (similar) or 0 (not), got {label:g}.",
                path=path,
                row=row,
            )
        if not 0 < weight < np.inf:
            raise InputError(
                f"weight must be above 0, got {weight:g}.", path=path, row=row
            )
