"""RetailRocket's shop log as an event log and a catalogue (RetailRocket, Kaggle, 2016).

`events.csv`: `timestamp,visitorid,event,itemid,transactionid`, the time in milliseconds
since 1970, the event one of view, addtocart and transaction.
`item_properties_part1.csv` and `item_properties_part2.csv`:
`timestamp,itemid,property,value`; a property changes with time, and all but
`categoryid` and `available` are hashed, titles too. `category_tree.csv`:
`categoryid,parentid`, without a parent at the top. Page:
https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from simprod_tf.data.formats.checked_table import read_checked, require_unique
from simprod_tf.data.formats.conversion import (
    Conversion,
    Progress,
    silent,
    whole_files,
)
from simprod_tf.data.formats.source import Source
from simprod_tf.data.formats.staging import (
    MEMORY_LIMIT_MB,
    MILLISECONDS,
    TEXT,
    CsvFile,
    one_of,
    stage,
    write_events,
)
from simprod_tf.data.tables import write_table
from simprod_tf.engine.embedded import Embedded
from simprod_tf.errors import InputError

EVENTS = ("timestamp", "visitorid", "event", "itemid", "transactionid")
PROPERTIES = ("timestamp", "itemid", "property", "value")
PROPERTY_FILES = ("item_properties_part1.csv", "item_properties_part2.csv")
TREE = ("categoryid", "parentid")
SOURCE = Source(
    "the Retailrocket recommender system dataset (2016)",
    "https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset",
    "CC BY-NC-SA 4.0, as that page says",
    f"events.csv ({','.join(EVENTS)}), {' and '.join(PROPERTY_FILES)} "
    f"({','.join(PROPERTIES)}) and category_tree.csv ({','.join(TREE)})",
)


def convert(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    progress: Progress = silent,
) -> Conversion:
    """Writes `events.parquet`, which `simprod mine` reads, and `catalog.csv`.

    A visitor stands for the session: the session gap cuts it. The catalogue has every
    item that was seen or has a category: `category`, the last one known, and
    `root_category`, that one's ancestor at the top of the tree. It has neither titles
    nor pictures; it serves `simprod mine --catalog ... --same-category category`.

    Raises:
        InputError: a file or a row is missing or not of this layout.
    """
    root = Path(folder)
    roots = _roots(root / "category_tree.csv")
    steps = ("events.csv", *PROPERTY_FILES, "the tables to write")
    with Embedded(memory_limit_mb=MEMORY_LIMIT_MB) as engine, whole_files(out) as place:
        progress(f"Reading {steps[0]}", 0, len(steps))
        _stage_events(engine, root / steps[0])
        for done, name in enumerate(PROPERTY_FILES, start=1):
            progress(f"Reading {steps[0]}", done, len(steps))
            _stage_categories(engine, root / name, f"categories_{done}")
        progress(f"Reading {steps[0]}", len(steps) - 1, len(steps))
        events = write_events(engine, _EVENT_ROWS, place / "events.parquet")
        catalog = _catalog(engine, roots)
        write_table(catalog, place / "catalog.csv")
        progress(f"Reading {steps[0]}", len(steps), len(steps))
    paths = (Path(out) / "catalog.csv", Path(out) / "events.parquet")
    known = len([name for name in catalog["category"].to_pylist() if name])
    return Conversion(
        paths,
        (
            f"Catalogue of {catalog.num_rows:,} items, {known:,} with a category, "
            f"without titles and pictures: {paths[0]}",
            f"Event log of {events:,} events: {paths[1]}",
        ),
    )


_EVENT_ROWS = (
    "SELECT visitorid AS session, itemid AS id, event, timestamp AS time FROM events"
)


def _stage_events(engine: Embedded, path: Path) -> None:
    fields = {
        "timestamp": MILLISECONDS,
        "visitorid": TEXT,
        "event": one_of("view", "addtocart", "transaction"),
        "itemid": TEXT,
    }
    stage(engine, "events", CsvFile(path, EVENTS), fields, source=SOURCE)


def _stage_categories(engine: Embedded, path: Path, table: str) -> None:
    fields = {"timestamp": MILLISECONDS, "itemid": TEXT, "value": TEXT}
    stage(
        engine,
        table,
        CsvFile(path, PROPERTIES),
        fields,
        source=SOURCE,
        # One row in twenty-five: the others are not even copied.
        where="property = 'categoryid'",
    )


def _catalog(engine: Embedded, roots: Mapping[str, str]) -> pa.Table:
    """Returns `id`, `category` and `root_category` of each item, ordered by id."""
    # Of two categories at one instant the greater by name, so that the file's order
    # and the threads play no part.
    found = engine.query(
        """SELECT id, COALESCE(MAX(last), '') AS category FROM (
            SELECT itemid AS id, NULL AS last FROM events GROUP BY itemid
            UNION ALL
            SELECT itemid AS id, arg_max(value, (timestamp, value)) AS last FROM (
                SELECT * FROM categories_1 UNION ALL SELECT * FROM categories_2
            ) GROUP BY itemid
        ) GROUP BY id ORDER BY id"""
    )
    categories = found["category"].to_pylist()
    tops = [roots.get(category, "") for category in categories]
    return found.append_column("root_category", pa.array(tops, pa.string()))


def _roots(path: Path) -> dict[str, str]:
    """Returns the category at the top of the tree for each category."""
    read = read_checked(path, TREE, source=SOURCE)
    names, parents = read.strings("categoryid"), read.strings("parentid")
    require_unique(names, read.rows, path)
    parent_of = dict(zip(names, parents))
    roots = {}
    for row, name in zip(read.rows, names):
        passed, top = {name}, name
        while parent_of.get(top):
            top = parent_of[top]
            if top in passed:
                raise InputError(
                    f"category {name!r} is its own ancestor.", path=path, row=row
                )
            passed.add(top)
        roots[name] = top
    return roots
