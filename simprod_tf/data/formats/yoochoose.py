"""YOOCHOOSE's clicks and purchases as one event log (RecSys Challenge 2015).

Two CSV files without a header: `yoochoose-clicks.dat` has session, time, item and
category, `yoochoose-buys.dat` session, time, item, price and quantity; times read
`2014-04-07T10:51:09.277Z`. `yoochoose-test.dat` has clicks of other sessions alone,
whose purchases were never published: it is not read. Challenge:
https://recsys.acm.org/recsys15/challenge/
"""

from __future__ import annotations

import os
from pathlib import Path

from simprod_tf.data.formats.conversion import (
    Conversion,
    Progress,
    silent,
    whole_files,
)
from simprod_tf.data.formats.source import Source
from simprod_tf.data.formats.staging import (
    ISO_TIME,
    MEMORY_LIMIT_MB,
    TEXT,
    CsvFile,
    stage,
    write_events,
)
from simprod_tf.engine.embedded import Embedded

CLICKS = ("session", "time", "item", "category")
BUYS = ("session", "time", "item", "price", "quantity")
SOURCE = Source(
    "the YOOCHOOSE data of RecSys Challenge 2015",
    "https://recsys.acm.org/recsys15/challenge/",
    "see the dataset-README.txt that comes with it",
    f"yoochoose-clicks.dat ({','.join(CLICKS)}) and yoochoose-buys.dat "
    f"({','.join(BUYS)}), without headers",
)


def convert(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    progress: Progress = silent,
) -> Conversion:
    """Writes `events.parquet`, which `simprod mine` reads: clicks are views.

    A purchase stands behind the clicks of its instant. Nothing else is known of the
    items, so there is no catalogue.

    Raises:
        InputError: a file or a row is missing or not of this layout.
    """
    root = Path(folder)
    fields = {"session": TEXT, "time": ISO_TIME, "item": TEXT}
    files = {"clicks": CLICKS, "buys": BUYS}
    for name in files:
        # Before the larger file is read in vain.
        SOURCE.require(root / f"yoochoose-{name}.dat")
    steps = len(files) + 1
    with Embedded(memory_limit_mb=MEMORY_LIMIT_MB) as engine, whole_files(out) as place:
        for done, (name, columns) in enumerate(files.items()):
            progress("Reading clicks and buys", done, steps)
            file = CsvFile(root / f"yoochoose-{name}.dat", columns, header=False)
            stage(engine, name, file, fields, source=SOURCE)
        progress("Reading clicks and buys", steps - 1, steps)
        events = write_events(engine, _EVENT_ROWS, place / "events.parquet")
        progress("Reading clicks and buys", steps, steps)
    path = Path(out) / "events.parquet"
    return Conversion((path,), (f"Event log of {events:,} events: {path}",))


_EVENT_ROWS = (
    "SELECT session, item AS id, 'view' AS event, time FROM clicks UNION ALL "
    "SELECT session, item AS id, 'purchase' AS event, time FROM buys"
)
