"""Product-matching sets of Web Data Commons as a catalogue and pairs.

Both the WDC training sets and gold standard for large-scale product matching (LSPC,
Primpeli, Peeters, Bizer, WWW 2019; version 2.0) and WDC Products (Peeters, Der, Bizer,
EDBT 2024) have a pair of offers a line, JSON in gzip: `pair_id`, `label` (1 = the same
product), and, each with `_left` and `_right`, `id`, `cluster_id`, `title` and further
attributes. Files:

    computers_train_medium.json.gz      LSPC; sizes small, medium, large, xlarge
    computers_valid_medium.csv          pair_id of the training pairs to validate on
    computers_gs.json.gz                the gold standard, the test part
    wdcproducts80cc20rnd000un_train_medium.json.gz, ..._valid_medium.json.gz
    wdcproducts80cc20rnd000un_gs.json.gz, ...rnd050un_gs..., ...rnd100un_gs...

Pages: https://webdatacommons.org/largescaleproductcorpus/v2/ and
https://webdatacommons.org/largescaleproductcorpus/wdc-products/
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from simprod_tf.data.formats.checked_table import read_checked
from simprod_tf.data.formats.conversion import Conversion, Progress, silent
from simprod_tf.data.formats.labelled_set import (
    LabelledLines,
    LabelledSet,
    write_labelled_set,
)
from simprod_tf.data.formats.wdc_file import SOURCE, Offer, OfferPair, offer_pairs
from simprod_tf.data.formats.wdc_folder import wdc_files
from simprod_tf.errors import InputError


@dataclass(frozen=True, eq=False)
class WdcSet(LabelledSet):
    """A set as read; `differing` offers came back with other text."""

    differing: int


@dataclass
class _Offers:
    """The offers met so far, by id, and how many came back reading otherwise."""

    by_id: dict[str, Offer] = field(default_factory=dict)
    differing: set[str] = field(default_factory=set)

    def meet(self, offer: Offer) -> None:
        if self.by_id.setdefault(offer.id, offer) != offer:
            self.differing.add(offer.id)


@dataclass(frozen=True)
class _Labelled:
    """A pair without its offers: they are many times larger."""

    pair_id: str
    left: str
    right: str
    label: int


def convert(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    size: str | None = None,
    progress: Progress = silent,
) -> Conversion:
    """Writes `catalog.csv` and `pairs_<part>.csv`: see `read_wdc`."""
    found = read_wdc(folder, size=size, progress=progress)
    done = write_labelled_set(found, Path(out))
    if not found.differing:
        return done
    note = (
        f"{found.differing:,} offers read otherwise on a later line; the first is kept"
    )
    return Conversion(done.paths, (*done.notes, note))


def read_wdc(
    folder: str | os.PathLike[str],
    *,
    size: str | None = None,
    progress: Progress = silent,
) -> WdcSet:
    """Returns the offers and the labelled pairs of each part.

    group = cluster, the products as WDC's identifiers tell them: it answers the test
    pairs, too, so train on the pairs and not on these groups where they are to be
    judged. Parts are train, valid and test; WDC Products' tests with half and with all
    of the products unseen are `test_050un` and `test_100un`. An offer that comes back
    with other text keeps the text of its first line.

    Args:
        folder: holds one set; LSPC's `computers_train/` and `computers_valid/` within
            it are looked into.
        size: of the training set, where the folder has several.
        progress: told of the bytes read of each file.

    Raises:
        InputError: a file or a line is missing or not of this layout.
    """
    files = wdc_files(Path(folder), size=size)
    offers = _Offers()
    parts = {part: _read(path, offers, progress) for part, path in files.parts.items()}
    if files.valid_ids is not None:
        parts = _with_valid(parts, files.valid_ids, files.parts["train"])
    lines = {part: _lines(labelled) for part, labelled in parts.items()}
    return WdcSet(_catalog(offers.by_id), lines, len(offers.differing))


def _read(path: Path, offers: _Offers, progress: Progress) -> list[_Labelled]:
    labelled = []
    for pair in offer_pairs(path, progress=progress):
        offers.meet(pair.left)
        offers.meet(pair.right)
        labelled.append(_label(pair))
    return labelled


def _label(pair: OfferPair) -> _Labelled:
    return _Labelled(pair.pair_id, pair.left.id, pair.right.id, pair.label)


def _with_valid(
    parts: Mapping[str, list[_Labelled]], path: Path, train_path: Path
) -> dict[str, list[_Labelled]]:
    """Returns the parts, with the training pairs that are to validate on apart."""
    read = read_checked(path, ["pair_id"], source=SOURCE)
    chosen = dict(zip(read.strings("pair_id"), read.rows))
    absent = chosen.keys() - {pair.pair_id for pair in parts["train"]}
    if absent:
        id = min(absent, key=chosen.__getitem__)
        raise InputError(
            f"pair {id!r} does not stand in {train_path.name}.",
            path=path,
            row=chosen[id],
        )
    train = [pair for pair in parts["train"] if pair.pair_id not in chosen]
    valid = [pair for pair in parts["train"] if pair.pair_id in chosen]
    tests = {part: pairs for part, pairs in parts.items() if part != "train"}
    return {"train": train, "valid": valid, **tests}


def _lines(labelled: list[_Labelled]) -> LabelledLines:
    return LabelledLines(
        [pair.left for pair in labelled],
        [pair.right for pair in labelled],
        [pair.label for pair in labelled],
    )


def _catalog(offers: Mapping[str, Offer]) -> pa.Table:
    names = dict.fromkeys(name for one in offers.values() for name in one.attributes)
    columns = {
        "id": [offer.id for offer in offers.values()],
        "title": [offer.title for offer in offers.values()],
        "group": [offer.cluster for offer in offers.values()],
    }
    for name in names:
        columns[name] = [one.attributes.get(name, "") for one in offers.values()]
    return pa.table({name: pa.array(v, pa.string()) for name, v in columns.items()})
