"""Product-matching sets in the serialised layout of Ditto, as a catalogue and pairs.

A line holds two records and a label, 1 = the same product, with tabs between them:

    COL name VAL blue mug COL price VAL 4.5<TAB>COL name VAL mug COL price VAL <TAB>1

`train.txt`, `valid.txt` and `test.txt` hold one part each; the sets of WDC add their
size, as in `train.txt.small`. Layout: Li et al. 2021, "Deep Entity Matching with
Pre-Trained Language Models", https://arxiv.org/abs/2004.00584; sets: Mudgal et al.
2018, "Deep Learning for Entity Matching", https://doi.org/10.1145/3183713.3196926.

The parts are of pairs, not of records: most records of `valid` stand in pairs of
`train` too, and, as records that read alike are one here, so do some pairs. Figures on
these pairs compare with published ones, and no more. No `split.parquet` is written:
none could follow the parts without a leak. `simprod train` without a split makes its
own, which parts no component.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from simprod_tf.data.catalog import OWN_COLUMNS
from simprod_tf.data.formats.conversion import whole_files
from simprod_tf.data.formats.labelled_set import LabelledLines
from simprod_tf.data.formats.source import Source
from simprod_tf.data.pairs import Pairs, write_pairs
from simprod_tf.data.tables import write_table
from simprod_tf.errors import InputError
from simprod_tf.manifest import fingerprint

PARTS = ("train", "valid", "test")
# Published sets call what a shop writes above a product by one of these.
TITLES = ("title", "name")
SOURCE = Source(
    "a product-matching set in Ditto's layout (2021)",
    "https://github.com/megagonlabs/ditto",
    "Apache-2.0 for its copies, each set's own besides; see that page",
    "train.txt, valid.txt and perhaps test.txt, or these with a size at the end of "
    "their names (train.txt.small); a line is `COL name VAL value ...`, a tab, another "
    "such record, a tab and 1 or 0",
)
_ATTRIBUTE = re.compile(r"(?:^|(?<= ))COL (\S+) VAL(?= |$)")

Record = dict[str, str]


@dataclass(frozen=True)
class Overlap:
    """How many of a part's records and pairs stand in `train` too."""

    records: int
    of_records: int
    pairs: int
    of_pairs: int


@dataclass(frozen=True, eq=False)
class MatchingSet:
    """A product-matching set as read.

    Attributes:
        catalog: `id`, `title`, `table` ("left", "right" or "both": where the record
            stands in pairs), and every other attribute; each distinct record once.
        title_attribute: what the titles were called in the set.
        pairs: of each part that there is, by its name.
        lines: the same as the files have them, nothing left out.
        overlaps: what each part but `train` shares with `train`.
    """

    catalog: pa.Table
    title_attribute: str
    pairs: Mapping[str, Pairs]
    lines: Mapping[str, LabelledLines]
    overlaps: Mapping[str, Overlap]


@dataclass(frozen=True)
class _Line:
    """Where a line stands, its two records and its label."""

    path: Path
    row: int
    left: Record
    right: Record
    label: int


def convert(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    size: str | None = None,
) -> MatchingSet:
    """Writes `catalog.csv` and `pairs_<part>.csv` into the folder `out`.

    See `read_product_matching`; nothing is written unless all of it can be read.
    """
    found = read_product_matching(folder, size=size)
    with whole_files(out) as place:
        write_table(found.catalog, place / "catalog.csv")
        for part, pairs in found.pairs.items():
            write_pairs(pairs, place / f"pairs_{part}.csv")
    return found


def read_product_matching(
    folder: str | os.PathLike[str], *, size: str | None = None
) -> MatchingSet:
    """Returns the records and labelled pairs of a set.

    A record's id is a hash of its content: the same record has the same id in every
    part, on both sides, and in each size of a set. The title is the attribute `title`,
    else `name`, else the first one, and nothing besides; all others stay columns.

    Args:
        folder: holds `train.txt`, `valid.txt` and perhaps `test.txt`.
        size: at the end of the files' names, as in `train.txt.small`; where there is no
            test of that size, `test.txt` is taken.

    Raises:
        InputError: a file is missing, empty or not of this layout; rows are lines.
    """
    parts = {
        part: list(_lines(path))
        for part, path in _files(Path(folder), size).items()
        if part != "test" or path.is_file()
    }
    title = _title_attribute(parts["train"][0].left)
    ids = {part: [_ids(line, title) for line in parts[part]] for part in parts}
    lines = {
        part: LabelledLines(
            [left for left, _ in ids[part]],
            [right for _, right in ids[part]],
            [line.label for line in parts[part]],
        )
        for part in parts
    }
    pairs = {part: labelled.pairs() for part, labelled in lines.items()}
    overlaps = {
        part: _overlap(ids[part], ids["train"]) for part in parts if part != "train"
    }
    return MatchingSet(_catalog(parts, ids, title), title, pairs, lines, overlaps)


