"""Pairs of products labelled similar (1) or not (0): unordered, each pair once."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from simprod_tf.data.catalog import text_array
from simprod_tf.data.tables import ReadTable, read_table, write_table
from simprod_tf.errors import InputError

log = logging.getLogger(__name__)

SOURCES = ("hand", "mined")
CONFLICTING, OVERRULED = "conflicting labels", "overruled by hand"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Unordered labelled pairs as parallel [N] arrays, anchor id < other id.

    Attributes:
        anchor_ids, other_ids: [N] str.
        labels: [N] int8, 1 = similar, 0 = not.
        weights: [N] float32, > 0.
        sources: [N] str, "hand" or "mined".
        dropped: how many rows were left out on the way in, by reason.
        conflicts: the pairs labelled both ways, in `join_pairs` also those on which
            the two disagree; anchor id < other id.
    """

    anchor_ids: np.ndarray
    other_ids: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    sources: np.ndarray
    dropped: Mapping[str, int] = field(default_factory=dict)
    conflicts: tuple[tuple[str, str], ...] = ()

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
        if not set(self.sources) <= set(SOURCES):
            raise ValueError(f"sources must be {' or '.join(SOURCES)}.")

    def __len__(self) -> int:
        return len(self.anchor_ids)

    def __repr__(self) -> str:
        return f"Pairs({len(self)}, {self.num_positives} of them similar)"

    @property
    def num_positives(self) -> int:
        """How many pairs are labelled similar."""
        return int(self.labels.sum())

    @property
    def conflict_note(self) -> str:
        """Says how many pairs of the input contradict each other, or ""."""
        count = self.dropped.get(CONFLICTING, 0)
        if not count:
            return ""
        many = "1 pair is" if count == 1 else f"{count} pairs are"
        example = f", {self.conflicts[0]} among them" if self.conflicts else ""
        return f"{many} labelled both ways and left out{example}"

    def where(self, mask: np.ndarray) -> Pairs:
        """Returns the pairs that a [N] bool mask selects."""
        return Pairs(
            self.anchor_ids[mask],
            self.other_ids[mask],
            self.labels[mask],
            self.weights[mask],
            self.sources[mask],
            self.dropped,
            self.conflicts,
        )

    def weighted(self, factor: float) -> Pairs:
        """Returns the pairs with each weight times a factor above 0."""
        return replace(self, weights=self.weights * np.float32(factor))

    def within(self, ids: Sequence[str] | np.ndarray) -> Pairs:
        """Returns the pairs of which both products are among `ids`; conflicts too."""
        known = set(ids)
        both = zip(self.anchor_ids, self.other_ids)
        mask = np.array([a in known and b in known for a, b in both], bool)
        conflicts = [(a, b) for a, b in self.conflicts if a in known and b in known]
        return replace(self.where(mask), conflicts=tuple(conflicts))


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
    out and stands in `Pairs.conflicts`. `Pairs.dropped` counts each.

    Raises:
        ValueError: a label is not 0 or 1, or a weight is not above 0.
    """
    size = len(anchor_ids)
    given = np.ones(size) if weights is None else np.asarray(weights, np.float64)
    names, ends = _numbered(anchor_ids, other_ids)
    # The rows of self-pairs out, and of each pair the rows together.
    rows = np.flatnonzero(ends[0] != ends[1])
    key = ends[0][rows] * max(1, len(names)) + ends[1][rows]
    _, first, pair = np.unique(key, return_index=True, return_inverse=True)
    similar = _bits(labels)[rows]
    votes = [np.bincount(pair[similar == v], minlength=len(first)) for v in (0, 1)]
    weight = np.full(len(first), -np.inf)
    # Not a number stays one, for `Pairs` to refuse.
    with np.errstate(invalid="ignore"):
        np.maximum.at(weight, pair, given[rows])
    # In the order in which they first stand there.
    ordered = np.argsort(first, kind="stable")
    clash = (votes[0] > 0) & (votes[1] > 0)
    kept, both = ordered[~clash[ordered]], ordered[clash[ordered]]
    anchors, others = names[ends[0][rows[first]]], names[ends[1][rows[first]]]
    return Pairs(
        anchor_ids=anchors[kept],
        other_ids=others[kept],
        labels=(votes[1][kept] > 0).astype(np.int8),
        weights=weight[kept].astype(np.float32),
        sources=text_array([source] * len(kept)),
        dropped=_counts(
            {
                "self-pair": size - len(rows),
                "duplicate": len(rows) - len(first) - len(both),
                CONFLICTING: len(both),
            }
        ),
        conflicts=tuple(zip(anchors[both], others[both])),
    )


def join_pairs(first: Pairs, second: Pairs) -> Pairs:
    """Returns the pairs of both; where both know a pair, `first` is believed.

    So a pair of `second` that `first` labels otherwise is left out and counted as
    overruled; one that `first` labels both ways is left out too. Both stand in
    `Pairs.conflicts`, with the conflicts that each had before.
    """
    label_of = dict(zip(zip(first.anchor_ids, first.other_ids), first.labels))
    # Labelled both ways is no label, but more is known than the mined one says.
    label_of.update(dict.fromkeys(first.conflicts, -1))
    pairs = list(zip(second.anchor_ids, second.other_ids))
    known = np.array([label_of.get(pair, -2) for pair in pairs], np.int8)
    clash = (known != -2) & (known != second.labels)
    overruled = [pairs[row] for row in np.flatnonzero(clash)]
    new = second.where(known == -2)
    counts = Counter(first.dropped) + Counter(second.dropped)
    counts[OVERRULED] += len(overruled)
    conflicts = dict.fromkeys([*first.conflicts, *second.conflicts, *overruled])
    return Pairs(
        np.concatenate([first.anchor_ids, new.anchor_ids]),
        np.concatenate([first.other_ids, new.other_ids]),
        np.concatenate([first.labels, new.labels]),
        np.concatenate([first.weights, new.weights]),
        np.concatenate([first.sources, new.sources]),
        _counts(counts),
        tuple(conflicts),
    )


def read_pairs(
    path: str | os.PathLike[str],
    *,
    source: str,
    known_ids: Sequence[str] | np.ndarray | None = None,
) -> Pairs:
    """Reads `anchor_id, other_id, label[, weight, source]`: CSV, JSONL or Parquet.

    A folder of Parquet shards is read as one file; a faulty row names its shard.

    Pairs with an id that is not among `known_ids` are left out and counted; of pairs
    labelled both ways, which are left out too, the log warns.

    Args:
        path: The file, or the folder.
        source: "hand" or "mined", for rows that do not say. Where the file has both,
            the hand label is believed.
        known_ids: The products that there are, or None for any.

    Raises:
        InputError: names the file and the row, or the column that is missing.
    """
    read = read_table(path)
    read.require(["anchor_id", "other_id", "label"])
    if read.bad:
        raise read.error(read.bad[0].reason, read.bad[0].row)
    anchors, others = read.strings("anchor_id"), read.strings("other_id")
    for row, anchor, other in zip(read.rows, anchors, others):
        if not anchor or not other:
            raise read.error("an id is empty.", row)
    labels = _numbers(read, "label")
    weights = np.ones(len(labels))
    if "weight" in read.table.column_names:
        weights = _numbers(read, "weight")
    _check_range(read, labels, weights)
    sources = _sources(read, default=source)
    keep = np.ones(len(labels), bool)
    if known_ids is not None:
        known = set(known_ids)
        both = zip(anchors, others)
        keep = np.array([a in known and b in known for a, b in both], bool)
    rows = (text_array(anchors), text_array(others), labels, weights, sources)
    pairs = _believing_hand(*(column[keep] for column in rows))
    if not len(pairs):
        raise InputError(_no_pairs(len(labels), keep, pairs), path=path)
    if pairs.conflict_note:
        log.warning("%s: %s", path, pairs.conflict_note)
    unknown = {"unknown id": int((~keep).sum())}
    return replace(pairs, dropped=_counts({**pairs.dropped, **unknown}))


def _believing_hand(
    anchor_ids: np.ndarray,
    other_ids: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    sources: np.ndarray,
) -> Pairs:
    """Returns the canonical pairs of rows from both sources."""
    parts = []
    for source in SOURCES:
        of = sources == source
        parts.append(
            canonical_pairs(
                anchor_ids[of],
                other_ids[of],
                labels[of],
                weights=weights[of],
                source=source,
            )
        )
    hand, mined = parts
    # Joining costs as much as reading: only where there is something to join.
    if not (sources == "hand").any():
        return mined
    return join_pairs(hand, mined) if (sources == "mined").any() else hand


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


def _numbered(
    anchor_ids: Sequence[str] | np.ndarray, other_ids: Sequence[str] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids in order, and [2, N] int64 places among them, the lower first."""
    names = text_array(sorted({*anchor_ids, *other_ids}))
    place = {id: number for number, id in enumerate(names)}
    columns = [[place[id] for id in ids] for ids in (anchor_ids, other_ids)]
    return names, np.sort(np.array(columns, np.int64).reshape(2, -1), axis=0)


