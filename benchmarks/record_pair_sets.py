"""Sets of labelled pairs for `record.py`, as their publishers lay them out.

Each line of a set's files counts, as in published results: a pair that stands there
twice counts twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from simprod_tf.data.catalog import OWN_COLUMNS, Catalog, read_catalog, text_array
from simprod_tf.data.formats import product_matching
from simprod_tf.data.formats.labelled_set import LabelledLines
from simprod_tf.data.formats.magellan import read_magellan
from simprod_tf.data.formats.wdc import read_wdc
from simprod_tf.data.pairs import Pairs, canonical_pairs
from simprod_tf.data.tables import read_table
from simprod_tf.errors import InputError, SimprodError

# The layout of our own tables: a catalogue and a file of pairs for each part.
WITH_PAIRS = "catalog-pairs"
CATALOGS = ("catalog.csv", "catalog.parquet", "catalog.jsonl")
# Of all records, the share on both sides up to which a set links two tables.
_MOST_ON_BOTH = 0.01
_PARTS = ("train", "valid", "test")

# By part: the left ids, the right ids and the labels of each line.
Ends = Mapping[str, "tuple[Sequence[str], Sequence[str], Sequence[int]]"]


@dataclass(frozen=True, eq=False)
class Lines:
    """The pairs of one file: a row a line, nothing left out.

    Attributes:
        rows: [N, 2] int64 rows of the catalogue, left and right.
        labels: [N] int8, 1 = the same product.
    """

    rows: np.ndarray
    labels: np.ndarray

    def where(self, mask: np.ndarray) -> Lines:
        """Returns the lines that a [N] bool mask selects."""
        return Lines(self.rows[mask], self.labels[mask])

    def pairs(self, catalog: Catalog) -> Pairs:
        """Returns them as training takes them: each pair once, contradictions out."""
        first, second = (catalog.ids[self.rows[:, side]] for side in (0, 1))
        return canonical_pairs(first, second, self.labels)


@dataclass(frozen=True, eq=False)
class PairSet:
    """Products and labelled pairs in parts.

    Attributes:
        name, layout: Of the folder.
        catalog: All records of all parts, whichever is judged.
        lines: By part: train, valid, and test where the folder has it.
        tables: [P] str, where the pairs link records of two tables, else None.
        notes: What a reader of the figures should know.
    """

    name: str
    layout: str
    catalog: Catalog
    lines: Mapping[str, Lines]
    tables: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def part(self, split: str) -> Lines:
        """Returns the lines of one part."""
        wanted = {"val": "valid"}.get(split, split)
        if wanted not in self.lines:
            raise SimprodError(
                f"{self.name} has no part {wanted!r}; it has {', '.join(self.lines)}."
            )
        return self.lines[wanted]

    @property
    def has_groups(self) -> bool:
        """Whether the true groups are known."""
        return bool(np.any(self.catalog.groups != ""))


def _product_matching(folder: Path, size: str | None) -> PairSet:
    found = product_matching.read_product_matching(folder, size=size)
    ends, records = _ends(found.lines), found.catalog
    on_both = records["table"].to_pylist().count("both")
    linkage = on_both <= _MOST_ON_BOTH * len(records)
    if linkage:
        ends, records = _by_table(ends, records)
    catalog = _catalog_of(records.drop_columns(["table"]))
    tables = _tables_of(catalog) if linkage else None
    return _pair_set(folder, "product-matching", catalog, ends, tables)


def _ends(lines: Mapping[str, LabelledLines]) -> Ends:
    return {
        part: (one.left_ids, one.right_ids, one.labels) for part, one in lines.items()
    }


def _by_table(ends: Ends, records: pa.Table) -> tuple[Ends, pa.Table]:
    """Returns ids that name their table: a record on both sides is a product of each.

    So a line of two records that read alike is a pair of products, not of one.
    """
    named = {
        part: (_prefixed("left", left), _prefixed("right", right), labels)
        for part, (left, right, labels) in ends.items()
    }
    ids = sorted({id for one, two, _ in named.values() for id in (*one, *two)})
    row_of = {id: row for row, id in enumerate(records["id"].to_pylist())}
    rows = pa.array([row_of[id.split("/", 1)[1]] for id in ids], pa.int64())
    column = pa.array(ids, pa.string())
    place = records.column_names.index("id")
    return named, records.take(rows).set_column(place, "id", column)


def _tables_of(catalog: Catalog) -> np.ndarray:
    """Returns [P] str, what stands before the slash of each id."""
    return text_array([id.split("/", 1)[0] for id in catalog.ids])


def _prefixed(table: str, ids: Sequence[str]) -> list[str]:
    return [f"{table}/{id}" for id in ids]


def _er_magellan(folder: Path, size: str | None) -> PairSet:
    found = read_magellan(folder)
    catalog = _catalog_of(found.catalog.drop_columns(["table"]))
    ends, tables = _ends(found.lines), _tables_of(catalog)
    return _pair_set(folder, "er-magellan", catalog, ends, tables)


def _wdc(folder: Path, size: str | None) -> PairSet:
    found = read_wdc(folder, size=size)
    catalog = _catalog_of(found.catalog)
    return _pair_set(folder, "wdc", catalog, _ends(found.lines), None)


def _catalog_pairs(folder: Path, size: str | None) -> PairSet:
    path = next(folder / name for name in CATALOGS if (folder / name).is_file())
    catalog = read_catalog(path, check_pictures=False).catalog
    ends = {}
    for part in _PARTS:
        for file in sorted(folder.glob(f"pairs_{part}.*"))[:1]:
            read = read_table(file)
            read.require(["anchor_id", "other_id", "label"])
            ends[part] = (
                read.strings("anchor_id"),
                read.strings("other_id"),
                _labels(file, read.strings("label")),
            )
    tables = None
    if "table" in catalog.attributes.column_names:
        sides = catalog.column("table")
        tables = sides if set(sides) in ({"a", "b"}, {"left", "right"}) else None
    return _pair_set(folder, WITH_PAIRS, catalog, ends, tables)


def _pair_set(
    folder: Path,
    layout: str,
    catalog: Catalog,
    ends: Ends,
    tables: np.ndarray | None,
) -> PairSet:
    lines = {}
    for part, (left, right, labels) in ends.items():
        unknown = [id for id in (*left, *right) if id not in catalog]
        if unknown:
            raise InputError(
                f"{unknown[0]!r} of the {part} pairs is not in the catalogue "
                f"({len(unknown)} such ids).",
                path=folder,
            )
        rows = [catalog.rows_of(left), catalog.rows_of(right)]
        lines[part] = Lines(np.stack(rows, axis=1), np.array(labels, np.int8))
    if "train" not in lines:
        raise SimprodError(f"{folder} has no pairs to train on.")
    return PairSet(
        folder.name,
        layout,
        catalog,
        lines,
        tables,
        (f"the catalogue is all {len(catalog)} records of {', '.join(lines)}",),
    )


def _labels(path: Path, texts: Sequence[str]) -> list[int]:
    for row, text in enumerate(texts, start=2):
        if text.strip() not in ("0", "1"):
            raise InputError(
                f"label must be 1 (the same product) or 0, got {text!r}.",
                path=path,
                row=row,
            )
    return [int(text) for text in texts]


def _catalog_of(table: pa.Table) -> Catalog:
    """Returns the catalogue of a table of `id`, `title` and further columns."""

    def column(name: str) -> np.ndarray:
        if name not in table.column_names:
            return text_array([""] * len(table))
        return text_array(table[name].to_pylist())

    others = [name for name in table.column_names if name not in OWN_COLUMNS]
    return Catalog(
        column("id"),
        column("title"),
        column("image"),
        column("group"),
        table.select(others),
    )


PAIR_READERS: Mapping[str, Callable[[Path, str | None], PairSet]] = {
    "product-matching": _product_matching,
    "er-magellan": _er_magellan,
    "wdc": _wdc,
    WITH_PAIRS: _catalog_pairs,
}
