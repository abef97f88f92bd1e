"""The public data sets' layouts: what each writes, where to get it, how it is known.

`recognise` tells a folder's layout by its files; `convert_folder` converts it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from simprod_tf.data.formats import (
    grocery_store,
    in_shop,
    magellan,
    otto_log,
    product_matching,
    retailrocket,
    shopee,
    stanford_online_products,
    wdc,
    wdc_file,
    wdc_folder,
    yoochoose,
)
from simprod_tf.data.formats.conversion import Conversion, Progress, silent
from simprod_tf.data.formats.labelled_set import left_out
from simprod_tf.data.formats.source import Source
from simprod_tf.errors import InputError

_Convert = Callable[[Path, Path, "str | None", Progress], Conversion]


@dataclass(frozen=True)
class Layout:
    """A data set's layout.

    Attributes:
        name: as in `simprod convert NAME`.
        source: where to get the data, and what its folder holds.
        writes: the files that `convert` makes, in words.
        is_in: whether a folder looks like one.
        convert: takes folder, out, size and progress.
        has_sizes: whether a folder may hold several sizes of the set.
    """

    name: str
    source: Source
    writes: str
    is_in: Callable[[Path], bool]
    convert: _Convert
    has_sizes: bool = False


def recognise(folder: str | os.PathLike[str]) -> str | None:
    """Returns the name of the layout that a folder's files have, or None.

    Only names of files and their first lines are looked at: `convert_folder` may still
    refuse what they hold.
    """
    place = Path(folder)
    if not place.is_dir():
        return None
    return next((one.name for one in LAYOUTS.values() if one.is_in(place)), None)


def find_layout(name: str, *, size: str | None = None) -> Layout:
    """Returns the layout of this name.

    Raises:
        ValueError: there is none, or a size was given to one without sizes.
    """
    if name not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {name!r}.")
    layout = LAYOUTS[name]
    if size is not None and not layout.has_sizes:
        named = " and ".join(one.name for one in LAYOUTS.values() if one.has_sizes)
        raise ValueError(f"a size is for {named} alone.")
    return layout


def convert_folder(
    layout: str,
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    size: str | None = None,
    progress: Progress = silent,
) -> Conversion:
    """Writes the data set in `folder` as plain tables into the folder `out`.

    Nothing is written unless all of it could be read.

    Args:
        layout: one of LAYOUTS.
        folder: the data set, as it is published.
        out: made where it is not there; files of the same names are replaced.
        size: of a set that comes in several, where the layout has them.
        progress: told of what is done.

    Raises:
        ValueError: there is no such layout, or a size was given to one without.
        InputError: a file or row is missing or wrong; `folder` is `out`.
    """
    chosen = find_layout(layout, size=size)
    _require_fit(chosen, Path(folder), Path(out))
    return chosen.convert(Path(folder), Path(out), size, progress)


def _require_fit(layout: Layout, folder: Path, out: Path) -> None:
    if not folder.is_dir():
        raise layout.source.missing(folder, "there is no such folder.")
    # Files of a set would be replaced by ours of the same name.
    if out.exists() and out.samefile(folder):
        raise InputError("this is the data set itself; name another folder.", path=out)
    found = recognise(folder)
    if found is not None and found != layout.name and not layout.is_in(folder):
        raise InputError(
            f"its files are not of the layout {layout.name} but of {found}: "
            f"simprod convert {found} {folder} {out}",
            path=folder,
        )


def _grocery_store(
    folder: Path, out: Path, size: str | None, progress: Progress
) -> Conversion:
    paths = grocery_store.convert(folder, out, progress=progress)
    return Conversion(
        tuple(paths), tuple(f"Catalogue written to {path}" for path in paths)
    )


def _product_matching(
    folder: Path, out: Path, size: str | None, progress: Progress
) -> Conversion:
    found = product_matching.convert(folder, out, size=size)
    catalog = out / "catalog.csv"
    paths, notes = [catalog], []
    notes.append(
        f"Catalogue of {found.catalog.num_rows:,} products written to {catalog}; the "
        f"title is their {found.title_attribute!r}"
    )
    for part, pairs in found.pairs.items():
        paths.append(out / f"pairs_{part}.csv")
        notes.append(f"{pairs} written to {paths[-1]}{left_out(pairs)}")
    for part, overlap in found.overlaps.items():
        notes.append(
            f"{part} shares {overlap.records:,} of its {overlap.of_records:,} records "
            f"and {overlap.pairs:,} of its {overlap.of_pairs:,} pairs with train"
        )
    return Conversion(tuple(paths), tuple(notes))


def _without_size(convert: Callable[..., Conversion]) -> _Convert:
    """Returns a converter that is never asked for a size."""

    def converted(
        folder: Path, out: Path, size: str | None, progress: Progress
    ) -> Conversion:
        return convert(folder, out, progress=progress)

    return converted


def _wdc(folder: Path, out: Path, size: str | None, progress: Progress) -> Conversion:
    return wdc.convert(folder, out, size=size, progress=progress)


def _has(*names: str) -> Callable[[Path], bool]:
    """Returns whether a folder has all of these files."""

    def are_in(folder: Path) -> bool:
        return all((folder / name).is_file() for name in names)

    return are_in


def _has_columns(name: str, columns: Iterable[str]) -> Callable[[Path], bool]:
    """Returns whether a folder has a CSV file with these columns."""

    def is_in(folder: Path) -> bool:
        header = _first_line(folder / name).strip().split(",")
        return set(columns) <= {column.strip('"') for column in header}

    return is_in


def _is_product_matching(folder: Path) -> bool:
    files = [folder / "train.txt", *sorted(folder.glob("train.txt.*"))]
    # Other sets have a train.txt, too.
    return any(_first_line(path).startswith("COL ") for path in files)


def _first_line(path: Path) -> str:
    """Returns the first line of a file, "" where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.readline(100_000).decode("utf-8-sig", errors="replace")


