"""Entity-matching sets as folders of CSV files (ER-Magellan, DeepMatcher).

`tableA.csv` and `tableB.csv` hold records: `id` and attributes, the same in both.
`train.csv`, `valid.csv` and `test.csv` hold labelled pairs of them:
`ltable_id,rtable_id,label`, label 1 = the same. Layout and sets: Mudgal et al. 2018,
"Deep Learning for Entity Matching", https://doi.org/10.1145/3183713.3196926; list:
https://github.com/anhaidgroup/deepmatcher/blob/master/Datasets.md

The parts are of pairs, not of records: see `product_matching`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from simprod_tf.data.formats.checked_table import read_checked, require_unique
from simprod_tf.data.formats.conversion import Conversion, Progress, silent
from simprod_tf.data.formats.labelled_set import (
    LabelledLines,
    LabelledSet,
    write_labelled_set,
)
from simprod_tf.data.formats.product_matching import (
    PARTS,
    TITLES,
    attribute_column,
)
from simprod_tf.data.formats.source import Source
from simprod_tf.errors import InputError

SIDES = {"a": "tableA.csv", "b": "tableB.csv"}
PAIR_COLUMNS = ("ltable_id", "rtable_id", "label")
SOURCE = Source(
    "an ER-Magellan/DeepMatcher set (2018)",
    "https://github.com/anhaidgroup/deepmatcher/blob/master/Datasets.md",
    "each set's own; see that page",
    "tableA.csv and tableB.csv (id and attributes), train.csv, valid.csv and perhaps "
    f"test.csv ({','.join(PAIR_COLUMNS)})",
)


def convert(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    progress: Progress = silent,
) -> Conversion:
    """Writes `catalog.csv` and `pairs_<part>.csv`: see `read_magellan`."""
    return write_labelled_set(read_magellan(folder), Path(out))


def read_magellan(folder: str | os.PathLike[str]) -> LabelledSet:
    """Returns the records of both tables and the labelled pairs of each part.

    An id keeps its table: `a/17`, `b/3`. The title is the attribute `title`, else
    `name`, else the first one; where that is empty, the first one that is not. The
    attribute `table` is `a` or `b`; all others stay columns.

    Raises:
        InputError: a file or a row is missing or not of this layout.
    """
    root = Path(folder)
    records = {side: _records(root / name, side) for side, name in SIDES.items()}
    catalog = pa.concat_tables(list(records.values()), promote_options="default")
    known = set(catalog["id"].to_pylist())
    lines = {}
    for part in PARTS:
        path = root / f"{part}.csv"
        if part != "test" or path.is_file():
            lines[part] = _lines(path, known)
    return LabelledSet(_without_null(catalog), lines)


def _records(path: Path, side: str) -> pa.Table:
    read = read_checked(path, ["id"], source=SOURCE)
    names = [name for name in read.table.column_names if name != "id"]
    if not names:
        raise SOURCE.misfit(path, "records need an attribute beside their id.")
    values = {name: read.strings(name) for name in names}
    require_unique(read.strings("id"), read.rows, path)
    title = next((name for name in TITLES if name in names), names[0])
    titles = []
    for row, *known in zip(read.rows, values[title], *values.values()):
        found = next((value for value in known if value), "")
        if not found:
            raise InputError("every attribute is empty.", path=path, row=row)
        titles.append(found)
    columns = {
        "id": [f"{side}/{id}" for id in read.strings("id")],
        "title": titles,
        "table": [side] * len(titles),
        **{attribute_column(name): values[name] for name in names if name != title},
    }
    return pa.table({name: pa.array(v, pa.string()) for name, v in columns.items()})


def _lines(path: Path, known: set[str]) -> LabelledLines:
    read = read_checked(path, PAIR_COLUMNS, source=SOURCE)
    lefts = [f"a/{id}" for id in read.strings("ltable_id")]
    rights = [f"b/{id}" for id in read.strings("rtable_id")]
    labels = read.strings("label")
    for row, left, right, label in zip(read.rows, lefts, rights, labels):
        for id in (left, right):
            if id not in known:
                raise InputError(
                    f"id {id[2:]!r} does not stand in {SIDES[id[0]]}.",
                    path=path,
                    row=row,
                )
        if label not in ("0", "1"):
            raise InputError(
                f"label must be 1 (the same) or 0, got {label!r}.", path=path, row=row
            )
    return LabelledLines(lefts, rights, [int(label) for label in labels])


def _without_null(table: pa.Table) -> pa.Table:
    """Returns the table with "" for an attribute that one side does not have."""
    columns = {name: table[name].fill_null("") for name in table.column_names}
    return pa.table(columns)
