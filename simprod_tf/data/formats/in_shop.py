"""In-Shop Clothes Retrieval of DeepFashion (Liu et al., CVPR 2016) as catalogues.

`Eval/list_eval_partition.txt` has the number of rows in its first line, a header in the
second, then a picture a line, with blanks between; the status is train, query or
gallery, and a query's right answers are the gallery's pictures of the same item:

    2
    image_name item_id evaluation_status
    img/WOMEN/Skirts/id_00000007/01_1_front.jpg id_00000007 train

The pictures lie in `Img/`. Page:
https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html
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
from simprod_tf.data.formats.picture_listing import read_listing, require_pictures
from simprod_tf.data.formats.source import Source
from simprod_tf.data.tables import write_table
from simprod_tf.errors import InputError

PARTS = ("train", "query", "gallery")
LISTING = Path("Eval") / "list_eval_partition.txt"
COLUMNS = ("image_name", "item_id", "evaluation_status")
SOURCE = Source(
    "In-Shop Clothes Retrieval of DeepFashion (2016)",
    "https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html",
    "non-commercial research and education only; see that page",
    f"{LISTING.as_posix()} (the number of rows, a line {' '.join(COLUMNS)}, then a "
    "picture a line) and Img/ with img.zip unpacked",
)


def convert(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    progress: Progress = silent,
) -> Conversion:
    """Writes the catalogues `train.csv`, `query.csv` and `gallery.csv`.

    id = the picture's name without its ending, group = item, without titles. The
    attribute `category` is what the folders say: `WOMEN/Skirts`.

    Raises:
        InputError: the listing, a row or a picture is missing or not of this layout.
    """
    root = Path(folder).absolute()
    path = root / LISTING
    listing = read_listing(path, COLUMNS, source=SOURCE, counted=True)
    names, items, statuses = (listing.columns[name] for name in COLUMNS)
    for row, status in zip(listing.rows, statuses):
        if status not in PARTS:
            raise InputError(
                f"evaluation_status must be {', '.join(PARTS)}, got {status!r}.",
                path=path,
                row=row,
            )
    ids = [name.rsplit(".", 1)[0] for name in names]
    require_unique(ids, listing.rows, path)
    pictures = [root / "Img" / name for name in names]
    require_pictures(pictures, listing.rows, path, source=SOURCE, progress=progress)
    catalog = pa.table(
        {
            "id": ids,
            "title": [""] * len(ids),
            "image": [str(picture) for picture in pictures],
            "group": items,
            "category": [_category(name) for name in names],
        }
    )
    return _write(catalog, statuses, Path(out))


def _write(catalog: pa.Table, statuses: list[str], out: Path) -> Conversion:
    paths, notes = [], []
    with whole_files(out) as place:
        for part in PARTS:
            chosen = catalog.filter(pa.array([status == part for status in statuses]))
            if chosen.num_rows:
                write_table(chosen, place / f"{part}.csv")
                paths.append(out / f"{part}.csv")
                notes.append(f"Catalogue of {chosen.num_rows:,} pictures: {paths[-1]}")
    return Conversion(tuple(paths), tuple(notes))


def _category(name: str) -> str:
    """Returns the folders between `img/` and the item's own."""
    return "/".join(name.split("/")[1:-2])
