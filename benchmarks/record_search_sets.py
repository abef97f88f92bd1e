"""Sets of pictures or products in groups for `record.py`: queries seek their group."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from simprod_tf.data.catalog import Catalog, read_catalog
from simprod_tf.data.formats.layouts import convert_folder
from simprod_tf.data.split import split_catalog
from simprod_tf.errors import SimprodError

_HELD_OUT = 0.2


@dataclass(frozen=True, eq=False)
class SearchSet:
    """Products in groups, of which some are learned from and some are judged.

    Attributes:
        name, layout: Of the folder.
        catalog: All products; groups are those that a query is to find.
        train, queries, candidates: [N] int64 rows. A query is no candidate of its own.
        closed: Whether the judged groups are those of training (a classification), or
            others. It decides what training holds out to choose its epoch by.
        coarse: A column by whose value 1-NN is judged too, or "".
        note: What a reader of the figures should know, or "".
    """

    name: str
    layout: str
    catalog: Catalog
    train: np.ndarray
    queries: np.ndarray
    candidates: np.ndarray
    closed: bool = False
    coarse: str = ""
    note: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures should know."""
        sizes = (
            f"{len(self.train):,} products to learn from, {len(self.queries):,} "
            f"queries among {len(self.candidates):,} candidates"
        )
        return (sizes, self.note) if self.note else (sizes,)

    @property
    def has_groups(self) -> bool:
        """Whether the true groups are known: always."""
        return True


def _grocery(folder: Path, split: str) -> SearchSet:
    found = _converted(folder, "grocery-store")
    judged = {"valid": "val"}.get(split, split)
    if judged not in found:
        raise SimprodError(f"{folder} has no {judged}.csv.")
    catalog, (train, queries) = _joined([found["train"], found[judged]])
    return SearchSet(
        folder.name, "grocery-store", catalog, train, queries, train, True, "coarse"
    )


def _online_products(folder: Path, split: str) -> SearchSet:
    found = _converted(folder, "stanford-online-products")
    if split == "test":
        catalog, (train, judged) = _joined([found["train"], found["test"]])
    else:
        catalog = found["train"]
        train, judged = _held_out(catalog)
    layout = "stanford-online-products"
    return SearchSet(folder.name, layout, catalog, train, judged, judged)


def _in_shop(folder: Path, split: str) -> SearchSet:
    found = _converted(folder, "in-shop")
    if split == "test":
        parts = [found[name] for name in ("train", "query", "gallery")]
        catalog, (train, queries, gallery) = _joined(parts)
        return SearchSet(folder.name, "in-shop", catalog, train, queries, gallery)
    catalog = found["train"]
    train, judged = _held_out(catalog)
    return SearchSet(folder.name, "in-shop", catalog, train, judged, judged)


def _shopee(folder: Path, split: str) -> SearchSet:
    catalog = _converted(folder, "shopee")["catalog"]
    sides = split_catalog(catalog, validation=_HELD_OUT, test=_HELD_OUT, seed=0)
    side = "test" if split == "test" else "validation"
    train, judged = (catalog.rows_of(sides.ids(name)) for name in ("train", side))
    note = "the set's own test has no labels: parts by simprod split, seed 0"
    return SearchSet(folder.name, "shopee", catalog, train, judged, judged, note=note)


def _held_out(catalog: Catalog) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows to learn from and those to judge: whole groups, a fifth."""
    names = np.array(sorted(set(catalog.groups)))
    drawn = np.random.default_rng(0).permutation(len(names))
    held = set(names[drawn[: int(_HELD_OUT * len(names))]])
    judged = np.array([group in held for group in catalog.groups], bool)
    return np.flatnonzero(~judged), np.flatnonzero(judged)


def _joined(parts: Sequence[Catalog]) -> tuple[Catalog, list[np.ndarray]]:
    """Returns one catalogue of several with the same columns, and the rows of each."""

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    catalog = Catalog(
        column("ids"),
        column("titles"),
        column("images"),
        column("groups"),
        pa.concat_tables([part.attributes for part in parts]),
    )
    ends = np.cumsum([len(part) for part in parts])
    return catalog, np.split(np.arange(len(catalog)), ends[:-1])


def _converted(folder: Path, layout: str) -> dict[str, Catalog]:
    """Returns the catalogues that `simprod convert` writes, by their files' stems."""
    with tempfile.TemporaryDirectory() as scratch:
        convert_folder(layout, folder, scratch)
        return {
            path.stem: read_catalog(path, check_pictures=False).catalog
            for path in Path(scratch).iterdir()
        }


SEARCH_READERS: Mapping[str, Callable[[Path, str], SearchSet]] = {
    "grocery-store": _grocery,
    "shopee": _shopee,
    "stanford-online-products": _online_products,
    "in-shop": _in_shop,
}
