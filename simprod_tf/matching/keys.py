"""Exact keys: products that share a trade item number or a model number."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from simprod_tf.errors import SimprodError

# What the columns of keys are usually called, and which kind each is of.
KEY_COLUMNS = {
    "gtin": "gtin",
    "ean": "gtin",
    "upc": "gtin",
    "barcode": "gtin",
    "model": "model",
    "model_number": "model",
    "modelno": "model",
    "mpn": "model",
}
_MIN_MODEL_LENGTH = 4
_NUM_EXAMPLES = 5


def normal_gtin(text: str) -> str:
    """Returns a GTIN, EAN or UPC as 14 digits, "" where it is none.

    Blanks and hyphens are dropped; 8 to 14 digits must be left, not all the same, with
    the check digit of GS1 (General Specifications, section 7.9,
    https://www.gs1.org/services/how-calculate-check-digit-manually). Numbers that lost
    their leading zeros in a spreadsheet, or gained a ".0", come out right.
    """
    plain = unicodedata.normalize("NFKC", text).strip()
    digits = re.sub(r"[\s\-]", "", re.sub(r"\.0$", "", plain))
    if not re.fullmatch(r"[0-9]{8,14}", digits) or len(set(digits)) == 1:
        return ""
    padded = digits.zfill(14)
    total = sum(int(digit) * (3, 1)[at % 2] for at, digit in enumerate(padded))
    return padded if total % 10 == 0 else ""


def normal_model(text: str) -> str:
    """Returns a model number without case and separators, "" where it is none.

    It has 4 characters or more and a digit among them: "n/a", "none" and "5" are none.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    plain = re.sub(r"[\W_]+", "", folded)
    stands = len(plain) >= _MIN_MODEL_LENGTH and re.search(r"\d", plain)
    return plain if stands else ""


_NORMAL: dict[str, Callable[[str], str]] = {"gtin": normal_gtin, "model": normal_model}


def key_columns(names: Iterable[str]) -> dict[str, str]:
    """Returns those columns that are called as keys usually are, with their kinds."""
    kinds = {name: KEY_COLUMNS.get(name.strip().casefold()) for name in names}
    return {name: kind for name, kind in kinds.items() if kind}


@dataclass(frozen=True)
class KeyReport:
    """What became of the values of one kind of key.

    Attributes:
        num_values: how many the columns hold.
        num_invalid: how many of them are no key of this kind.
        num_shared: distinct keys that several products share: those that count.
        num_placeholders: distinct keys shared by too many products to be one.
        placeholders: some of them and how many products each has, most first.
    """

    num_values: int
    num_invalid: int
    num_shared: int
    num_placeholders: int
    placeholders: tuple[tuple[str, int], ...]


@dataclass(frozen=True, eq=False)
class _Members:
    """Which rows have which key, sorted both ways.

    Attributes:
        by_key: [M] int64 rows, key by key.
        key_starts: [K + 1] int64, where each key begins in `by_key`.
        by_row: [M] int64 keys, row by row.
        row_starts: [N + 1] int64, where each row begins in `by_row`.
    """

    by_key: np.ndarray
    key_starts: np.ndarray
    by_row: np.ndarray
    row_starts: np.ndarray


class KeyGroups:
    """The products of a catalogue by their exact keys; `of_columns` makes it."""

    def __init__(
        self,
        members: Mapping[str, _Members],
        reports: Mapping[str, KeyReport],
        *,
        num_products: int,
    ) -> None:
        """Takes what `of_columns` sorted."""
        self._members = dict(members)
        self.reports = dict(reports)
        self._num_products = num_products

    @classmethod
    def of_columns(
        cls, table: pa.Table, columns: Mapping[str, str], *, max_shared: int = 50
    ) -> KeyGroups:
        """Returns the groups of products that share a key.

        A cell may hold several keys: a list, or text with ";", "," or "|" between.

        Args:
            table: N rows, in the row order of the index that is searched.
            columns: of each column that holds keys the kind, "gtin" or "model";
                columns of one kind are compared with one another, too.
            max_shared: a value of more products than this is a placeholder, no key.

        Raises:
            SimprodError: the table lacks a column.
            ValueError: there is no such kind, or `max_shared` is below 2.
        """
        if max_shared < 2:
            raise ValueError(f"max_shared must be at least 2, got {max_shared}.")
        _require(columns, table.column_names)
        members, reports = {}, {}
        for kind in dict.fromkeys(columns.values()):
            chosen = [table.column(name) for name in columns if columns[name] == kind]
            found = _found(chosen, _NORMAL[kind])
            members[kind], reports[kind] = _grouped(
                found, num_products=table.num_rows, max_shared=max_shared
            )
        return cls(members, reports, num_products=table.num_rows)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of key, in the order of the columns."""
        return tuple(self._members)

    def __len__(self) -> int:
        """The number of products, with a key or without."""
        return self._num_products

    def partners(self, kind: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (lines, others), both [C] int64: who shares a key with whom.

        `others` are the rows that share a key with `rows[lines]`, which are not among
        them; one that shares two keys comes twice.
        """
        held = self._members[kind]
        lines, places = _spread(held.row_starts, rows)
        which, others = _spread(held.key_starts, held.by_row[places])
        lines, others = lines[which], held.by_key[others]
        apart = others != rows[lines]
        return lines[apart], others[apart]


@dataclass(frozen=True, eq=False)
class _Found:
    """The keys as they stand in the columns: [M] rows and [M] codes of `keys`."""

    rows: np.ndarray
    codes: np.ndarray
    keys: Sequence[str]
    num_values: int


def _require(columns: Mapping[str, str], names: Sequence[str]) -> None:
    unknown = set(columns.values()) - set(_NORMAL)
    if unknown:
        raise ValueError(
            f"A kind of key is one of {', '.join(_NORMAL)}, got {min(unknown)!r}."
        )
    missing = [name for name in columns if name not in names]
    if missing:
        raise SimprodError(
            f"There is no column {missing[0]!r} to take keys from; the columns are: "
            f"{', '.join(names) or 'none'}."
        )


def _found(columns: Sequence[pa.ChunkedArray], normal: Callable[[str], str]) -> _Found:
    codes: dict[str, int] = {}
    rows, found, num_values = [], [], 0
    for column in columns:
        for row, cell in enumerate(column.to_pylist()):
            for text in _texts(cell):
                num_values += 1
                key = normal(text)
                if key:
                    rows.append(row)
                    found.append(codes.setdefault(key, len(codes)))
    arrays = np.array(rows, np.int64), np.array(found, np.int64)
    return _Found(*arrays, list(codes), num_values)


def _texts(cell: object) -> Iterator[str]:
    if isinstance(cell, (list, tuple)):
        for one in cell:
            yield from _texts(one)
    elif cell is not None and cell == cell:  # NaN is not itself.
        yield from filter(None, (part.strip() for part in re.split("[;,|]", str(cell))))


def _grouped(
    found: _Found, *, num_products: int, max_shared: int
) -> tuple[_Members, KeyReport]:
    held = np.unique(found.codes * max(1, num_products) + found.rows)
    codes, rows = np.divmod(held, max(1, num_products))
    sizes = np.bincount(codes, minlength=len(found.keys))
    wide = np.flatnonzero(sizes > max_shared)
    shared = (sizes > 1) & (sizes <= max_shared)
    kept = shared[codes]
    # Keys numbered anew, in the order in which they are sorted already.
    codes, rows = (np.cumsum(shared) - 1)[codes[kept]], rows[kept]
    order = np.argsort(rows, kind="stable")
    widest = wide[np.argsort(-sizes[wide], kind="stable")][:_NUM_EXAMPLES]
    report = KeyReport(
        num_values=found.num_values,
        num_invalid=found.num_values - len(found.codes),
        num_shared=int(shared.sum()),
        num_placeholders=len(wide),
        placeholders=tuple((found.keys[key], int(sizes[key])) for key in widest),
    )
    members = _Members(
        by_key=rows,
        key_starts=_starts(codes, int(shared.sum())),
        by_row=codes[order],
        row_starts=_starts(rows, num_products),
    )
    return members, report


def _starts(numbers: np.ndarray, size: int) -> np.ndarray:
    """Returns [size + 1]: where each number would begin if they stood in order."""
    return np.concatenate([[0], np.cumsum(np.bincount(numbers, minlength=size))])


def _spread(starts: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (which of `wanted`, place): every place of every wanted stretch."""
    begins = starts[wanted]
    counts = starts[wanted + 1] - begins
    which = np.repeat(np.arange(len(wanted)), counts)
    before = np.cumsum(counts) - counts
    places = np.arange(len(which)) - np.repeat(before - begins, counts)
    return which, places
