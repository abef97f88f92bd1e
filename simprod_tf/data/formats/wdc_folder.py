"""Which files of a folder make up one product-matching set of Web Data Commons."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from simprod_tf.data.formats.wdc_file import SOURCE
from simprod_tf.errors import InputError

_TRAIN = re.compile(r"(?P<name>.+)_train_(?P<size>[a-z]+)\.json\.gz")
# What tells the sets of WDC Products apart that share a training set.
_UNSEEN = re.compile(r"(?P<stem>.+rnd)(?P<unseen>\d+un)")


@dataclass(frozen=True)
class WdcFiles:
    """The files of one set, by part; `valid_ids` lists pairs of the training file."""

    parts: Mapping[str, Path]
    valid_ids: Path | None


def training_files(folder: Path) -> dict[tuple[str, str], Path]:
    """Returns the training files of a folder by name and size.

    LSPC's archives unpack into `computers_train/` and the like: these are seen, too.
    """
    found = {}
    for pattern in ("*_train_*.json.gz", "*_train/*_train_*.json.gz"):
        for path in sorted(folder.glob(pattern)):
            match = _TRAIN.fullmatch(path.name)
            if match:
                found[match["name"], match["size"]] = path
    return found


def wdc_files(folder: Path, *, size: str | None) -> WdcFiles:
    """Returns the files of the only set in the folder.

    Raises:
        InputError: none, several, or several sizes and none of them chosen.
    """
    found = training_files(folder)
    if not found:
        raise SOURCE.missing(
            folder / "*_train_*.json.gz", "there is no such file, which is needed."
        )
    names = sorted({name for name, _ in found})
    if len(names) > 1:
        raise InputError(
            f"the folder holds several sets: {', '.join(names)}; put each into a "
            "folder of its own.",
            path=folder,
        )
    sizes = sorted(size for _, size in found)
    if size is None and len(sizes) > 1:
        raise InputError(
            f"the set comes in sizes: choose --size {' or '.join(sizes)}.", path=folder
        )
    chosen = sizes[0] if size is None else size
    if chosen not in sizes:
        raise InputError(
            f"there is no size {chosen!r}; choose --size {' or '.join(sizes)}.",
            path=folder,
        )
    return _files(folder, names[0], chosen, found[names[0], chosen])


def _files(folder: Path, name: str, size: str, train: Path) -> WdcFiles:
    parts = {"train": train}
    stem = f"{name}_valid_{size}"
    places = (folder, folder / f"{name}_valid")
    own = [place / f"{stem}.json.gz" for place in places]
    listed = [place / f"{stem}.csv" for place in places]
    valid = next((path for path in own if path.is_file()), None)
    valid_ids = next((path for path in listed if path.is_file()), None)
    if valid is None and valid_ids is None:
        raise SOURCE.missing(listed[0], "there is no such file.")
    if valid is not None:
        parts["valid"], valid_ids = valid, None
    return WdcFiles({**parts, **_tests(folder, name)}, valid_ids)


def _tests(folder: Path, name: str) -> dict[str, Path]:
    tests = {}
    stem = _UNSEEN.fullmatch(name)
    for path in sorted(folder.glob("*_gs.json.gz")):
        gold = path.name.removesuffix("_gs.json.gz")
        unseen = _UNSEEN.fullmatch(gold)
        if gold == name:
            tests["test"] = path
        elif stem and unseen and unseen["stem"] == stem["stem"]:
            tests[f"test_{unseen['unseen']}"] = path
    return tests