LAYOUTS: Mapping[str, Layout] = {
    one.name: one
    for one in (
        Layout(
            "grocery-store",
            grocery_store.SOURCE,
            "catalogues train.csv, val.csv, classes.csv and known.csv",
            _has_columns("classes.csv", ("fine_id", "name", "iconic_image")),
            _grocery_store,
        ),
        Layout(
            "product-matching",
            product_matching.SOURCE,
            "catalog.csv and pairs_<part>.csv",
            _is_product_matching,
            _product_matching,
            has_sizes=True,
        ),
        Layout(
            "er-magellan",
            magellan.SOURCE,
            "catalog.csv and pairs_<part>.csv",
            _has("tableA.csv", "tableB.csv"),
            _without_size(magellan.convert),
        ),
        Layout(
            "wdc",
            wdc_file.SOURCE,
            "catalog.csv and pairs_<part>.csv",
            lambda folder: bool(wdc_folder.training_files(folder)),
            _wdc,
            has_sizes=True,
        ),
        Layout(
            "shopee",
            shopee.SOURCE,
            "catalog.csv",
            _has_columns("train.csv", ("posting_id", "label_group")),
            _without_size(shopee.convert),
        ),
        Layout(
            "stanford-online-products",
            stanford_online_products.SOURCE,
            "catalogues train.csv and test.csv",
            _has("Ebay_train.txt"),
            _without_size(stanford_online_products.convert),
        ),
        Layout(
            "in-shop",
            in_shop.SOURCE,
            "catalogues train.csv, query.csv and gallery.csv",
            _has(in_shop.LISTING.as_posix()),
            _without_size(in_shop.convert),
        ),
        Layout(
            "retailrocket",
            retailrocket.SOURCE,
            "events.parquet and catalog.csv",
            _has_columns("events.csv", retailrocket.EVENTS),
            _without_size(retailrocket.convert),
        ),
        Layout(
            "yoochoose",
            yoochoose.SOURCE,
            "events.parquet",
            _has("yoochoose-clicks.dat"),
            _without_size(yoochoose.convert),
        ),
        Layout(
            "otto",
            otto_log.SOURCE,
            "<name>.parquet for each <name>.jsonl",
            lambda folder: bool(otto_log.otto_files(folder)),
            _without_size(otto_log.convert),
        ),
    )
}
