"""A file of Web Data Commons' pairs of offers, line by line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simprod_tf.data.formats.conversion import Progress, silent
from simprod_tf.data.formats.product_matching import attribute_column
from simprod_tf.data.formats.source import Source
from simprod_tf.errors import InputError

SOURCE = Source(
    "a product-matching set of Web Data Commons (LSPC 2.0 of 2019, WDC Products)",
    "https://webdatacommons.org/largescaleproductcorpus/v2/ or .../wdc-products/",
    "those of Common Crawl; see that page",
    "<name>_train_<size>.json.gz, <name>_valid_<size>.csv or .json.gz, perhaps "
    "<name>_gs.json.gz; a line is a JSON object with pair_id, label, and id_left, "
    "cluster_id_left, title_left, id_right, cluster_id_right, title_right",
)
_SIDES = ("left", "right")
_NEEDED = ("pair_id", "label", *(f"{n}_{s}" for s in _SIDES for n in ("id", "title")))
_TOLD_EVERY = 2000


@dataclass(frozen=True)
class Offer:
    """One offer of a product; `attributes` is what it has beside title and cluster."""

    id: str
    title: str
    cluster: str
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class OfferPair:
    """Two offers and whether they are of the same product: 1, or not: 0."""

    pair_id: str
    left: Offer
    right: Offer
    label: int


def offer_pairs(path: Path, *, progress: Progress = silent) -> Iterator[OfferPair]:
    """Yields the pairs of a file in its order; rows in errors are lines.

    Raises:
        InputError: the file is missing, empty, no gzip, cut short, or a line is faulty.
    """
    row, size = 0, SOURCE.require(path).stat().st_size
    with path.open("rb") as raw, gzip.open(raw) as lines:
        try:
            for row, line in enumerate(lines, start=1):
                if line.strip():
                    yield _pair(line, path, row)
                if row % _TOLD_EVERY == 0:
                    progress(f"Reading {path.name}", raw.tell(), size)
        except (EOFError, OSError, zlib.error) as error:
            raise InputError(
                f"no gzip file, or one cut short ({error}).", path=path
            ) from error
    if not row:
        raise InputError("the file is empty.", path=path)
    progress(f"Reading {path.name}", size, size)


def _pair(line: bytes, path: Path, row: int) -> OfferPair:
    try:
        record = json.loads(line)
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text.", path=path, row=row) from error
    except ValueError as error:
        raise InputError(f"not JSON: {error}.", path=path, row=row) from error
    if not isinstance(record, dict):
        raise InputError("not a JSON object.", path=path, row=row)
    absent = [name for name in _NEEDED if name not in record]
    if absent:
        raise SOURCE.misfit(path, f"{absent[0]!r} is missing.", row=row)
    if record["label"] not in (0, 1, "0", "1"):
        raise InputError(
            f"label must be 1 (the same product) or 0, got {record['label']!r}.",
            path=path,
            row=row,
        )
    left, right = (_offer(record, side, path, row) for side in _SIDES)
    return OfferPair(str(record["pair_id"]), left, right, int(record["label"]))


def _offer(record: Mapping[str, Any], side: str, path: Path, row: int) -> Offer:
    values = {
        name.removesuffix(f"_{side}"): _text(value)
        for name, value in record.items()
        if name.endswith(f"_{side}")
    }
    id, title = values.pop("id"), values.pop("title")
    cluster = values.pop("cluster_id", "")
    # The title is missing now and then; a product needs some text.
    title = title or next((text for text in values.values() if text), "")
    if not id or not title:
        what = "id" if not id else "text"
        raise InputError(f"the {side} offer has no {what}.", path=path, row=row)
    attributes = {attribute_column(name): text for name, text in values.items()}
    return Offer(id, title, cluster, attributes)


def _text(value: object) -> str:
    """Returns a value as text; what is nested stays JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    return json.dumps(value, ensure_ascii=False)