def _bits(labels: Sequence[int] | np.ndarray) -> np.ndarray:
    found = np.asarray(labels)
    if not np.isin(found, (0, 1)).all():
        raise ValueError("labels must be 0 or 1.")
    return found.astype(np.int8)


def _counts(dropped: Mapping[str, int]) -> dict[str, int]:
    """Returns the reasons that occurred."""
    return {why: count for why, count in dropped.items() if count}


def _sources(read: ReadTable, *, default: str) -> np.ndarray:
    sources = text_array([text or default for text in read.strings("source")])
    if not set(sources) <= set(SOURCES):
        row, wrong = next(p for p in zip(read.rows, sources) if p[1] not in SOURCES)
        raise read.error(f"source must be {' or '.join(SOURCES)}, got {wrong!r}.", row)
    return sources


def _no_pairs(total: int, keep: np.ndarray, pairs: Pairs) -> str:
    if total and not keep.any():
        return f"none of its {total} pairs has both ids in the catalogue."
    why = f": {pairs.conflict_note}" if pairs.conflict_note else ""
    return f"no usable pair is in it{why}."


def _numbers(read: ReadTable, column: str) -> np.ndarray:
    texts = read.strings(column)
    try:
        return np.array([float(text) for text in texts])
    except ValueError:
        for row, text in zip(read.rows, texts):
            try:
                float(text)
            except ValueError:
                raise read.error(
                    f"{column} must be a number, got {text!r}.", row
                ) from None
        raise


def _check_range(read: ReadTable, labels: np.ndarray, weights: np.ndarray) -> None:
    wrong = ~np.isin(labels, (0, 1)) | ~((weights > 0) & (weights < np.inf))
    for place in np.flatnonzero(wrong)[:1]:
        if labels[place] not in (0, 1):
            reason = f"label must be 1 (similar) or 0 (not), got {labels[place]:g}."
        else:
            reason = f"weight must be above 0, got {weights[place]:g}."
        raise read.error(reason, read.rows[place])