def _files(folder: Path, size: str | None) -> dict[str, Path]:
    suffix = "" if size is None else f".{size}"
    files = {part: folder / f"{part}.txt{suffix}" for part in PARTS}
    sizes = sorted(
        path.name[len("train.txt.") :] for path in folder.glob("train.txt.*")
    )
    if sizes and not files["train"].is_file():
        raise InputError(
            "there is no such file, but sizes of it: choose --size "
            f"{' or '.join(sizes)}.",
            path=files["train"],
        )
    if not files["test"].is_file():
        # One test may serve all sizes.
        files["test"] = folder / "test.txt"
    return files


def _lines(path: Path) -> Iterator[_Line]:
    content = SOURCE.require(path).read_bytes().removeprefix(codecs.BOM_UTF8)
    if not content.strip():
        raise InputError("the file is empty.", path=path)
    # Not splitlines: titles from the web hold other characters that it breaks at.
    for row, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            try:
                yield _line(line.decode("utf-8"), path, row)
            except UnicodeDecodeError as error:
                raise InputError("not UTF-8 text.", path=path, row=row) from error


def _line(text: str, path: Path, row: int) -> _Line:
    fields = text.split("\t")
    if len(fields) != 3:
        raise InputError(
            f"expected two records and a label with tabs between them, got "
            f"{len(fields)} fields.",
            path=path,
            row=row,
        )
    left, right, label = fields
    if label.strip() not in ("0", "1"):
        raise InputError(
            f"label must be 1 (the same product) or 0, got {label.strip()!r}.",
            path=path,
            row=row,
        )
    return _Line(
        path, row, _record(left, path, row), _record(right, path, row), int(label)
    )


def _record(text: str, path: Path, row: int) -> Record:
    start, *rest = _ATTRIBUTE.split(text.strip())
    if start or not rest:
        raise InputError(
            f"a record must read `COL name VAL value ...`, got {text[:60]!r}.",
            path=path,
            row=row,
        )
    names, values = rest[::2], rest[1::2]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(
            f"attribute {twice[0]!r} stands twice in a record.", path=path, row=row
        )
    return dict(zip(names, (value.strip() for value in values)))


def _title_attribute(record: Record) -> str:
    return next((name for name in TITLES if name in record), next(iter(record)))


def _ids(line: _Line, title: str) -> tuple[str, str]:
    for record in (line.left, line.right):
        if not record.get(title):
            raise InputError(
                f"a record has no {title!r}, which is the title in this set.",
                path=line.path,
                row=line.row,
            )
    return _record_id(line.left), _record_id(line.right)


def _record_id(record: Record) -> str:
    # Empty attributes and their order say nothing of a product.
    known = sorted((name, value) for name, value in record.items() if value)
    # The letter keeps a spreadsheet from reading hex digits as a number.
    return "r" + fingerprint((name, value.encode()) for name, value in known)


def _overlap(part: list[tuple[str, str]], train: list[tuple[str, str]]) -> Overlap:
    records, trained = ({id for pair in one for id in pair} for one in (part, train))
    pairs, trained_pairs = ({frozenset(pair) for pair in one} for one in (part, train))
    return Overlap(
        len(records & trained), len(records), len(pairs & trained_pairs), len(pairs)
    )


def _catalog(
    parts: Mapping[str, list[_Line]],
    ids: Mapping[str, list[tuple[str, str]]],
    title: str,
) -> pa.Table:
    records: dict[str, Record] = {}
    tables: dict[str, set[str]] = {}
    for part, lines in parts.items():
        for line, (left, right) in zip(lines, ids[part]):
            for table, id in (("left", left), ("right", right)):
                records.setdefault(id, line.left if table == "left" else line.right)
                tables.setdefault(id, set()).add(table)
    names = dict.fromkeys(name for record in records.values() for name in record)
    columns = {
        "id": list(records),
        "title": [record[title] for record in records.values()],
        "table": ["both" if len(on) > 1 else min(on) for on in tables.values()],
    }
    for name in names:
        if name != title:
            values = [record.get(name, "") for record in records.values()]
            columns[attribute_column(name)] = values
    return pa.table({name: pa.array(v, pa.string()) for name, v in columns.items()})


def attribute_column(attribute: str) -> str:
    """Returns a name for an attribute that the catalogue's own columns leave free."""
    taken = attribute in (*OWN_COLUMNS, "table")
    return f"record_{attribute}" if taken else attribute
