"""The Grocery Store data set (Klasson, Zhang, Kjellström, WACV 2019) as catalogues.

`train.csv`, `val.csv` and `test.csv` list photos as `path,fine_id,coarse_id`;
`classes.csv` lists the classes with a web-shop picture and a description each.
"""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from simprod_tf.data.tables import ReadTable, read_table, write_table

LISTINGS = ("train", "val", "test")


def convert(folder: str | os.PathLike[str], out: str | os.PathLike[str]) -> list[Path]:
    """Writes the data set as catalogues into the folder `out`; returns their paths.

    `train.csv`, `val.csv` (and `test.csv`, where the listing is there): the photos,
    without titles, group = fine class. `classes.csv`: each class as a product with its
    web-shop picture and, as the title, its name and description. `known.csv`: both,
    train photos and classes. The attribute `coarse` is the coarse class.
    """
    root = Path(folder).absolute()
    classes = _classes(root)
    tables = {"classes": classes}
    for listing in LISTINGS:
        if listing == "train" or (root / f"{listing}.csv").is_file():
            tables[listing] = _photos(root, listing)
    tables["known"] = pa.concat_tables([tables["train"], classes])
    paths = []
    for name, table in tables.items():
        paths.append(Path(out) / f"{name}.csv")
        write_table(table, paths[-1])
    return paths


def _photos(root: Path, listing: str) -> pa.Table:
    classes = _read(root / "classes.csv", ["fine_id", "name"])
    names = dict(zip(classes.strings("fine_id"), classes.strings("name")))
    photos = _read(root / f"{listing}.csv", ["path", "fine_id", "coarse_id"])
    paths = photos.strings("path")
    return pa.table(
        {
            "id": [path.rsplit(".", 1)[0] for path in paths],
            "title": [""] * len(paths),
            "image": [str(root / path) for path in paths],
            "group": [names[fine] for fine in photos.strings("fine_id")],
            "coarse": photos.strings("coarse_id"),
        }
    )


def _classes(root: Path) -> pa.Table:
    columns = ["name", "coarse_id", "iconic_image", "description"]
    classes = _read(root / "classes.csv", columns)
    names = classes.strings("name")
    titles = zip(names, classes.strings("description"))
    return pa.table(
        {
            "id": [f"class/{name}" for name in names],
            "title": [f"{name.replace('-', ' ')}. {text}" for name, text in titles],
            "image": [str(root / path) for path in classes.strings("iconic_image")],
            "group": names,
            "coarse": classes.strings("coarse_id"),
        }
    )


def _read(path: Path, columns: list[str]) -> ReadTable:
    read = read_table(path)
    read.require(columns)
    return read
