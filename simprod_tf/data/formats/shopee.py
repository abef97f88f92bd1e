"""Shopee Price Match Guarantee as a catalogue (Shopee, on Kaggle, 2021).

`train.csv`: `posting_id,image,image_phash,title,label_group`; `image` names a file in
`train_images/`, which several postings may share; postings of one `label_group` sell
the same product. Page: https://www.kaggle.com/competitions/shopee-product-matching
"""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from simprod_tf.data.formats.checked_table import read_checked, require_unique
from simprod_tf.data.formats.conversion import (
    Conversion,
    Progress,
    silent,
    whole_files,
)
from simprod_tf.data.formats.picture_listing import require_pictures
from simprod_tf.data.formats.source import Source
from simprod_tf.data.tables import write_table
from simprod_tf.errors import InputError

COLUMNS = ("posting_id", "image", "image_phash", "title", "label_group")
SOURCE = Source(
    "Shopee Price Match Guarantee (2021)",
    "https://www.kaggle.com/competitions/shopee-product-matching/data",
    "the competition's rules, which Kaggle has you accept; see that page",
    f"train.csv ({','.join(COLUMNS)}) and train_images/",
)


def convert(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    progress: Progress = silent,
) -> Conversion:
    """Writes `catalog.csv`: the postings, group = label group.

    The attribute `image_phash` stays. The set has no parts: `simprod split` makes them.

    Raises:
        InputError: a file, a row or a picture is missing or not of this layout.
    """
    # Absolute: the catalogue lies elsewhere and names the pictures.
    root = Path(folder).absolute()
    path = root / "train.csv"
    read = read_checked(path, COLUMNS, source=SOURCE)
    columns = {name: read.strings(name) for name in COLUMNS}
    require_unique(columns["posting_id"], read.rows, path)
    for name in ("image", "label_group"):
        if "" in columns[name]:
            row = read.rows[columns[name].index("")]
            raise InputError(f"column {name!r} is empty.", path=path, row=row)
    pictures = [root / "train_images" / name for name in columns["image"]]
    require_pictures(pictures, read.rows, path, source=SOURCE, progress=progress)
    catalog = {
        "id": columns["posting_id"],
        "title": columns["title"],
        "image": [str(picture) for picture in pictures],
        "group": columns["label_group"],
        "image_phash": columns["image_phash"],
    }
    with whole_files(out) as place:
        write_table(pa.table(catalog), place / "catalog.csv")
    written = Path(out) / "catalog.csv"
    groups = len(set(catalog["group"]))
    note = f"Catalogue of {len(pictures):,} products in {groups:,} groups: {written}"
    return Conversion((written,), (note,))
