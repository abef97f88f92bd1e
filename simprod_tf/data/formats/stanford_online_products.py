"""Stanford Online Products (Song, Xiang, Jegelka, Savarese, CVPR 2016) as catalogues.

`Ebay_train.txt` and `Ebay_test.txt` have a header and one picture a line, with blanks
between:

    image_id class_id super_class_id path
    7 3 1 bicycle_final/111_0.JPG

A class is one product; its parts share none. Paper: "Deep Metric Learning via Lifted
Structured Feature Embedding", https://arxiv.org/abs/1511.06452
"""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from simprod_tf.data.formats.checked_table import require_unique
from simprod_tf.data.formats.conversion import (
    Conversion,
    Progress,
    silent,
    whole_files,
)
from simprod_tf.data.formats.picture_listing import (
    Listing,
    read_listing,
    require_pictures,
)
from simprod_tf.data.formats.source import Source
from simprod_tf.data.tables import write_table
from simprod_tf.errors import InputError

PARTS = ("train", "test")
COLUMNS = ("image_id", "class_id", "super_class_id", "path")
SOURCE = Source(
    "Stanford Online Products (2016)",
    "https://cvgl.stanford.edu/projects/lifted_struct/",
    "see the LICENSE file that comes with it",
    f"Ebay_train.txt, perhaps Ebay_test.txt ({' '.join(COLUMNS)}), and the folders of "
    "pictures that they name",
)


def convert(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    progress: Progress = silent,
) -> Conversion:
    """Writes `train.csv`, and `test.csv` where its listing is there, as catalogues.

    id = image id, group = class, without titles. The attribute `category` is the super
    class by the name of its folder (`bicycle`), `super_class_id` its number.

    Raises:
        InputError: a listing, a row or a picture is missing or not of this layout.
    """
    root = Path(folder).absolute()
    tables = {}
    for part in PARTS:
        path = root / f"Ebay_{part}.txt"
        if part == "train" or path.is_file():
            listing = read_listing(path, COLUMNS, source=SOURCE)
            tables[part] = _catalog(listing, root, progress)
    if "test" in tables:
        _require_apart(tables["train"], tables["test"], root / "Ebay_test.txt")
    with whole_files(out) as place:
        for part, table in tables.items():
            write_table(table, place / f"{part}.csv")
    paths = {part: Path(out) / f"{part}.csv" for part in tables}
    notes = [
        f"Catalogue of {table.num_rows:,} pictures of "
        f"{len(set(table['group'].to_pylist())):,} products: {paths[part]}"
        for part, table in tables.items()
    ]
    return Conversion(tuple(paths.values()), tuple(notes))


def _catalog(listing: Listing, root: Path, progress: Progress) -> pa.Table:
    columns = listing.columns
    require_unique(columns["image_id"], listing.rows, listing.path)
    pictures = [root / path for path in columns["path"]]
    require_pictures(
        pictures, listing.rows, listing.path, source=SOURCE, progress=progress
    )
    categories = [path.split("/")[0] for path in columns["path"]]
    return pa.table(
        {
            "id": columns["image_id"],
            "title": [""] * len(pictures),
            "image": [str(picture) for picture in pictures],
            "group": columns["class_id"],
            "category": [name.removesuffix("_final") for name in categories],
            "super_class_id": columns["super_class_id"],
        }
    )


def _require_apart(train: pa.Table, test: pa.Table, path: Path) -> None:
    """Refuses parts that share a picture or a product: the published ones do not."""
    for column in ("id", "group"):
        shared = set(train[column].to_pylist())
        for row, value in enumerate(test[column].to_pylist(), start=1):
            if value in shared:
                what = "image" if column == "id" else "class"
                raise InputError(
                    f"{what} {value} stands in Ebay_train.txt too.", path=path, row=row
                )
