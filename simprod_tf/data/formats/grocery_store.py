"""The Grocery Store data set (Klasson, Zhang, Kjellström, WACV 2019) as catalogues.

`train.csv`, `val.csv` and `test.csv` list photos as `path,fine_id,coarse_id`;
`classes.csv` lists the classes with a web-shop picture and a description each. Page:
https://github.com/marcusklasson/GroceryStoreDataset
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from simprod_tf.data.formats.checked_table import read_checked, require_unique
from simprod_tf.data.formats.conversion import Progress, silent, whole_files
from simprod_tf.data.formats.picture_listing import require_pictures
from simprod_tf.data.formats.source import Source
from simprod_tf.data.tables import ReadTable, write_table
from simprod_tf.errors import InputError

LISTINGS = ("train", "val", "test")
PHOTO_COLUMNS = ("path", "fine_id", "coarse_id")
CLASS_COLUMNS = ("fine_id", "name", "coarse_id", "iconic_image", "description")
SOURCE = Source(
    "the Grocery Store data set (2019)",
    "https://github.com/marcusklasson/GroceryStoreDataset",
    "MIT",
    f"its lists as CSV with these headers: classes.csv ({','.join(CLASS_COLUMNS)}), "
    f"train.csv, perhaps val.csv and test.csv ({','.join(PHOTO_COLUMNS)}), and the "
    "pictures that they name",
)


def convert(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    progress: Progress = silent,
) -> list[Path]:
    """Writes the data set as catalogues into the folder `out`; returns their paths.

    `train.csv`, `val.csv` (and `test.csv`, where the listing is there): the photos,
    without titles, group = fine class. `classes.csv`: each class as a product with its
    web-shop picture and, as the title, its name and description. `known.csv`: both,
    train photos and classes. The attribute `coarse` is the coarse class.

    Raises:
        InputError: a file, a row or a picture is missing or not of this layout.
    """
    root = Path(folder).absolute()
    listed = read_checked(root / "classes.csv", CLASS_COLUMNS, source=SOURCE)
    classes = _classes(listed, root, progress)
    names = dict(zip(listed.strings("fine_id"), listed.strings("name")))
    tables = {"classes": classes}
    for listing in LISTINGS:
        path = root / f"{listing}.csv"
        if listing == "train" or path.is_file():
            tables[listing] = _photos(path, names, root, progress)
    tables["known"] = pa.concat_tables([tables["train"], classes])
    with whole_files(out) as place:
        for name, table in tables.items():
            write_table(table, place / f"{name}.csv")
    return [Path(out) / f"{name}.csv" for name in tables]


def _photos(
    path: Path, names: Mapping[str, str], root: Path, progress: Progress
) -> pa.Table:
    photos = read_checked(path, PHOTO_COLUMNS, source=SOURCE)
    paths, fine_ids = photos.strings("path"), photos.strings("fine_id")
    for row, fine in zip(photos.rows, fine_ids):
        if fine not in names:
            raise InputError(
                f"fine_id {fine!r} does not stand in classes.csv.", path=path, row=row
            )
    ids = [path.rsplit(".", 1)[0] for path in paths]
    require_unique(ids, photos.rows, path)
    pictures = [root / path for path in paths]
    require_pictures(pictures, photos.rows, path, source=SOURCE, progress=progress)
    return pa.table(
        {
            "id": ids,
            "title": [""] * len(paths),
            "image": [str(picture) for picture in pictures],
            "group": [names[fine] for fine in fine_ids],
            "coarse": photos.strings("coarse_id"),
        }
    )


def _classes(classes: ReadTable, root: Path, progress: Progress) -> pa.Table:
    require_unique(classes.strings("fine_id"), classes.rows, classes.path)
    names = classes.strings("name")
    require_unique(names, classes.rows, classes.path)
    pictures = [root / path for path in classes.strings("iconic_image")]
    require_pictures(
        pictures, classes.rows, classes.path, source=SOURCE, progress=progress
    )
    titles = zip(names, classes.strings("description"))
    return pa.table(
        {
            "id": [f"class/{name}" for name in names],
            "title": [f"{name.replace('-', ' ')}. {text}" for name, text in titles],
            "image": [str(picture) for picture in pictures],
            "group": names,
            "coarse": classes.strings("coarse_id"),
        }
    )
